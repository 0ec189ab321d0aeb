"""Reading of the models that ship with the package, as .npz files."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from mimaface_cli.errors import WeightsError, brief

Model = TypeVar("Model")


def read_model_file(path: Path, kind: str, build: Callable[[dict[str, np.ndarray]], Model | None]) -> Model:
    """Read a model of the project.

    Args:
        path: The .npz file.
        kind: What the file should be, with its article, for error messages.
        build: Builds the model from all arrays of the file; returns None for wrong shapes or values.

    Raises:
        WeightsError: The file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        model = build(arrays)
    except Exception as error:  # zipfile, zlib and numpy raise many types of errors on damaged bytes
        raise WeightsError(_describe(path, kind, brief(error))) from error
    if model is None:
        raise WeightsError(_describe(path, kind, "wrong shapes or values"))
    return model


def _describe(path: Path, kind: str, problem: str) -> str:
    return f"{path}: not {kind} ({problem}). Restore it from the project's weights/ folder."
