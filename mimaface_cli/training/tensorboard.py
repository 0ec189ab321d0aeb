"""A stage's curves and pictures for TensorBoard, beside the CSV that is always written."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from mimaface_cli.errors import InputError
from mimaface_cli.training.validation import Look

FOLDER = "tensorboard"  # in a stage's folder


def check_tensorboard() -> None:
    """Raises InputError where the package is missing."""
    if importlib.util.find_spec("tensorboard") is None:
        raise InputError('tensorboard = true: needs a package; pip install "mimaface[train]", or set it to false')


class Tracker:
    """Writes event files of one stage. step: the last that counts; what an earlier run wrote after it is hidden."""

    def __init__(self, folder: Path, step: int):
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / FOLDER), purge_step=step + 1)

    def losses(self, step: int, values: Mapping[str, float]) -> None:
        """What a step is told by, by name."""
        for name, value in values.items():
            self._writer.add_scalar(f"train/{name}", value, step)

    def look(self, look: Look) -> None:
        """A validation's figures and sheet."""
        for name, value in look.figures.items():
            self._writer.add_scalar(f"validation/{name}", value, look.step)
        self._writer.add_image("validation", look.sheet, look.step, dataformats="HWC")

    def flush(self) -> None:
        """To the disk, as of a checkpoint, after which nothing is hidden or made again."""
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
