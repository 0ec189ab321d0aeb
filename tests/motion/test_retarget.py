"""Retargeting: relative and absolute motion, regions, strength, limits."""

import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.motion.coefficients import EXPRESSION_DIM, Coefficients, blendshape_index
from mimaface_cli.motion.easing import ANGLE_KNEE, ANGLE_MARGIN
from mimaface_cli.motion.retarget import (
    GAZE_LIMIT,
    choose_reference_frame,
    find_neutral_frame,
    reference_coefficients,
    retarget,
)
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.rotation import euler_angles, rotation_matrix
from mimaface_cli.motion.track import MotionTrack


def make_track(frames=8, **values) -> MotionTrack:
    """Return a neutral track with some arrays replaced."""
    return replace(MotionTrack.neutral(frames, "face478", Fraction(25)), **values)


def make_source(expression=None, pose=None, gaze=None) -> Coefficients:
    """Return one frame of coefficients; the defaults are 0."""
    defaults = ((expression, EXPRESSION_DIM), (pose, 6), (gaze, 4))
    return Coefficients(
        *(np.zeros((1, width)) if value is None else np.asarray(value, float)[None] for value, width in defaults)
    )


def retarget_with(source, track, **options) -> Coefficients:
    """Retarget with these fields of RetargetOptions."""
    retarget_options = RetargetOptions(**options)
    return retarget(source, track, retarget_options, reference_coefficients(track, retarget_options))


def test_relative_motion_adds_the_change_since_the_reference_frame():
    pose = np.zeros((8, 6))
    pose[:, 1] = np.linspace(0.1, 0.3, 8)
    pose[:, 3] = np.linspace(1.0, 1.1, 8)
    source = make_source(pose=[0.05, -0.2, 0.02, 0.3, 0.1, 0.0])
    result = retarget_with(source, make_track(pose=pose), reference=0)
    turned = rotation_matrix(result.pose[-1, :3]) @ rotation_matrix(source.pose[0, :3]).T
    assert np.allclose(euler_angles(turned), [0, 0.2, 0], atol=1e-6)
    assert np.allclose(result.pose[0], source.pose[0], atol=1e-6)
    assert np.allclose(result.pose[-1, 3:], [0.4, 0.1, 0.0], atol=1e-6)


def test_absolute_motion_replaces_pose_and_expression():
    pose, expression = np.zeros((4, 6)), np.zeros((4, EXPRESSION_DIM))
    pose[:, 1], expression[:, 30] = 0.2, 0.6
    source = make_source(expression=np.full(EXPRESSION_DIM, 0.1), pose=[0, -0.1, 0, 0, 0, 0])
    result = retarget_with(source, make_track(4, pose=pose, expression=expression), motion="absolute")
    assert np.allclose(result.pose, pose, atol=1e-6) and np.allclose(result.expression, expression, atol=1e-6)


def test_driver_of_one_frame_moves_from_rest():
    expression = np.zeros((1, EXPRESSION_DIM))
    expression[0, blendshape_index("jawOpen")] = 0.5
    result = retarget_with(make_source(), make_track(1, expression=expression))
    assert result.expression[0, blendshape_index("jawOpen")] == pytest.approx(0.5)


def test_open_jaw_in_the_neutral_frame_does_not_hide_speech():
    jaw = blendshape_index("jawOpen")
    expression = np.zeros((30, EXPRESSION_DIM))
    expression[:, jaw] = np.where(np.arange(30) % 3 == 0, 0.02, 0.5)
    pose = np.zeros((30, 6))
    pose[:, 0] = np.where(expression[:, jaw] > 0.1, 0.0, 0.4)  # only talking frames look straight ahead
    track = make_track(30, expression=expression, pose=pose)
    assert expression[find_neutral_frame(track), jaw] > 0.1
    result = retarget_with(make_source(), track)
    assert result.expression[:, jaw].max() > 0.4 and result.expression[:, jaw].min() > -0.05


def test_find_neutral_frame_avoids_blinks_turns_and_frames_without_a_face():
    expression, pose = np.zeros((5, EXPRESSION_DIM)), np.zeros((5, 6))
    expression[0, blendshape_index("eyeBlinkLeft")] = 0.9
    pose[1, 1] = 0.5
    expression[2, blendshape_index("mouthSmileLeft")] = 0.8
    valid = np.array([True, True, True, False, True])
    pose[4, 0] = 0.1
    assert find_neutral_frame(make_track(5, expression=expression, pose=pose, valid=valid)) == 4


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
def test_region_drives_its_part_only(region, jaw, brow, pose, gaze):
    expression, turn, look = np.zeros((3, EXPRESSION_DIM)), np.zeros((3, 6)), np.zeros((3, 4))
    expression[2], turn[2, 1], look[2] = 0.4, 0.2, 0.1
    result = retarget_with(
        make_source(), make_track(3, expression=expression, pose=turn, gaze=look), region=region, reference=0
    )
    assert (result.expression[2, blendshape_index("jawOpen")] > 0.3) == jaw
    assert (result.expression[2, blendshape_index("browInnerUp")] > 0.3) == brow
    assert (abs(result.pose[2, 1]) > 0.1) == pose
    assert (abs(result.gaze[2, 0]) > 0.05) == gaze


