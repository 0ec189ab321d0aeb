"""Easing: smooth transitions, and smooth limits of values and angles."""

import numpy as np
import pytest

from mimaface_cli.motion.easing import ANGLE_KNEE, ANGLE_MARGIN, ease_angles, ease_range, smoothstep


def test_smoothstep_is_flat_outside_and_steepest_in_the_middle():
    assert smoothstep(np.array([-1.0, 0, 0.5, 1, 2])).tolist() == [0, 0, 0.5, 1, 1]


def test_ease_range_keeps_values_inside_and_never_exceeds_the_margin():
    values = np.linspace(-5, 5, 1001)
    eased = ease_range(values, -0.4, 0.7, 0.3)
    inside = (values >= -0.4) & (values <= 0.7)
    assert np.array_equal(eased[inside], values[inside])
    assert eased.min() >= -0.7 and eased.max() <= 1.0
    assert eased[0] == pytest.approx(-0.7, abs=1e-3) and eased[-1] == pytest.approx(1.0, abs=1e-3)


def test_ease_range_is_monotone_and_its_slope_has_no_step():
    values = np.linspace(-2, 2, 40001)
    slope = np.diff(ease_range(values, -0.4, 0.7, 0.3)) / np.diff(values)
    assert slope.min() >= 0 and slope.max() <= 1 + 1e-9
    assert np.abs(np.diff(slope)).max() < 1e-3


def test_ease_angles_keeps_the_range_of_a_photo_and_limits_larger_turns():
    rest = np.zeros(3)
    small = np.radians([[20.0, -31.0, 25.0], [-20.0, 31.0, -25.0]])
    assert np.array_equal(ease_angles(small, rest), small)
    large = ease_angles(np.radians([[80.0, 80.0, -80.0]]), rest)[0]
    assert (np.abs(large) > ANGLE_KNEE).all() and (np.abs(large) <= ANGLE_KNEE + ANGLE_MARGIN).all()


@pytest.mark.parametrize("yaw", [-50.0, -20.0, 40.0])
def test_ease_angles_does_not_move_a_photo_that_is_turned(yaw):
    rest = np.radians([3.0, yaw, -35.0])
    assert np.allclose(ease_angles(rest, rest), rest)
    # It turns back freely, but not to the other side.
    back = rest - np.radians([0.0, 30 * np.sign(yaw), 0.0])
    assert np.allclose(ease_angles(back, rest), back)
    assert np.abs(ease_angles(-1.5 * rest, rest)[1] - rest[1]) <= np.radians(58)
