"""Smoothing without lag, filling of gaps, resampling."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from mimaface_cli.motion.resample import resample_track
from mimaface_cli.motion.smoothing import fill_missing, gaussian, savitzky_golay, smooth_expression, smooth_pose
from mimaface_cli.motion.track import MotionTrack


def test_gaps_are_bridged_in_time_and_held_at_the_ends():
    pts = np.array([0.0, 1.0, 2.0, 4.0, 5.0])
    valid = np.array([False, True, False, True, False])
    filled = fill_missing(np.array([[9.0], [1.0], [9.0], [4.0], [9.0]]), valid, pts)
    assert np.allclose(filled[:, 0], [1.0, 1.0, 2.0, 4.0, 4.0])


@pytest.mark.parametrize("filtered", [lambda v: gaussian(v, 1.5), savitzky_golay])
def test_filters_have_no_lag_and_keep_lines(filtered):
    line = np.stack([np.linspace(0, 1, 40), np.full(40, 3.0)], 1)
    assert np.allclose(filtered(line), line, atol=1e-9)
    bump = np.exp(-(((np.arange(60) - 30) / 4.0) ** 2))[:, None]
    assert filtered(bump)[:, 0].argmax() == 30


def test_a_blink_of_three_frames_keeps_its_depth():
    blink = np.zeros((40, 1))
    blink[19:22, 0] = [0.6, 0.9, 0.6]
    assert savitzky_golay(blink).max() > 0.8


def test_noise_goes_down():
    noise = np.random.default_rng(0).normal(size=(400, 6)) * 0.01
    assert smooth_pose(noise, 25.0).std() < 0.65 * noise.std()
    expression = np.random.default_rng(1).normal(size=(400, 64))
    assert smooth_expression(expression, 25.0).std() < 0.8 * expression.std()
    assert np.array_equal(smooth_expression(expression, 12.0), expression)  # every frame counts at a low rate
    assert np.array_equal(smooth_pose(noise, 25.0, 0.0), noise)


def test_angles_do_not_jump_over_the_half_turn():
    pose = np.zeros((20, 6))
    pose[:, 2] = np.where(np.arange(20) % 2, np.pi - 0.01, -np.pi + 0.01)
    smooth = smooth_pose(pose, 25.0)
    assert np.abs(np.diff(smooth[:, 2])).max() < 0.05


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
def test_short_tracks_pass_through(length):
    values = np.random.default_rng(2).normal(size=(length, 6))
    assert smooth_pose(values, 25.0).shape == values.shape
    assert savitzky_golay(values).shape == values.shape


def walking() -> MotionTrack:
    track = MotionTrack.neutral(10, "face478", Fraction(10))
    pose = np.zeros((10, 6))
    pose[:, 3] = np.arange(10)
    return replace(track, pose=pose)


def test_resampling_interpolates_and_holds_the_ends():
    out = resample_track(walking(), np.array([0.0, 0.05, 0.1, 0.85, 5.0]))
    assert np.allclose(out.pose[:, 3], [0.0, 0.5, 1.0, 8.5, 9.0])
    assert np.allclose(out.pts, [0.0, 0.05, 0.1, 0.85, 5.0])


def test_resampling_never_mixes_two_shots():
    track = walking()
    track = replace(track, meta=replace(track.meta, cuts=(5,)))
    out = resample_track(track, np.array([0.42, 0.44, 0.46, 0.48]))
    assert np.allclose(out.pose[:, 3], [4.0, 4.0, 5.0, 5.0])
    assert out.meta.cuts == (2,)
