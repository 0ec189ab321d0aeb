"""Distances and angles of synthetic poses, correlation of known curves."""

import numpy as np
import pytest

from mimaface_cli.evaluation.functional.motion_distance import (
    coefficient_distances,
    coefficient_errors,
    correlate_blendshapes,
    gaze_errors,
    head_angles,
    pose_distances,
    pose_errors,
    velocity_correlation,
)
from mimaface_cli.motion.coefficients import blendshape_index


def test_coefficient_distances_are_euclidean_per_frame():
    driver = np.random.default_rng(0).normal(size=(6, 64))
    step = np.zeros(64)
    step[:2] = 3, 4
    assert coefficient_distances(driver + step, driver) == pytest.approx(5)
    assert not coefficient_distances(driver, driver).any()


@pytest.mark.parametrize("axis", range(3))
def test_head_angles_equal_known_rotation(axis):
    driver = np.zeros((4, 6))
    result = driver.copy()
    result[:, axis] = np.radians([0, 5, 20, 90])
    assert head_angles(result, driver) == pytest.approx([0, 5, 20, 90], abs=1e-4)
    assert pose_distances(result, driver) == pytest.approx(np.radians([0, 5, 20, 90]))


def test_pose_distances_ignore_whole_turns():
    driver = np.zeros((2, 6))
    result = driver.copy()
    result[:, 1] = 2 * np.pi, -2 * np.pi + 0.1
    assert pose_distances(result, driver) == pytest.approx([0, 0.1], abs=1e-9)


def test_correlate_blendshapes_returns_correlation_and_gain_of_known_curves():
    scores = np.zeros((50, 52))
    phase = np.linspace(0, 12, 50)
    scores[:, blendshape_index("jawOpen")] = 0.3 + 0.2 * np.sin(phase)
    scores[:, blendshape_index("eyeBlinkLeft")] = 0.3 + 0.2 * np.cos(phase)
    result = 0.5 * scores
    result[:, blendshape_index("eyeBlinkLeft")] *= -1
    groups = correlate_blendshapes(scores, result)
    assert groups["jawOpen"] == pytest.approx((1, 0.5)) and groups["eyeBlink"] == pytest.approx((-1, -0.5))
    assert groups["all"] == pytest.approx((0, 0)) and "mouthSmile" not in groups


def test_coefficient_and_pose_errors_are_mean_absolute_differences():
    driver = np.random.default_rng(0).normal(size=(6, 64))
    step = np.zeros(64)
    step[:2] = 3, -4
    assert coefficient_errors(driver + step, driver) == pytest.approx(7 / 64)
    pose = np.zeros((2, 6))
    turned = pose + np.array([0.3, 2 * np.pi, 0, -0.6, 0, 0])  # a whole turn does not count
    assert pose_errors(turned, pose) == pytest.approx(0.9 / 6, abs=1e-9)


def test_gaze_errors_equal_known_angles():
    driver = np.zeros((3, 4))
    result = np.radians([[0, 0, 0, 0], [10, 0, 20, 0], [0, -10, 0, 0]])
    assert gaze_errors(result, driver) == pytest.approx([0, 15, 5], abs=1e-9)


def test_gaze_errors_agree_with_rotations_of_an_axis():
    gaze = np.random.default_rng(1).uniform(-0.7, 0.7, (2, 5, 4))

    def direction(yaw: float, pitch: float) -> np.ndarray:
        turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        tilt = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
        return turn @ tilt @ [0, 0, 1]

    expected = []
    for first, second in zip(*gaze, strict=True):
        cosines = [direction(*first[k : k + 2]) @ direction(*second[k : k + 2]) for k in (0, 2)]
        expected.append(np.degrees(np.arccos(cosines)).mean())
    assert gaze_errors(gaze[0], gaze[1]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("sign", [1, -1])
def test_velocity_correlation_of_scaled_motion_has_its_sign(sign):
    times = np.arange(60) / 25
    driver = np.stack([np.sin(4 * times), np.cos(7 * times)], 1)
    usable, shots = np.ones(60, bool), np.zeros(60, int)
    value = velocity_correlation(5 + 0.4 * sign * driver, driver, times, usable, shots)
    assert value == pytest.approx(sign, abs=1e-9)


def test_velocity_correlation_agrees_with_numpy():
    rng = np.random.default_rng(2)
    times = np.arange(80) / 25
    driver, result = rng.normal(size=(2, 80, 1))
    value = velocity_correlation(result, driver, times, np.ones(80, bool), np.zeros(80, int))
    step = 3  # 0.12 s
    assert value == pytest.approx(np.corrcoef(result[step:, 0] - result[:-step, 0],
                                              driver[step:, 0] - driver[:-step, 0])[0, 1], abs=1e-9)  # fmt: skip


def test_velocity_correlation_ignores_cuts_gaps_and_stillness():
    times = np.arange(60) / 25
    driver = np.sin(4 * times)[:, None]
    jump = driver + np.where(np.arange(60) < 30, 0, 50)[:, None]
    shots = (np.arange(60) >= 30).astype(int)
    usable = np.ones(60, bool)
    assert velocity_correlation(jump, driver, times, usable, shots) == pytest.approx(1)
    broken = driver.copy()
    broken[20] = 99
    usable[20] = False
    assert velocity_correlation(broken, driver, times, usable, shots) == pytest.approx(1)
    assert velocity_correlation(np.zeros((60, 1)), driver, times, usable, shots) is None
    assert velocity_correlation(driver[:6], driver[:6], times[:6], usable[:6], shots[:6]) is None
