"""PSNR and SSIM against scikit-image and known answers."""

import cv2
import numpy as np
import pytest

from mimaface_cli.evaluation.functional.image_quality import PSNR_CEILING, psnr, sharpness, ssim


def picture(seed: int = 0, height: int = 120, width: int = 161) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3) // 2 + 60


def test_equal_pictures_are_as_like_as_can_be():
    assert psnr(picture(), picture()) == PSNR_CEILING
    assert ssim(picture(), picture()) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("level", [1, 3, 17])
def test_a_known_error_gives_its_decibels(level):
    sign = np.where(np.indices(picture().shape).sum(0) % 2, 1, -1)
    noisy = (picture().astype(int) + level * sign).astype(np.uint8)
    assert psnr(noisy, picture()) == pytest.approx(20 * np.log10(255 / level), abs=1e-9)


def test_both_agree_with_scikit_image():
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    first = picture()
    for second in (picture(1), np.roll(first, 2, axis=1), cv2.GaussianBlur(first, (0, 0), 1.5), 255 - first):
        assert psnr(first, second) == pytest.approx(metrics.peak_signal_noise_ratio(second, first), abs=1e-9)
        grays = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in (first, second)]
        wanted = metrics.structural_similarity(
            *grays, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
        )
        assert ssim(first, second) == pytest.approx(wanted, abs=2e-5)


def test_flat_and_bright_pictures_do_not_lose_their_digits():
    flat = np.full((64, 64, 3), 250, np.uint8)
    assert ssim(flat, flat) == pytest.approx(1.0, abs=1e-6)
    assert 0.99 < ssim(flat, flat - 2) < 1


def test_blur_lowers_sharpness_and_size_does_not():
    sharp = cv2.resize(np.random.default_rng(3).integers(0, 256, (32, 32, 3), np.uint8), (512, 512))
    box = np.array([0, 0, 512, 512])
    assert sharpness(cv2.GaussianBlur(sharp, (0, 0), 12), box) < 0.5 * sharpness(sharp, box)
    assert sharpness(cv2.resize(sharp, (1024, 1024)), 2 * box) == pytest.approx(sharpness(sharp, box), rel=0.25)


@pytest.mark.parametrize("other", [picture()[:-1], picture().astype(np.float32)])
def test_pictures_that_do_not_belong_together_are_refused(other):
    with pytest.raises(ValueError, match="one shape"):
        psnr(picture(), other)
    with pytest.raises(ValueError, match="one shape"):
        ssim(picture(), other)
