"""Strength, smoothing, trimming and speed of tracks with known values."""

from dataclasses import replace

import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.transforms import (
    change_speed,
    hold_first_frame,
    loop_track,
    scale_motion,
    smooth_track,
    trim_track,
)
from tests.motion.tracks import NTSC, RATE, random_motion


def mean_jitter(track: MotionTrack) -> float:
    """Return the mean second difference of the expression before frame 25."""
    return np.abs(np.diff(track.expression[:25], 2, axis=0)).mean()


def test_scale_motion_by_zero_gives_rest_and_by_one_changes_nothing():
    track = random_motion()
    rest = scale_motion(track, 0.0)
    assert np.ptp(rest.expression, 0).max() < 1e-6
    assert np.ptp(rest.pose, 0).max() < 1e-6
    assert scale_motion(track, 1.0) is track


def test_scale_motion_by_two_doubles_the_range_of_the_pose():
    track = random_motion()
    small = replace(track, pose=track.pose * 0.1)
    np.testing.assert_allclose(np.ptp(scale_motion(small, 2).pose, 0), 2 * np.ptp(small.pose, 0), rtol=0.02)


@pytest.mark.parametrize("strength", [-0.1, 3.1, float("nan")])
def test_scale_motion_refuses_a_strength_out_of_range(strength):
    with pytest.raises(InputError, match=r"^strength: .*from 0 to 3"):
        scale_motion(random_motion(), strength)


def test_smooth_track_reduces_jitter_and_keeps_cuts():
    track = random_motion()
    track = replace(track, expression=track.expression * 0.1, meta=replace(track.meta, cuts=(25,)))
    expression = track.expression.copy()
    expression[25:] += 1
    smoothed = smooth_track(replace(track, expression=expression), 2.0)
    assert mean_jitter(smoothed) < 0.2 * mean_jitter(track)
    assert smoothed.expression[24].mean() < 0.2
    assert smoothed.expression[25].mean() > 0.9


def test_smooth_track_by_zero_changes_nothing_and_refuses_a_strength_out_of_range():
    track = random_motion()
    assert smooth_track(track, 0) is track
    with pytest.raises(InputError, match=r"^smooth: 11 is out of range"):
        smooth_track(track, 11)


def test_trim_track_keeps_the_times_of_its_frames():
    part = trim_track(random_motion(100), 1.0, 2.0)
    assert len(part) == 50
    assert part.pts[0] == 1.0


def test_trim_track_cuts_a_long_last_frame():
    track = random_motion(100)
    held = replace(track, meta=replace(track.meta, last_duration=3.0))
    end = float(track.pts[-1] - track.pts[0])
    assert trim_track(held, 0.0, end + 1.25).last_duration == pytest.approx(1.25)
    assert trim_track(held, 0.0, end + 5).last_duration == 3.0
    assert trim_track(held, 0.0, end + 1e-9).last_duration == pytest.approx(float(1 / track.frame_rate))


@pytest.mark.parametrize(
    ("start", "duration", "field"),
    [(4.0, None, "start"), (-1, None, "start"), (np.nan, None, "start"), (0, 0, "duration"), (0, np.nan, "duration")],
)
def test_trim_track_refuses_an_empty_range(start, duration, field):
    with pytest.raises(InputError) as caught:
        trim_track(random_motion(100), start, duration)
    assert caught.value.field == field


def test_change_speed_keeps_the_frame_rate():
    track = random_motion(100)
    fast, slow = change_speed(track, 2.0), change_speed(track, 0.5)
    assert (len(fast), len(slow)) == (50, 200)
    assert fast.frame_rate == slow.frame_rate == RATE
    np.testing.assert_allclose(fast.pose, track.pose[::2], atol=1e-6)
    np.testing.assert_allclose(slow.pose[::2], track.pose, atol=1e-6)


@pytest.mark.parametrize("speed", [0, 100, float("nan")])
def test_change_speed_refuses_a_speed_out_of_range(speed):
    with pytest.raises(InputError, match=r"^speed: .*from 0.05 to 20"):
        change_speed(random_motion(100), speed)


def test_hold_first_frame_repeats_it_at_the_frame_rate():
    still = hold_first_frame(random_motion(3), 1.0, NTSC)
    assert len(still) == 30
    assert still.frame_rate == NTSC
    assert np.ptp(still.pose, 0).max() == 0
    assert still.pts[1] == pytest.approx(1001 / 30000)


def test_loop_track_repeats_the_motion_with_cuts():
    track = random_motion(10)
    looped = loop_track(track, 2.5 * track.duration)
    assert len(looped) == 25 and looped.meta.cuts == (10, 20)
    assert np.array_equal(looped.expression[10:20], track.expression)
    assert np.allclose(np.diff(looped.pts), np.diff(track.pts)[0])
    assert len(loop_track(track, 0.5 * track.duration)) == 5
