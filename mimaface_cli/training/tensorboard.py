"""A stage's curves and images for TensorBoard, beside the CSV files."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from mimaface_cli.errors import InputError
from mimaface_cli.training.validation_log import ValidationResult

FOLDER = "tensorboard"
"""Folder of the event files in a stage's folder."""


def check_tensorboard() -> None:
    """Check that TensorBoard is installed.

    Raises:
        InputError: It is not.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise InputError(
            "tensorboard = true needs a missing package. Run pip install 'mimaface[train]', or set tensorboard = false."
        )


class TensorboardLog:
    """Event files of one stage.

    Args:
        folder: The stage's folder.
        step: The last step of the resumed run. Events that an interrupted run logged after it are hidden.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / FOLDER), purge_step=step + 1)

    def log_losses(self, step: int, values: Mapping[str, float]) -> None:
        """Log a step's values by name."""
        for name, value in values.items():
            self._writer.add_scalar(f"train/{name}", value, step)

    def log_validation(self, result: ValidationResult) -> None:
        """Log a validation's figures and contact sheet."""
        for name, value in result.figures.items():
            self._writer.add_scalar(f"validation/{name}", value, result.step)
        self._writer.add_image("validation", result.sheet, result.step, dataformats="HWC")

    def flush(self) -> None:
        """Write to the disk.

        Call it before a checkpoint: a resumed run does not log earlier steps again.
        """
        self._writer.flush()

    def close(self) -> None:
        """Write to the disk and close the files."""
        self._writer.close()
