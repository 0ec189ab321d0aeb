"""Relative and absolute motion, regions, strength, limits."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.motion.coefficients import EXPRESSION_DIM, Coefficients, blendshape_index
from mimaface_cli.motion.retarget import (
    GAZE_LIMIT,
    TOTAL_KNEE,
    TOTAL_ROOM,
    YAW_PITCH_KNEE,
    YAW_PITCH_LIMIT,
    ease,
    find_neutral_frame,
    reference_coefficients,
    retarget,
)
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.rotation import euler_angles, rotation_matrix
from mimaface_cli.motion.track import MotionTrack


def track_of(frames=8, **values) -> MotionTrack:
    """A neutral track with some arrays replaced."""
    return replace(MotionTrack.neutral(frames, "face478", Fraction(25)), **values)


def source(expression=None, pose=None, gaze=None) -> Coefficients:
    one = lambda value, width: np.zeros((1, width)) if value is None else np.asarray(value, float)[None]  # noqa: E731
    return Coefficients(one(expression, EXPRESSION_DIM), one(pose, 6), one(gaze, 4))


def run(own, track, **options):
    chosen = RetargetOptions(**options)
    return retarget(own, track, chosen, reference_coefficients(track, chosen))


def test_ease_keeps_small_motion_and_never_passes_the_limit():
    values = np.linspace(-3, 3, 601)
    eased = ease(values, 0.4, 0.7)
    inside = np.abs(values) <= 0.4
    assert np.array_equal(eased[inside], values[inside])
    assert np.all(np.diff(eased) >= 0) and np.abs(eased).max() <= 0.7
    assert np.abs(np.diff(eased) / np.diff(values)).max() <= 1 + 1e-9


def test_relative_motion_adds_the_change_since_the_reference_frame():
    pose = np.zeros((8, 6))
    pose[:, 1] = np.linspace(0.1, 0.3, 8)
    pose[:, 3] = np.linspace(1.0, 1.1, 8)
    own = source(pose=[0.05, -0.2, 0.02, 0.3, 0.1, 0.0])
    out = run(own, track_of(pose=pose), reference=0)
    turned = rotation_matrix(out.pose[-1, :3]) @ rotation_matrix(own.pose[0, :3]).T
    assert np.allclose(euler_angles(turned), [0, 0.2, 0], atol=1e-6)
    assert np.allclose(out.pose[0], own.pose[0], atol=1e-6)
    assert np.allclose(out.pose[-1, 3:], [0.4, 0.1, 0.0], atol=1e-6)


def test_absolute_motion_replaces_pose_and_expression():
    pose, expression = np.zeros((4, 6)), np.zeros((4, EXPRESSION_DIM))
    pose[:, 1], expression[:, 30] = 0.2, 0.6
    own = source(expression=np.full(EXPRESSION_DIM, 0.1), pose=[0, -0.1, 0, 0, 0, 0])
    out = run(own, track_of(4, pose=pose, expression=expression), motion="absolute")
    assert np.allclose(out.pose, pose, atol=1e-6) and np.allclose(out.expression, expression, atol=1e-6)


def test_a_lone_picture_drives_from_rest():
    expression = np.zeros((1, EXPRESSION_DIM))
    expression[0, blendshape_index("jawOpen")] = 0.5
    out = run(source(), track_of(1, expression=expression))
    assert out.expression[0, blendshape_index("jawOpen")] == pytest.approx(0.5)


def test_an_open_jaw_in_the_reference_frame_does_not_hide_speech():
    jaw = blendshape_index("jawOpen")
    expression = np.zeros((30, EXPRESSION_DIM))
    expression[:, jaw] = np.where(np.arange(30) % 3 == 0, 0.02, 0.5)
    pose = np.zeros((30, 6))
    pose[:, 0] = np.where(expression[:, jaw] > 0.1, 0.0, 0.4)  # the frames that look ahead are the ones that talk
    track = track_of(30, expression=expression, pose=pose)
    assert expression[find_neutral_frame(track), jaw] > 0.1
    out = run(source(), track)
    assert out.expression[:, jaw].max() > 0.4 and out.expression[:, jaw].min() > -0.05


def test_neutral_frame_avoids_blinks_turns_and_frames_without_a_face():
    expression, pose = np.zeros((5, EXPRESSION_DIM)), np.zeros((5, 6))
    expression[0, blendshape_index("eyeBlinkLeft")] = 0.9
    pose[1, 1] = 0.5
    expression[2, blendshape_index("mouthSmileLeft")] = 0.8
    valid = np.array([True, True, True, False, True])
    pose[4, 0] = 0.1
    assert find_neutral_frame(track_of(5, expression=expression, pose=pose, valid=valid)) == 4


@pytest.mark.parametrize(
    ("region", "jaw", "brow", "pose", "gaze"),
    [
        ("all", True, True, True, True),
        ("face", True, True, False, True),
        ("eyes", False, True, False, True),
        ("lips", True, False, False, False),
        ("pose", False, False, True, False),
    ],
)
def test_regions_drive_what_they_say(region, jaw, brow, pose, gaze):
    expression, turn, look = np.zeros((3, EXPRESSION_DIM)), np.zeros((3, 6)), np.zeros((3, 4))
    expression[2], turn[2, 1], look[2] = 0.4, 0.2, 0.1
    out = run(source(), track_of(3, expression=expression, pose=turn, gaze=look), region=region, reference=0)
    assert (out.expression[2, blendshape_index("jawOpen")] > 0.3) == jaw
    assert (out.expression[2, blendshape_index("browInnerUp")] > 0.3) == brow
    assert (abs(out.pose[2, 1]) > 0.1) == pose
    assert (abs(out.gaze[2, 0]) > 0.05) == gaze


def test_strength_scales_and_zero_leaves_the_source_alone():
    expression, pose = np.zeros((2, EXPRESSION_DIM)), np.zeros((2, 6))
    expression[1, 25], pose[1, 2] = 0.4, 0.1
    track = track_of(2, expression=expression, pose=pose)
    own = source(expression=np.full(EXPRESSION_DIM, 0.05), pose=[0.1, 0, 0, 0, 0, 0])
    still = run(own, track, strength=0.0, reference=0)
    assert np.allclose(still.expression, own.expression) and np.allclose(still.pose, own.pose, atol=1e-9)
    double = run(own, track, strength=2.0, reference=0)
    assert double.expression[1, 25] == pytest.approx(0.85)


def test_motion_is_eased_before_a_photo_tears():
    pose, gaze = np.zeros((2, 6)), np.zeros((2, 4))
    pose[1, 1], gaze[1] = 1.2, 1.5
    out = run(source(), track_of(2, pose=pose, gaze=gaze), reference=0)
    assert YAW_PITCH_KNEE < out.pose[1, 1] <= YAW_PITCH_LIMIT
    assert np.abs(out.gaze).max() <= GAZE_LIMIT
    turned = run(source(pose=[0, 0.3, 0, 0, 0, 0]), track_of(2, pose=pose), reference=0)
    assert turned.pose[1, 1] <= TOTAL_KNEE + TOTAL_ROOM


@pytest.mark.parametrize(
    "options",
    [{"motion": "sideways"}, {"region": "nose"}, {"strength": -1.0}, {"strength": 9.0}, {"strength": float("nan")}],
)
def test_wrong_options_are_refused(options):
    with pytest.raises(InputError):
        RetargetOptions(**options)


def test_a_reference_frame_beyond_the_driver_is_refused():
    with pytest.raises(InputError, match="frames 0 to 7"):
        reference_coefficients(track_of(8), RetargetOptions(reference=8))
