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
        people: CSV file with the columns `file` and `person`; None if every clip shows another person.
        folds: Parts of the cross-validation, at least 2.
        rounds: Rounds of cross-validation, at least 1.
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
    people: Path | None
    folds: int
    rounds: int
    nets: int
    steps: int
    jobs: int
    seed: int
    about: str
    overwrite: bool
