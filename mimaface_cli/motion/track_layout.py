"""Shapes and dtypes of the arrays in a motion track, and the limits on its size."""

import reprlib

import numpy as np

MAX_FRAMES = 2_000_000
MAX_SECONDS = 1e12  # limit of |pts|: allows streams that count from 1970, and differences stay finite

_N = -1  # placeholder for the number of frames
# pts comes first: it sets the number of frames for the other arrays.
_LAYOUT: dict[str, tuple[tuple[int, ...], np.dtype]] = {
    "pts": ((_N,), np.dtype(np.float64)),
    "valid": ((_N,), np.dtype(np.bool_)),
    "identity": ((80,), np.dtype(np.float32)),
    "texture": ((80,), np.dtype(np.float32)),
    "expression": ((_N, 64), np.dtype(np.float32)),
    "illumination": ((_N, 27), np.dtype(np.float32)),
    "pose": ((_N, 6), np.dtype(np.float32)),
    "gaze": ((_N, 4), np.dtype(np.float32)),
    "crop": ((_N, 2, 3), np.dtype(np.float32)),
}
ARRAY_NAMES = tuple(_LAYOUT)
PER_FRAME_ARRAYS = tuple(name for name, (shape, _) in _LAYOUT.items() if shape[0] == _N)


def array_dtype(name: str) -> np.dtype:
    """Return the dtype of an array of a track."""
    return _LAYOUT[name][1]


def array_shape(name: str, frames: int) -> tuple[int, ...]:
    """Return the shape of an array of a track with `frames` frames."""
    return tuple(frames if size == _N else size for size in _LAYOUT[name][0])


def check_shape(name: str, shape: tuple[int, ...], frames: int | None) -> None:
    """Check the shape of an array of a track.

    Args:
        name: Name of the array.
        shape: Its shape.
        frames: Number of frames of the track, or None for any number up to MAX_FRAMES.

    Raises:
        ValueError: For another shape; the message starts with the name.
    """
    expected = _LAYOUT[name][0]
    if len(shape) != len(expected) or any(
        size not in (_N, length) for size, length in zip(expected, shape, strict=True)
    ):
        text = ", ".join("N" if size == _N else str(size) for size in expected)
        raise ValueError(f"{name}: has shape {shape!r:.60}, expected ({text})")
    if expected[0] != _N:
        return
    if not 1 <= shape[0] <= MAX_FRAMES:
        raise ValueError(f"{name}: has {reprlib.repr(shape[0])} frames, expected 1 to {MAX_FRAMES}")
    if frames is not None and shape[0] != frames:
        raise ValueError(f"{name}: has {shape[0]} frames, but pts has {frames}")