def test_strength_scales_motion_and_zero_keeps_the_source():
    expression, pose = np.zeros((2, EXPRESSION_DIM)), np.zeros((2, 6))
    expression[1, 25], pose[1, 2] = 0.4, 0.1
    track = make_track(2, expression=expression, pose=pose)
    source = make_source(expression=np.full(EXPRESSION_DIM, 0.05), pose=[0.1, 0, 0, 0, 0, 0])
    unchanged = retarget_with(source, track, strength=0.0, reference=0)
    assert np.allclose(unchanged.expression, source.expression) and np.allclose(unchanged.pose, source.pose, atol=1e-9)
    double = retarget_with(source, track, strength=2.0, reference=0)
    assert double.expression[1, 25] == pytest.approx(0.85)


def test_motion_stays_within_the_limits_of_a_photo():
    pose, gaze = np.zeros((2, 6)), np.zeros((2, 4))
    pose[1, 1], gaze[1] = 1.2, 1.5
    limit = ANGLE_KNEE[1] + ANGLE_MARGIN[1]
    result = retarget_with(make_source(), make_track(2, pose=pose, gaze=gaze), reference=0)
    assert ANGLE_KNEE[1] < result.pose[1, 1] <= limit
    assert np.abs(result.gaze).max() <= GAZE_LIMIT
    turned = retarget_with(make_source(pose=[0, 0.3, 0, 0, 0, 0]), make_track(2, pose=pose), reference=0)
    assert turned.pose[1, 1] <= limit


def test_turns_between_any_two_frames_equal_the_drivers():
    pose = np.random.default_rng(2).normal(0, 0.08, (12, 6))
    source = make_source(pose=[0.1, -0.15, 0.1, 0, 0, 0])
    for reference in (None, 0, 7):
        result = rotation_matrix(retarget_with(source, make_track(12, pose=pose), reference=reference).pose[:, :3])
        driver = rotation_matrix(pose[:, :3])
        assert np.allclose(result @ result[3].T, driver @ driver[3].T, atol=1e-6)


def make_turning_driver(*, low: float, high: float, frames: int = 40) -> MotionTrack:
    """Return a driver whose yaw in degrees rises steadily."""
    pose = np.zeros((frames, 6))
    pose[:, 1] = np.radians(np.linspace(low, high, frames))
    return make_track(frames, pose=pose)


@pytest.mark.parametrize(
    ("photo_yaw", "low", "high", "expected"),
    [
        (-20, -44, -4, -22),  # the driver's frame like the photo: near it, and typical
        (-40, -5, 5, -5),  # none is like the photo: the one that fits best
        (-40, -30, 30, -13),  # a half profile: between that frame and the typical ones, which must not turn it around
        (0, -52, -15, -25),  # a driver in profile: between its least turned frames and the typical ones
        (0, 5, 60, 25),  # the furthest turns would leave the range of a photo
    ],
)
def test_automatic_reference_fits_the_pose_of_the_photo(photo_yaw, low, high, expected):
    track = make_turning_driver(low=low, high=high)
    source = make_source(pose=[0, np.radians(photo_yaw), 0, 0, 0, 0])
    frame = choose_reference_frame(track, None, source)
    assert np.degrees(track.pose[frame, 1]) == pytest.approx(expected, abs=4)
    assert choose_reference_frame(track, 3, source) == 3


def test_automatic_reference_keeps_the_motion_within_the_range_of_a_photo():
    track, source = make_turning_driver(low=-14, high=44), make_source()
    start = reference_coefficients(track, RetargetOptions(), source)
    yaws = [
        retarget(source, track, RetargetOptions(), start).pose[:, 1],
        retarget_with(source, track, reference=0).pose[:, 1],
    ]
    lost = [np.degrees(np.ptp(track.pose[:, 1]) - np.ptp(yaw)) for yaw in yaws]
    assert lost[0] < 2 and lost[1] > 10  # of the driver's range of 58 degrees


def test_automatic_reference_avoids_blinks_and_frames_without_a_face():
    expression, valid = np.zeros((5, EXPRESSION_DIM)), np.array([True, True, True, True, False])
    expression[:, blendshape_index("jawOpen")] = [0.5, 0.4, 0.0, 0.4, 0.4]
    expression[1, blendshape_index("eyeBlinkLeft")] = 0.9
    talking = np.zeros(EXPRESSION_DIM)
    talking[blendshape_index("jawOpen")] = 0.4
    track = make_track(5, expression=expression, valid=valid)
    assert choose_reference_frame(track, None, make_source(expression=talking)) == 3
    assert choose_reference_frame(track, None, make_source()) == 2


def test_automatic_reference_of_a_long_driver_takes_little_time():
    pose = np.random.default_rng(5).normal(0, 0.2, (15000, 6))
    start = time.perf_counter()
    frame = choose_reference_frame(make_track(15000, pose=pose), None, make_source(pose=[0.1, 0.3, 0, 0, 0, 0]))
    assert time.perf_counter() - start < 1
    assert np.abs(pose[frame, :3] - [0.05, 0.15, 0]).max() < 0.25


def test_reference_frame_beyond_the_driver_is_refused():
    with pytest.raises(InputError, match=r"^reference: the driver has no frame 8. Give a frame from 0 to 7"):
        reference_coefficients(make_track(8), RetargetOptions(reference=8))
