"""How alike two pictures are: PSNR and SSIM; how sharp a face is."""

import numpy as np

_STRIP = 32  # rows
PSNR_CEILING = 100.0  # what identical pictures are given, so that a mean over frames stays finite


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of two H×W×C uint8 pictures, at most PSNR_CEILING."""
    _check_pair(image, truth)
    import cv2

    error = cv2.norm(image, truth, cv2.NORM_L2SQR) / image.size
    return PSNR_CEILING if error == 0 else min(PSNR_CEILING, float(10 * np.log10(255.0**2 / error)))


def ssim(image: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity (Wang et al. 2004) of two H×W×3 uint8 RGB pictures, in -1..1, on their luma.

    Gaussian window of deviation 1.5 over 11×11, population statistics, constants 0.01 and 0.03, the borders left out:
    scikit-image's `structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)` in float32.
    Raises ValueError for pictures below 11×11.
    """
    _check_pair(image, truth)
    if min(image.shape[:2]) < 11:
        raise ValueError("SSIM needs pictures of at least 11x11 pixels")
    import cv2

    x, y = (cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY) for picture in (image, truth))
    # Differences from the common mean: squares stay small and float32 keeps their differences.
    middle = np.float32((cv2.mean(x)[0] + cv2.mean(y)[0]) / 2)
    x, y = np.subtract(x, middle, dtype=np.float32), np.subtract(y, middle, dtype=np.float32)
    squares = cv2.multiply(x, x)
    cv2.accumulateSquare(y, squares)
    planes = [cv2.GaussianBlur(plane, (11, 11), 1.5) for plane in (x, y, squares, cv2.multiply(x, y))]
    total, height, width = 0.0, x.shape[0] - 10, x.shape[1] - 10
    for top in range(5, 5 + height, _STRIP):  # strips stay in the processor's cache
        strip = slice(top, min(top + _STRIP, 5 + height)), slice(5, -5)
        total += float(_ssim_index(*(plane[strip] for plane in planes), middle).sum(dtype=np.float64))
    return min(1.0, total / (height * width))


def _ssim_index(
    x: np.ndarray, y: np.ndarray, squares: np.ndarray, product: np.ndarray, middle: np.float32
) -> np.ndarray:
    """From windowed means of x, y, x² + y² and x·y, where x and y count from `middle`."""
    c1, c2 = np.float32((0.01 * 255) ** 2), np.float32((0.03 * 255) ** 2)
    both, mean_squares = x * y, x * x + y * y
    shift = middle * (x + y) + middle * middle  # the means' own terms count from 0
    structure = (2 * (product - both) + c2) / (squares - mean_squares + c2)
    return structure * (2 * (both + shift) + c1) / (mean_squares + 2 * shift + c1)


def sharpness(image: np.ndarray, box: np.ndarray, side: int = 256) -> float:
    """Variance of the Laplacian over a face (box: left, top, right, bottom in pixels of an H×W×3 uint8 picture),
    brought to one size.
    """
    import cv2

    left, top, right, bottom = box
    x, y = side / (right - left), side / (bottom - top)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if x < 1:
        gray = cv2.GaussianBlur(gray, (0, 0), 0.4 / x)
    crop = cv2.warpAffine(gray, np.array([[x, 0, -left * x], [0, y, -top * y]]), (side, side))
    return float(cv2.Laplacian(crop, cv2.CV_64F).var())


def _check_pair(image: np.ndarray, truth: np.ndarray) -> None:
    if image.shape != truth.shape or image.dtype != np.uint8 or truth.dtype != np.uint8:
        raise ValueError(f"two uint8 pictures of one shape are needed, not {image.shape} and {truth.shape}")
