"""Background plates: structures continue, gradients stay smooth, the image outside the hole stays as it is."""

import cv2
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


def needed_band(hole: np.ndarray, width: int) -> np.ndarray:
    """The pixels of a hole next to its rim."""
    return hole & (cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5) <= width)


@pytest.mark.parametrize(("down", "right"), [(1.0, 0.0), (0.0, 1.0), (0.6, 0.8)])
def test_fill_hole_continues_stripes_straight(down, right):
    rows, columns = np.mgrid[0:240, 0:300]
    stripes = np.where((rows * down + columns * right) // 18 % 2 == 0, 70, 180).astype(np.uint8)
    image = np.stack([stripes, stripes, stripes], -1)
    hole = head_hole(240, 300)
    needed = needed_band(hole, 30)
    painted = np.where(hole[..., None], 0, image).astype(np.uint8)
    wrong = np.abs(fill_hole(painted, hole, needed)[needed].astype(int) - image[needed]).max(-1) > 40
    assert wrong.mean() < 0.02


def test_fill_hole_continues_a_gradient_within_two_levels():
    rows, columns = np.mgrid[0:300, 0:400]
    exact = np.stack([40 + 0.35 * columns + 0.1 * rows, 220 - 0.3 * rows, 60 + 0.3 * columns], -1)
    hole = head_hole(300, 400)
    image = np.where(hole[..., None], 0, np.rint(exact)).astype(np.uint8)
    needed = needed_band(hole, 40)
    assert np.abs(fill_hole(image, hole, needed) - exact)[needed].max() <= 2


def test_fill_hole_keeps_the_noise_of_a_smooth_background():
    noise = np.random.default_rng(5).normal(0, 6, (300, 400, 3))
    image = np.rint(128 + noise).astype(np.uint8)
    hole = head_hole(300, 400)
    needed = needed_band(hole, 40)
    filled = fill_hole(np.where(hole[..., None], 0, image).astype(np.uint8), hole, needed)
    assert filled[needed].std() == pytest.approx(6, abs=1.2)
    assert np.abs(cv2.GaussianBlur(filled.astype(np.float32), (0, 0), 8)[needed] - 128).max() < 4


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (64, 64), (9, 120)])
@pytest.mark.parametrize("known", ["none", "a pixel", "a strip", "a column"])
def test_fill_hole_fills_any_hole(size, known):
    image = np.random.default_rng(1).integers(0, 255, (*size, 3)).astype(np.uint8)
    hole = np.ones(size, bool)
    if known == "a pixel":
        hole[0, 0] = False
    elif known == "a strip":
        hole[: max(1, size[0] // 8)] = False
    elif known == "a column":
        hole[:, : size[1] // 2] = False
    filled = fill_hole(image, hole)
    assert filled.shape == image.shape and filled.dtype == np.uint8
    assert np.array_equal(filled[~hole], image[~hole])


def test_fill_hole_without_needed_pixels_fills_smoothly(noisy_image):
    hole = head_hole(200, 240)
    filled = fill_hole(noisy_image, hole, np.zeros_like(hole))
    assert filled[hole].std() < 6 < noisy_image[hole].std()


def test_fill_hole_keeps_gray_images_gray():
    rows, columns = np.mgrid[0:160, 0:160]
    gray = ((rows * 7 + columns * columns) % 97 + 60).astype(np.uint8)
    hole = head_hole(160, 160)
    filled = fill_hole(np.stack([gray, gray, gray], -1), hole)
    assert np.ptp(filled, axis=-1).max() <= 1
