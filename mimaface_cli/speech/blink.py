"""SadTalker's random blinks: eye closure over time."""

from random import Random

import numpy as np

BLINK_CLOSURE = (0.5, 0.9, 1.0, 0.9, 0.5)  # eye closure in the frames of one blink
_MIN_GAP, _MAX_GAP = 10, 70  # frames before a blink; the maximum is exclusive
_MAX_FRAMES_WITHOUT_BLINK = 20  # clips up to this length have no blink


def generate_blinks(frames: int, seed: int) -> np.ndarray:
    """Generate blinks with gaps of 10 to 69 frames.

    They equal those of the release after random.seed(seed).

    Args:
        frames: Frames of the clip. For 21 frames, for which the release fails, there is no blink.
        seed: Random seed.

    Returns:
        (frames,) float64, eye closure from 0 (open) to 1 (shut).
    """
    closure = np.zeros(frames)
    gaps = range(min(_MIN_GAP, frames), min(frames // 2, _MAX_GAP))
    if frames <= _MAX_FRAMES_WITHOUT_BLINK or not gaps:
        return closure
    generator = Random(seed)
    start = generator.choice(gaps)
    while start + len(BLINK_CLOSURE) < frames:
        closure[start : start + len(BLINK_CLOSURE)] = BLINK_CLOSURE
        start += len(BLINK_CLOSURE) + generator.choice(gaps)
    return closure
