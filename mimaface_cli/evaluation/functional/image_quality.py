"""Image quality: PSNR and SSIM against a reference image."""

import numpy as np

PSNR_CEILING = 100.0  # dB of identical images, so that a mean over frames stays finite
SSIM_WINDOW = 11  # pixels
_STRIP_ROWS = 32


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
    # Differences from the common mean keep the squares small, so that float32 keeps the differences of squares.
    center = np.float32((cv2.mean(gray_x)[0] + cv2.mean(gray_y)[0]) / 2)
    x = np.subtract(gray_x, center, dtype=np.float32)
    y = np.subtract(gray_y, center, dtype=np.float32)
    squares = cv2.multiply(x, x)
    cv2.accumulateSquare(y, squares)
    window = (SSIM_WINDOW, SSIM_WINDOW)
    planes = [cv2.GaussianBlur(plane, window, 1.5) for plane in (x, y, squares, cv2.multiply(x, y))]
    total, height, width = 0.0, x.shape[0] - 10, x.shape[1] - 10
    for top in range(5, 5 + height, _STRIP_ROWS):  # strips fit into the processor's cache
        strip = slice(top, min(top + _STRIP_ROWS, 5 + height)), slice(5, -5)
        mean_x, mean_y, mean_squares, mean_product = (plane[strip] for plane in planes)
        index = _ssim_index(mean_x, mean_y, mean_squares, mean_product, center)
        total += float(index.sum(dtype=np.float64))
    return min(1.0, total / (height * width))


def _ssim_index(
    x: np.ndarray, y: np.ndarray, squares: np.ndarray, product: np.ndarray, center: np.float32
) -> np.ndarray:
    """Return the index from windowed means of x, y, x² + y² and x·y, where `center` is subtracted from x and y."""
    c1, c2 = np.float32((0.01 * 255) ** 2), np.float32((0.03 * 255) ** 2)
    mean_product = x * y
    mean_squares = x * x + y * y
    shift = center * (x + y) + center * center  # turns the products of the centered means into those of the means
    structure = (2 * (product - mean_product) + c2) / (squares - mean_squares + c2)
    return structure * (2 * (mean_product + shift) + c1) / (mean_squares + 2 * shift + c1)


def _check_pair(image: np.ndarray, reference: np.ndarray) -> None:
    if image.shape != reference.shape or image.dtype != np.uint8 or reference.dtype != np.uint8:
        raise ValueError(f"two uint8 images of one shape are needed, not {image.shape} and {reference.shape}")
