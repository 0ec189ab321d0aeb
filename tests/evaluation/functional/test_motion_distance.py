"""Distances and angles of synthetic poses, correlation of known curves."""

from dataclasses import replace

import numpy as np
import pytest

from mimaface_cli.evaluation.functional import motion_distance as motion
from mimaface_cli.evaluation.functional.track_curves import mouth_opening, steadiness
from mimaface_cli.face import face478
from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.motion.rotation import rotation_matrix
from mimaface_cli.motion.track import MotionTrack


def test_distances_are_euclidean_per_frame():
    driver = np.random.default_rng(0).normal(size=(6, 64))
    step = np.zeros(64)
    step[:2] = 3, 4
    assert motion.distances(driver + step, driver) == pytest.approx(5)
    assert not motion.distances(driver, driver).any()


@pytest.mark.parametrize("axis", range(3))
def test_a_head_turned_by_a_known_angle_is_found_so(axis):
    driver = np.zeros((4, 6))
    result = driver.copy()
    result[:, axis] = np.radians([0, 5, 20, 90])
    assert motion.head_angles(result, driver) == pytest.approx([0, 5, 20, 90], abs=1e-4)
    assert motion.pose_distances(result, driver) == pytest.approx(np.radians([0, 5, 20, 90]))


def test_a_whole_turn_is_no_distance():
    driver = np.zeros((2, 6))
    result = driver.copy()
    result[:, 1] = 2 * np.pi, -2 * np.pi + 0.1
    assert motion.pose_distances(result, driver) == pytest.approx([0, 0.1], abs=1e-9)


def test_rotation_error_counts_changes_since_the_reference():
    angles = np.zeros((5, 3))
    angles[:, 1] = np.radians([0, 10, 20, 10, 0])
    driver = rotation_matrix(angles)
    offset = rotation_matrix(np.radians([4.0, 0, 0]))  # another start is no error
    error, moved = motion.rotation_error(driver, driver @ offset, 0)
    assert error == pytest.approx(0, abs=1e-4) and moved == pytest.approx(8, abs=1e-4)
    assert motion.rotation_error(driver, np.broadcast_to(np.eye(3), driver.shape), 0)[0] == pytest.approx(8, abs=1e-4)


def test_correlation_and_gain_of_known_curves():
    scores = np.zeros((50, 52))
    phase = np.linspace(0, 12, 50)
    scores[:, blendshape_index("jawOpen")] = 0.3 + 0.2 * np.sin(phase)
    scores[:, blendshape_index("eyeBlinkLeft")] = 0.3 + 0.2 * np.cos(phase)
    result = 0.5 * scores
    result[:, blendshape_index("eyeBlinkLeft")] *= -1
    found = motion.correlate(scores, result)
    assert found["jawOpen"] == pytest.approx((1, 0.5)) and found["eyeBlink"] == pytest.approx((-1, -0.5))
    assert found["all"] == pytest.approx((0, 0)) and "mouthSmile" not in found


def test_the_mouth_of_a_track_opens_with_the_jaw():
    track = MotionTrack.neutral(5, "face478")
    expression = track.expression.copy()
    expression[:, blendshape_index("jawOpen")] = [0, 0.25, 0.5, 0.75, 1]
    opening = mouth_opening(replace(track, expression=expression), face478.load())
    assert (np.diff(opening) > 0.02).all()


def test_a_still_track_is_steady_and_a_shaking_one_is_not():
    model, track = face478.load(), MotionTrack.neutral(40, "face478")
    assert steadiness(track, model) == pytest.approx(0, abs=1e-12)
    pose = track.pose.copy()
    pose[::2, 3] += 0.02  # the face is about two units wide
    shaking = replace(track, pose=pose)
    assert 0.01 < steadiness(shaking, model) < 0.03  # second differences of 0.04 over a diagonal of about 2.6
    cut = replace(track.meta, cuts=(20,))
    moved = track.pose.copy()
    moved[20:, 3] += 1
    assert steadiness(replace(track, pose=moved, meta=cut), model) == pytest.approx(0, abs=1e-6)  # a cut is no shake
    valid = np.zeros(40, bool)
    valid[::2] = True
    assert steadiness(replace(track, valid=valid), model) is None
    long = MotionTrack.neutral(1203, "face478")  # more than a block
    pose = long.pose.copy()
    pose[::2, 3] += 0.02
    assert steadiness(replace(long, pose=pose), model) == pytest.approx(steadiness(shaking, model), rel=1e-3)
