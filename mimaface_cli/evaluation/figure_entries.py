"""The files of cached figures (JSON) and network features (.npz)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mimaface_cli.errors import InputError


def load_figures(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises InputError where the file is missing or damaged."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read.") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: is not a JSON object.")
    return values


def save_figures(values: Mapping[str, Any], path: Path) -> None:
    """Write figures; all numbers must be finite."""
    path.write_text(json.dumps(values, allow_nan=False), encoding="ascii")


def load_features(path: Path) -> dict[str, np.ndarray]:
    """Read finite arrays by name. Raises InputError where the file is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            features = {name: file[name] for name in file.files}
            is_finite = all(np.isfinite(values).all() for values in features.values())
    except Exception as error:  # zipfile, zlib and numpy raise a dozen types on damaged bytes
        raise InputError(f"{path}: cannot be read.") from error
    if not is_finite:
        raise InputError(f"{path}: contains NaN or Inf.")
    return features


def save_features(features: Mapping[str, np.ndarray], path: Path) -> None:
    """Write arrays by name."""
    with path.open("wb") as file:
        np.savez(file, **features)  # type: ignore[arg-type]  # numpy's type stub takes **features for `allow_pickle`
