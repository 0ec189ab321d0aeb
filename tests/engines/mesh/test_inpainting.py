"""Background plates: structures continue, gradients stay smooth, the image outside the hole stays as it is."""

import numpy as np
import pytest

from mimaface_cli.engines.mesh.inpainting import fill_hole


def head_hole(height: int, width: int) -> np.ndarray:
    """A hole in the shape of a head on shoulders that touch the lower border."""
    rows, columns = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    head = ((rows - 0.45) / 0.22) ** 2 + ((columns - 0.5) / 0.17) ** 2 < 1
    shoulders = ((rows - 1.0) / 0.3) ** 2 + ((columns - 0.5) / 0.36) ** 2 < 1
    return head | shoulders


@pytest.fixture
def noisy_image() -> np.ndarray:
    return np.random.default_rng(3).integers(90, 130, (200, 240, 3)).astype(np.uint8)


def test_fill_hole_keeps_all_pixels_outside_the_hole(noisy_image):
    hole = head_hole(200, 240)
    filled = fill_hole(noisy_image, hole)
    assert filled.dtype == np.uint8
    assert np.array_equal(filled[~hole], noisy_image[~hole])
    assert (filled[hole] != noisy_image[hole]).mean() > 0.5


def test_fill_hole_gives_the_same_result_twice(noisy_image):
    hole = head_hole(200, 240)
    assert np.array_equal(fill_hole(noisy_image, hole), fill_hole(noisy_image, hole))
