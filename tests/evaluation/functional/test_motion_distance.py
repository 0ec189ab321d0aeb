"""Distances and angles of synthetic poses, correlation of known curves."""

import numpy as np
import pytest

from mimaface_cli.evaluation.functional.motion_distance import (
    coefficient_distances,
    correlate_blendshapes,
    head_angles,
    pose_distances,
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
