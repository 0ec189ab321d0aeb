"""Resampling of tracks at other times."""

from dataclasses import replace
from fractions import Fraction

import numpy as np

from mimaface_cli.motion.resample import resample_track
from mimaface_cli.motion.track import MotionTrack


def make_moving_track() -> MotionTrack:
    """Return 10 frames at 10 per second; x is the index of the frame."""
    track = MotionTrack.neutral(10, "face478", Fraction(10))
    pose = np.zeros((10, 6))
    pose[:, 3] = np.arange(10)
    return replace(track, pose=pose)


def test_resample_track_interpolates_and_holds_the_ends():
    resampled = resample_track(make_moving_track(), np.array([0.0, 0.05, 0.1, 0.85, 5.0]))
    assert np.allclose(resampled.pose[:, 3], [0.0, 0.5, 1.0, 8.5, 9.0])
    assert np.allclose(resampled.pts, [0.0, 0.05, 0.1, 0.85, 5.0])


def test_resample_track_never_interpolates_across_a_cut():
    track = make_moving_track()
    track = replace(track, meta=replace(track.meta, cuts=(5,)))
    resampled = resample_track(track, np.array([0.42, 0.44, 0.46, 0.48]))
    assert np.allclose(resampled.pose[:, 3], [4.0, 4.0, 5.0, 5.0])
    assert resampled.meta.cuts == (2,)
