"""How the figures and network features of a result are stored in the cache."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mimaface_cli.cache import FIGURE_FOLDER, EntryKind
from mimaface_cli.errors import InputError


def _load_figures(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read.") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: is not a JSON object.")
    return values


def _save_figures(values: Mapping[str, Any], path: Path) -> None:
    path.write_text(json.dumps(values, allow_nan=False), encoding="ascii")


def _load_features(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            features = {name: file[name] for name in file.files}
            is_finite = all(np.isfinite(values).all() for values in features.values())
    except Exception as error:  # zipfile, zlib and numpy raise a dozen types on damaged bytes
        raise InputError(f"{path}: cannot be read.") from error
    if not is_finite:
        raise InputError(f"{path}: contains NaN or Inf.")
    return features


def _save_features(features: Mapping[str, np.ndarray], path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, **features)  # type: ignore[arg-type]  # numpy's type stub takes **features for `allow_pickle`


FIGURES_ENTRY: EntryKind[dict[str, Any]] = EntryKind(FIGURE_FOLDER, ".json", _load_figures, _save_figures)
FEATURES: EntryKind[dict[str, np.ndarray]] = EntryKind(FIGURE_FOLDER, ".npz", _load_features, _save_features)
