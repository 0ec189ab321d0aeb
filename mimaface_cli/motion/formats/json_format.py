"""Motion tracks as one JSON object: the content of the .npz file, for web tools and languages without numpy."""

import json
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from mimaface_cli.errors import InputError
from mimaface_cli.motion.coefficients import BLENDSHAPES
from mimaface_cli.motion.text_reader import read_text
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_layout import MAX_FRAMES
from mimaface_cli.motion.track_meta import TrackMeta

FORMAT_NAME = "mimaface track"
_ARRAYS = ("pts", "valid", "identity", "texture", "expression", "illumination", "pose", "gaze", "crop")


def write_json(track: MotionTrack, file: TextIO) -> list[str]:
    """Write a track as JSON; reading it back gives the same numbers.

    The arrays have the names and units of the .npz file. `meta` contains the metadata. In the face478 space,
    `expression_names` contains the names of the first columns of the expression.

    Returns:
        No notes: the format keeps everything.
    """
    values: dict[str, Any] = {"format": FORMAT_NAME, "meta": json.loads(track.meta.to_json())}
    if track.meta.space == "face478":
        values["expression_names"] = BLENDSHAPES
    values |= {name: _to_lists(getattr(track, name)) for name in _ARRAYS}
    json.dump(values, file, allow_nan=False)
    file.write("\n")
    return []


def read_json(path: Path) -> MotionTrack:
    """Read a file from `write_json`.

    Raises:
        InputError: If the file is invalid; the message names the key.
    """
    values = _load_object(path)
    try:
        meta = TrackMeta.from_json(json.dumps(values.get("meta")))
        frames = values.get("pts")
        if not isinstance(frames, list) or not 1 <= len(frames) <= MAX_FRAMES:
            raise ValueError(f"pts: must be a list of 1 to {MAX_FRAMES} times")
        return MotionTrack(**{name: _to_array(values, name) for name in _ARRAYS}, meta=meta)
    except ValueError as error:
        raise InputError(f"{path}: {error}. Export the track again.") from error


def _load_object(path: Path) -> dict[str, Any]:
    fix = "Export the track again."
    try:
        values = json.loads(read_text(path))
    except RecursionError as error:
        raise InputError(f"{path}: is nested too deeply for a track. {fix}") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: line {error.lineno}: is not JSON ({error.msg}). {fix}") from error
    except ValueError as error:  # numbers with more digits than Python parses
        raise InputError(f"{path}: is not JSON of a track. {fix}") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT_NAME:
        raise InputError(f'{path}: is not a track in JSON, because "format" is not "{FORMAT_NAME}". {fix}')
    return values


def _to_lists(array: np.ndarray) -> list[Any]:
    """Return nested lists in which a float32 has the fewest digits that identify it."""
    if array.dtype != np.float32:
        return array.tolist()
    if array.ndim > 1:
        return [_to_lists(row) for row in array]
    return [float(str(value)) for value in array]


def _to_array(values: dict[str, Any], name: str) -> np.ndarray:
    if name not in values:
        raise ValueError(f"{name}: is missing")
    try:
        array = np.array(values[name])
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{name}: is not a list of numbers of one length") from error
    if array.dtype.kind not in ("b" if name == "valid" else "fiu"):
        raise ValueError(f"{name}: must hold {'true or false' if name == 'valid' else 'numbers'}")
    return array
