"""PSNR and SSIM against scikit-image and known values; sharpness."""

import cv2
import numpy as np
import pytest

from mimaface_cli.evaluation.functional.image_quality import PSNR_CEILING, l1_distance, psnr, ssim


def make_image(seed: int = 0, height: int = 120, width: int = 161) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3) // 2 + 60


def test_equal_images_have_the_highest_psnr_and_ssim():
    assert psnr(make_image(), make_image()) == PSNR_CEILING
    assert ssim(make_image(), make_image()) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("level", [1, 3, 17])
def test_psnr_equals_that_of_a_known_error(level):
    sign = np.where(np.indices(make_image().shape).sum(0) % 2, 1, -1)
    noisy = (make_image().astype(int) + level * sign).astype(np.uint8)
    assert psnr(noisy, make_image()) == pytest.approx(20 * np.log10(255 / level), abs=1e-9)


def test_psnr_and_ssim_agree_with_scikit_image():
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    first = make_image()
    for second in (make_image(1), np.roll(first, 2, axis=1), cv2.GaussianBlur(first, (0, 0), 1.5), 255 - first):
        assert psnr(first, second) == pytest.approx(metrics.peak_signal_noise_ratio(second, first), abs=1e-9)
        grays = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (first, second)]
        expected = metrics.structural_similarity(
            *grays, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
        )
        assert ssim(first, second) == pytest.approx(expected, abs=2e-5)


def test_ssim_of_flat_bright_images_keeps_its_precision():
    flat = np.full((64, 64, 3), 250, np.uint8)
    assert ssim(flat, flat) == pytest.approx(1.0, abs=1e-6)
    assert 0.99 < ssim(flat, flat - 2) < 1


@pytest.mark.parametrize("other", [make_image()[:-1], make_image().astype(np.float32)])
def test_images_of_different_shape_or_dtype_are_refused(other):
    with pytest.raises(ValueError, match="one shape"):
        psnr(make_image(), other)
    with pytest.raises(ValueError, match="one shape"):
        ssim(make_image(), other)


def test_l1_distance_equals_numpy():
    first, second = make_image(), make_image(1)
    expected = np.abs(first.astype(float) - second).mean() / 255
    assert l1_distance(first, second) == pytest.approx(expected, rel=1e-12)
    assert l1_distance(first, first) == 0
