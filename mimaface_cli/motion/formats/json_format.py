"""A track as one JSON object: everything the .npz holds, as named lists, for web tools and languages without numpy."""

import json
from pathlib import Path
from typing import TextIO

import numpy as np

from mimaface_cli.errors import InputError
from mimaface_cli.motion.coefficients import BLENDSHAPES
from mimaface_cli.motion.formats.text_reader import read_text
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_layout import MAX_FRAMES
from mimaface_cli.motion.track_meta import TrackMeta

FORMAT = "mimaface track"
_ARRAYS = ("pts", "valid", "identity", "texture", "expression", "illumination", "pose", "gaze", "crop")


def write(track: MotionTrack, file: TextIO) -> list[str]:
    """The arrays under the .npz file's own names and units (radians), `meta`, and `expression_names` for the columns
    that have a name. Numbers are written so that they come back the same.
    """
    values = {"format": FORMAT, "meta": json.loads(track.meta.to_json())}
    if track.meta.space == "face478":
        values["expression_names"] = BLENDSHAPES
    values |= {name: _numbers(getattr(track, name)) for name in _ARRAYS}
    json.dump(values, file, allow_nan=False)
    file.write("\n")
    return []


def read(path: Path) -> tuple[MotionTrack, list[str]]:
    """Read what `write` wrote. Raises InputError that names the key."""
    try:
        values = json.loads(read_text(path))
    except RecursionError as error:
        raise InputError(f"{path}: is nested too deep for a track") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: line {error.lineno}: is not JSON ({error.msg})") from error
    except ValueError as error:  # numbers of more digits than Python reads
        raise InputError(f"{path}: is not JSON of a track") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise InputError(f'{path}: is not a track in JSON (its "format" is not "{FORMAT}")')
    try:
        meta = TrackMeta.from_json(json.dumps(values.get("meta")))
        frames = values.get("pts")
        if not isinstance(frames, list) or not 1 <= len(frames) <= MAX_FRAMES:
            raise ValueError(f"pts: must be a list of 1 to {MAX_FRAMES} times")
        return MotionTrack(**{name: _array(values, name) for name in _ARRAYS}, meta=meta), []
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _numbers(array: np.ndarray) -> list:
    """Nested lists in which a float32 is written with the few digits that tell it from its neighbors."""
    if array.dtype == np.float32:
        return [_numbers(row) for row in array] if array.ndim > 1 else [float(str(value)) for value in array]
    return array.tolist()


def _array(values: dict, name: str) -> np.ndarray:
    if name not in values:
        raise ValueError(f"{name}: is missing")
    try:
        array = np.array(values[name])
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{name}: is not a list of numbers of one length") from error
    if array.dtype.kind not in ("b" if name == "valid" else "fiu"):
        raise ValueError(f"{name}: must hold {'true or false' if name == 'valid' else 'numbers'}")
    return array
