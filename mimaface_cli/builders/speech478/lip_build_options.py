"""Options of the training of the lip network."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LipBuildOptions:
    """Options of a build.

    Attributes:
        folder: Clips with audio, in subfolders too.
        output: The model, .npz; the card gets the same name.
        tracks: Cache of the motion tracks; None for a folder beside the output.
        cache: Folder of features and finished trainings, so that an interrupted build resumes; None for a folder
            beside the output.
        people: CSV file with the columns `file` and `person`, and optionally `language`; None if every clip shows
            another person.
        folds: Parts of the cross-validation, at least 2.
        rounds: Rounds of the alignment of the clips, at least 1.
        nets: Networks that are averaged, at least 1.
        steps: Optimizer steps of each training.
        jobs: Trainings that run in parallel.
        seed: Random seed.
        about: Origin and license of the data, for the card.
        overwrite: Whether existing outputs are replaced.
    """

    folder: Path
    output: Path
    tracks: Path | None
    cache: Path | None
    people: Path | None
    folds: int
    rounds: int
    nets: int
    steps: int
    jobs: int
    seed: int
    about: str
    overwrite: bool

    @property
    def track_folder(self) -> Path:
        """Folder of the motion tracks."""
        return self.tracks or self.output.with_suffix(".tracks")

    @property
    def cache_folder(self) -> Path:
        """Folder of features and finished trainings."""
        return self.cache or self.output.with_suffix(".cache")
