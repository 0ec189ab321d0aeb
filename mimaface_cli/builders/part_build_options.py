"""Options of the training of the network of a face part."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PartBuildOptions:
    """Options of a build.

    Attributes:
        folder: Clips, in subfolders too.
        output: The model, .npz; the card gets the same name.
        steps: Steps of the training.
        work: Folder for tracks, samples and the state of the training; None for one beside the output.
        people: CSV file with the columns `file` and `person`; None if every clip shows another person.
        held_out_every: Every N-th person is held out; 0 for none.
        init: "shipped", a model file to start from, or None.
        jobs: Processes that render samples, and threads of the training.
        seed: Random seed.
        about: Origin and license of the data, for the card.
        overwrite: Whether existing outputs are replaced.
    """

    folder: Path
    output: Path
    steps: int
    work: Path | None = None
    people: Path | None = None
    held_out_every: int = 8
    init: str | None = None
    jobs: int = 1
    seed: int = 0
    about: str = "The origin of the data is not stated."
    overwrite: bool = False
