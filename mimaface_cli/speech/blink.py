"""How far the eyes are shut at each frame, 0 to 1: SadTalker's blink sequences."""

from collections.abc import Callable
from random import Random

import numpy as np

RANDOM_SHAPE = (0.5, 0.9, 1.0, 0.9, 0.5)
FIXED_SHAPE = (0.5, 0.6, 0.7, 0.9, 1.0, 0.9, 0.7, 0.6, 0.5)
_FIXED_GAP = 80  # frames
_SHORTEST, _LONGEST = 10, 70  # frames between random blinks
_NO_BLINK = 20  # frames of a clip too short for one


def random_blinks(frames: int, seed: int) -> np.ndarray:
    """(frames,) float64, blinks 10 to 69 frames apart: what the released program draws after random.seed(seed).

    A clip of 21 frames, for which that program fails, has no blink.
    """
    gaps = range(min(_SHORTEST, frames), min(frames // 2, _LONGEST))
    if frames <= _NO_BLINK or not gaps:
        return np.zeros(frames)
    generator = Random(seed)
    return _sequence(frames, RANDOM_SHAPE, lambda: generator.choice(gaps))


def fixed_blinks(frames: int) -> np.ndarray:
    """(frames,) float64, a slower blink after every 80 frames."""
    return _sequence(frames, FIXED_SHAPE, lambda: _FIXED_GAP)


def _sequence(frames: int, shape: tuple[float, ...], gap: Callable[[], int]) -> np.ndarray:
    ratio, position = np.zeros(frames), gap()
    while position + len(shape) < frames:
        ratio[position : position + len(shape)] = shape
        position += len(shape) + gap()
    return ratio
