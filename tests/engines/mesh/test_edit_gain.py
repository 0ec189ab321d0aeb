"""Gains of edits applied to coefficients."""

from types import SimpleNamespace

import numpy as np
import pytest

from mimaface_cli.engines.mesh import edit_gain
from mimaface_cli.engines.mesh.calibration import PortraitCalibration, ResponseCurve
from mimaface_cli.engines.mesh.edit_gain import EditGain, apply_gains, measure_gains
from mimaface_cli.face import face478
from mimaface_cli.motion.channels import find_channel
from mimaface_cli.motion.coefficients import Coefficients, blendshape_index
from tests.engines.mesh.coefficients import make_coefficients

YAW = find_channel("yaw", "face478")


def turns(*degrees: float) -> Coefficients:
    """Return one frame for each yaw, with a small pitch and an open jaw."""
    count = len(degrees)
    return Coefficients(
        np.repeat(make_coefficients(jawOpen=0.8).expression, count, 0),
        np.concatenate([make_coefficients(yaw=value, pitch=3).pose for value in degrees]),
        np.zeros((count, 4)),
    )


def test_gains_scale_the_change_in_their_direction_only():
    original, edited = make_coefficients(yaw=5, jawOpen=0.2), turns(25, -15, 5)
    scaled = apply_gains(original, edited, [EditGain(YAW, 1, 1.2, 20, 17), EditGain(YAW, -1, 1.1, -20, -18)])
    np.testing.assert_allclose(np.degrees(scaled.pose[:, 1]), [5 + 24, 5 - 22, 5], atol=1e-9)
    np.testing.assert_array_equal(scaled.expression, edited.expression)
    np.testing.assert_allclose(scaled.pose[:, [0, 2, 3, 4, 5]], edited.pose[:, [0, 2, 3, 4, 5]])


def test_second_gain_of_a_coefficient_in_one_direction_is_ignored():
    original, edited = make_coefficients(yaw=5), turns(25)
    scaled = apply_gains(original, edited, [EditGain(YAW, 1, 1.2, 20, 17), EditGain(YAW, 1, 1.2, 20, 17)])
    assert np.degrees(scaled.pose[0, 1]) == pytest.approx(5 + 24)


def test_gain_of_both_sides_precedes_that_of_one_side():
    both, left = (find_channel(name, "face478") for name in ("mouthSmile", "mouthSmileLeft"))
    edited = make_coefficients(mouthSmile=0.5)
    scaled = apply_gains(make_coefficients(), edited, [EditGain(both, 1, 1.4, 1, 1), EditGain(left, 1, 0.8, 1, 1)])
    sides = [blendshape_index("mouthSmileLeft"), blendshape_index("mouthSmileRight")]
    np.testing.assert_allclose(scaled.expression[0, sides], 0.7)


def test_gaze_is_scaled_by_the_calibration_of_the_portrait(monkeypatch):
    curve = ResponseCurve(np.array([0.0, 1.0]), np.array([0.0, 0.8]))
    calibration = PortraitCalibration(face478.load().mean, curve, curve, curve, curve, (curve, curve))
    monkeypatch.setattr(edit_gain, "calibrate_portrait", lambda portrait, model, cache: calibration)
    portrait = SimpleNamespace(gaze=np.zeros(4))
    gaze_yaw, pitch = find_channel("gazeYaw", "face478"), find_channel("gazePitch", "face478")
    edited = make_coefficients(gazeYaw=10, gazePitch=5)
    (gain,) = measure_gains(portrait, face478.load(), edited, [gaze_yaw, pitch])
    assert (gain.channel, gain.sign) == (gaze_yaw, 1)
    assert gain.factor == pytest.approx(1.25, rel=0.01)
    assert gain.measured == pytest.approx(gain.requested, rel=0.01)
    scaled = apply_gains(make_coefficients(), edited, [gain])
    np.testing.assert_allclose(np.degrees(scaled.gaze[0]), [12.5, 5, 12.5, 5], rtol=0.01)


def test_small_changes_of_the_gaze_are_not_scaled(monkeypatch):
    monkeypatch.setattr(edit_gain, "calibrate_portrait", lambda portrait, model, cache: None)
    portrait = SimpleNamespace(gaze=np.zeros(4))
    edited = make_coefficients(gazeYaw=-1)
    assert measure_gains(portrait, face478.load(), edited, [find_channel("gazeYaw", "face478")]) == []
