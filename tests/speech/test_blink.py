"""SadTalker's blink sequences."""

import numpy as np
import pytest

from mimaface_cli.speech.blink import BLINK_CLOSURE, generate_blinks


def find_blink_starts(closure: np.ndarray) -> np.ndarray:
    return np.flatnonzero((closure > 0) & (np.roll(closure, 1) == 0))


@pytest.mark.parametrize("frames", [0, 1, 20, 21])
def test_generate_blinks_is_zero_for_short_clips(frames):
    assert generate_blinks(frames, 0).tolist() == [0.0] * frames


def test_generate_blinks_returns_complete_blinks_at_least_ten_frames_apart():
    for frames in range(22, 200, 7):
        for seed in range(20):
            closure = generate_blinks(frames, seed)
            starts = find_blink_starts(closure)
            assert len(starts) and starts[0] >= 10 and (np.diff(starts) >= 10 + len(BLINK_CLOSURE)).all()
            for start in starts:
                assert tuple(closure[start : start + len(BLINK_CLOSURE)]) == BLINK_CLOSURE
            assert closure[-1] == 0 and (closure > 0).sum() == len(starts) * len(BLINK_CLOSURE)


def test_generate_blinks_depends_only_on_the_seed():
    closure, other_seed = generate_blinks(500, 3), generate_blinks(500, 4)
    assert (closure == generate_blinks(500, 3)).all() and (closure != other_seed).any()
