"""Measures of the quality benchmark on synthetic heads and images."""

import cv2
import numpy as np
import pytest

from mimaface_cli.motion.rotation import rotation_matrix
from tests.benchmarks.quality_measures import rotation_error, sharpness


def test_rotation_error_counts_turns_from_the_reference_frame():
    angles = np.zeros((5, 3))
    angles[:, 1] = np.radians([0, 10, 20, 10, 0])
    driver = rotation_matrix(angles)
    offset = rotation_matrix(np.radians([4.0, 0, 0]))  # another start is no error
    error, driver_turn = rotation_error(driver, driver @ offset, 0)
    assert error == pytest.approx(0, abs=1e-4) and driver_turn == pytest.approx(8, abs=1e-4)
    still = np.broadcast_to(np.eye(3), driver.shape)
    assert rotation_error(driver, still, 0)[0] == pytest.approx(8, abs=1e-4)


def test_sharpness_falls_with_blur_but_not_with_size():
    sharp = cv2.resize(np.random.default_rng(3).integers(0, 256, (32, 32, 3), np.uint8), (512, 512))
    box = np.array([0, 0, 512, 512])
    assert sharpness(cv2.GaussianBlur(sharp, (0, 0), 12), box) < 0.5 * sharpness(sharp, box)
    assert sharpness(cv2.resize(sharp, (1024, 1024)), 2 * box) == pytest.approx(sharpness(sharp, box), rel=0.25)
