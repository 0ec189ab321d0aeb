"""Image quality: L1, PSNR and SSIM against a reference image."""

import numpy as np

from mimaface_cli.evaluation.functional.ssim_kernel import TAPS, mean_ssim

PSNR_CEILING = 100.0  # dB of identical images, so that a mean over frames stays finite
SSIM_WINDOW = TAPS  # pixels


def psnr(image: np.ndarray, reference: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB, at most PSNR_CEILING.

    Args:
        image: H×W×C uint8.
        reference: H×W×C uint8.

    Raises:
        ValueError: For images of different shapes or of another dtype.
    """
    _check_pair(image, reference)
    import cv2

    error = cv2.norm(image, reference, cv2.NORM_L2SQR) / image.size
    return PSNR_CEILING if error == 0 else min(PSNR_CEILING, float(10 * np.log10(255.0**2 / error)))


def l1_distance(image: np.ndarray, reference: np.ndarray) -> float:
    """Return the mean absolute difference, 0 to 1, of two H×W×C uint8 images. Raises ValueError as `psnr` does."""
    _check_pair(image, reference)
    import cv2

    return cv2.norm(image, reference, cv2.NORM_L1) / (255.0 * image.size)


def ssim(image: np.ndarray, reference: np.ndarray) -> float:
    """Return the structural similarity, -1 to 1, of the luma of two RGB images.

    The window is a Gaussian of standard deviation 1.5 over 11×11 pixels. Statistics are those of the population, the
    constants are 0.01 and 0.03, and a border of 5 pixels is ignored. This equals scikit-image's
    `structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)` in float32.

    Args:
        image: H×W×3 uint8 RGB, at least 11×11.
        reference: H×W×3 uint8 RGB.

    Raises:
        ValueError: For images of different shapes, of another dtype or smaller than the window.

    Source: Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural Similarity".
    """
    _check_pair(image, reference)
    if min(image.shape[:2]) < SSIM_WINDOW:
        raise ValueError("SSIM needs images of at least 11x11 pixels")
    import cv2

    gray_x, gray_y = (cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY) for rgb in (image, reference))
    center = (cv2.mean(gray_x)[0] + cv2.mean(gray_y)[0]) / 2
    offsets = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    weights = (window / window.sum()).astype(np.float32)[: SSIM_WINDOW // 2 + 1]
    return min(1.0, mean_ssim(gray_x, gray_y, weights, center, (0.01 * 255) ** 2, (0.03 * 255) ** 2))


def _check_pair(image: np.ndarray, reference: np.ndarray) -> None:
    if image.shape != reference.shape or image.dtype != np.uint8 or reference.dtype != np.uint8:
        raise ValueError(f"two uint8 images of one shape are needed, not {image.shape} and {reference.shape}")
