"""Blink sequences."""

import numpy as np
import pytest

from mimaface_cli.speech.blink import RANDOM_SHAPE, fixed_blinks, random_blinks


def starts(ratio: np.ndarray) -> np.ndarray:
    return np.flatnonzero((ratio > 0) & (np.roll(ratio, 1) == 0))


@pytest.mark.parametrize("frames", [0, 1, 20, 21])
def test_short_clips_have_no_blink(frames):
    assert random_blinks(frames, 0).tolist() == [0.0] * frames


def test_blinks_are_whole_apart_and_inside_for_every_length_and_seed():
    for frames in range(22, 200, 7):
        for seed in range(20):
            ratio = random_blinks(frames, seed)
            begin = starts(ratio)
            assert len(begin) and begin[0] >= 10 and (np.diff(begin) >= 10 + len(RANDOM_SHAPE)).all()
            for start in begin:
                assert tuple(ratio[start : start + len(RANDOM_SHAPE)]) == RANDOM_SHAPE
            assert ratio[-1] == 0 and (ratio > 0).sum() == len(begin) * len(RANDOM_SHAPE)


def test_seeds_repeat_and_differ():
    same, other = random_blinks(500, 3), random_blinks(500, 4)
    assert (same == random_blinks(500, 3)).all() and (same != other).any()


def test_fixed_blinks_come_every_89_frames():
    assert starts(fixed_blinks(300)).tolist() == [80, 169, 258] and not fixed_blinks(89).any()
