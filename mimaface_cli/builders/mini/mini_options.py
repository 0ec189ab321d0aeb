"""Options of the build of mimaface-mini."""

from dataclasses import dataclass
from pathlib import Path

PARTS = ("data", "training", "comparison")


@dataclass(frozen=True)
class MiniOptions:
    """Options of a build.

    Attributes:
        config: Configuration of the training, TOML; the build replaces its `data` and `output`.
        folder: Face videos, in subfolders too.
        work: Folder of data, training and results.
        people: CSV file with the columns `file` and `person`; None if every video shows another person.
        held_out_every: Every N-th person is held out of all training.
        minutes: Minutes of training on this device; 0 for the steps of the configuration.
        piece: Minutes after which this call stops, to be resumed by the next one; 0 for no limit.
        parts: Parts of the build to run: "data", "training" and "comparison".
        frames: Frames of a clip.
        per_video: Largest number of clips of a video.
        compared_frames: Frames of each held-out video that the engines are compared on.
        jobs: Processes that prepare the data.
    """

    config: Path
    folder: Path
    work: Path
    people: Path | None = None
    held_out_every: int = 8
    minutes: float = 0.0
    piece: float = 0.0
    parts: tuple[str, ...] = PARTS
    frames: int = 24
    per_video: int = 4
    compared_frames: int = 48
    jobs: int = 1
