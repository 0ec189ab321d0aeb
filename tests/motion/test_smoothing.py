"""Smoothing without delay, and interpolation of missing frames."""

import numpy as np
import pytest

from mimaface_cli.motion.smoothing import (
    fill_missing,
    filter_gaussian,
    filter_savitzky_golay,
    smooth_by_shot,
    smooth_expression,
    smooth_pose,
)


def test_fill_missing_interpolates_in_time_and_holds_the_ends():
    pts = np.array([0.0, 1.0, 2.0, 4.0, 5.0])
    valid = np.array([False, True, False, True, False])
    filled = fill_missing(np.array([[9.0], [1.0], [9.0], [4.0], [9.0]]), valid, pts)
    assert np.allclose(filled[:, 0], [1.0, 1.0, 2.0, 4.0, 4.0])


def test_smooth_by_shot_smooths_shots_separately_and_fills_those_without_a_face():
    values = np.array([[0.0], [2.0], [9.0], [9.0], [6.0], [6.0]])
    valid = np.array([True, True, False, False, True, True])
    smoothed = smooth_by_shot(values, valid, np.arange(6.0), (2, 4), lambda shot, _: np.full_like(shot, shot.mean()))
    assert np.allclose(smoothed[:, 0], [1, 1, 1 + 5 / 3, 1 + 10 / 3, 6, 6])


@pytest.mark.parametrize("smooth", [lambda values: filter_gaussian(values, 1.5), filter_savitzky_golay])
def test_filters_have_no_delay_and_preserve_lines(smooth):
    line = np.stack([np.linspace(0, 1, 40), np.full(40, 3.0)], 1)
    assert np.allclose(smooth(line), line, atol=1e-9)
    bump = np.exp(-(((np.arange(60) - 30) / 4.0) ** 2))[:, None]
    assert smooth(bump)[:, 0].argmax() == 30


def test_savitzky_golay_keeps_the_depth_of_a_blink_of_three_frames():
    blink = np.zeros((40, 1))
    blink[19:22, 0] = [0.6, 0.9, 0.6]
    assert filter_savitzky_golay(blink).max() > 0.8


def test_smoothing_reduces_noise():
    noise = np.random.default_rng(0).normal(size=(400, 6)) * 0.01
    assert smooth_pose(noise, 25.0).std() < 0.65 * noise.std()
    expression = np.random.default_rng(1).normal(size=(400, 64))
    assert smooth_expression(expression, 25.0).std() < 0.8 * expression.std()


def test_smoothing_is_off_at_strength_zero_and_for_expressions_at_low_frame_rates():
    noise = np.random.default_rng(0).normal(size=(400, 6)) * 0.01
    expression = np.random.default_rng(1).normal(size=(400, 64))
    assert np.array_equal(smooth_pose(noise, 25.0, 0.0), noise)
    assert np.array_equal(smooth_expression(expression, 12.0), expression)


def test_smooth_pose_unwraps_angles():
    pose = np.zeros((20, 6))
    pose[:, 2] = np.where(np.arange(20) % 2, np.pi - 0.01, -np.pi + 0.01)
    assert np.abs(np.diff(smooth_pose(pose, 25.0)[:, 2])).max() < 0.05


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
def test_filters_accept_short_tracks(length):
    values = np.random.default_rng(2).normal(size=(length, 6))
    assert smooth_pose(values, 25.0).shape == values.shape
    assert filter_savitzky_golay(values).shape == values.shape
