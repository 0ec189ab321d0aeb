"""Mouth opening and jitter of synthetic tracks."""

from dataclasses import replace

import numpy as np
import pytest

from mimaface_cli.evaluation.functional.track_curves import mean_jitter, mouth_opening
from mimaface_cli.face import face478
from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.motion.track import MotionTrack


def shake(track: MotionTrack) -> MotionTrack:
    """Return a track whose head moves sideways every other frame; the face is about two units wide."""
    pose = track.pose.copy()
    pose[::2, 3] += 0.02
    return replace(track, pose=pose)


def test_mouth_opening_grows_with_the_jaw():
    track = MotionTrack.neutral(5, "face478")
    expression = track.expression.copy()
    expression[:, blendshape_index("jawOpen")] = [0, 0.25, 0.5, 0.75, 1]
    opening = mouth_opening(replace(track, expression=expression), face478.load())
    assert (np.diff(opening) > 0.02).all()


def test_mean_jitter_is_zero_for_a_still_track_and_positive_for_a_shaking_one():
    model, track = face478.load(), MotionTrack.neutral(40, "face478")
    assert mean_jitter(track, model) == pytest.approx(0, abs=1e-12)
    assert 0.01 < mean_jitter(shake(track), model) < 0.03  # second differences of 0.04 over a diagonal of about 2.6


def test_mean_jitter_ignores_scene_cuts():
    model, track = face478.load(), MotionTrack.neutral(40, "face478")
    pose = track.pose.copy()
    pose[20:, 3] += 1
    moved = replace(track, pose=pose, meta=replace(track.meta, cuts=(20,)))
    assert mean_jitter(moved, model) == pytest.approx(0, abs=1e-6)


def test_mean_jitter_is_none_without_three_frames_in_a_row():
    track = MotionTrack.neutral(40, "face478")
    valid = np.zeros(40, bool)
    valid[::2] = True
    assert mean_jitter(replace(track, valid=valid), face478.load()) is None


def test_mean_jitter_of_a_long_track_equals_that_of_a_short_one():
    model = face478.load()
    short, long = (shake(MotionTrack.neutral(count, "face478")) for count in (40, 1203))  # the long one has 3 blocks
    assert mean_jitter(long, model) == pytest.approx(mean_jitter(short, model), rel=1e-3)
