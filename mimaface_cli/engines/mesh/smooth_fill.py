"""Smooth filling of holes: a plane plus a membrane (Laplace's equation) that meets the image at the rim of the hole."""

import cv2
import numpy as np

from mimaface_cli.face.kernels import kernel

# Longest side (pixels) at which the membrane is solved. It is smooth: more pixels change nothing that shows.
_MEMBRANE_SIDE = 192
# Longest side (pixels) of the samples of an image that its means are taken from.
_SAMPLED_SIDE = 768
# Share of a coarse pixel that has to be known, so that its mean is taken as a known value.
_KNOWN_SHARE = 0.2
# Largest mean distance (gray levels) of the known pixels from a plane that the whole background is taken for.
_PLANE_RESIDUAL = 8.0


@kernel
def _relax(values: np.ndarray, hole: np.ndarray, sweeps: int, factor: float) -> None:
    """Solve Laplace's equation in the hole by successive over-relaxation; the image's border is free."""
    height, width, channels = values.shape
    for sweep in range(sweeps):
        for step in range(height):
            row = step if sweep % 2 == 0 else height - 1 - step
            for column in range(width):
                if not hole[row, column]:
                    continue
                for channel in range(channels):
                    total = np.float32(0.0)
                    count = 0
                    if row > 0:
                        total += values[row - 1, column, channel]
                        count += 1
                    if row < height - 1:
                        total += values[row + 1, column, channel]
                        count += 1
                    if column > 0:
                        total += values[row, column - 1, channel]
                        count += 1
                    if column < width - 1:
                        total += values[row, column + 1, channel]
                        count += 1
                    if count:
                        old = values[row, column, channel]
                        values[row, column, channel] = old + factor * (total / count - old)


def masked_resize(image: np.ndarray, known: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Shrink an image by the mean of its known pixels.

    Args:
        image: (H, W, C) float32.
        known: (H, W) float32, 1 where the image counts.
        size: (width, height) of the result, not larger than the image.

    Returns:
        The means, (h, w, C) float32 (0 where nothing is known), and the share of known pixels, (h, w) float32.
    """
    share = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
    sums = cv2.resize(image * known[..., None], size, interpolation=cv2.INTER_AREA).reshape(*share.shape, -1)
    return sums / np.maximum(share, 1e-6)[..., None], share


def fit_plane(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Fit a plane to every channel of an image, robustly.

    Args:
        values: (H, W, C) float32.
        weights: (H, W) float32, at least 0; where they are 0, the image does not count.

    Returns:
        The planes' values, (H, W, C) float32.
    """
    height, width, channels = values.shape
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    basis = np.stack([np.ones((height, width)), rows / height - 0.5, columns / width - 0.5], -1).reshape(-1, 3)
    pixels, base = values.reshape(-1, channels).astype(np.float64), weights.reshape(-1).astype(np.float64)
    factors, solution = base, np.zeros((3, channels))
    for _ in range(6):
        normal = basis.T @ (basis * factors[:, None]) + np.diag([1e-9, 1e-3, 1e-3]) * max(base.sum(), 1e-9)
        solution = np.linalg.solve(normal, basis.T @ (pixels * factors[:, None]))
        residual = np.abs(pixels - basis @ solution).mean(1)
        factors = base / (1.0 + (residual / 8.0) ** 2)
    return (basis @ solution).reshape(height, width, channels).astype(np.float32)


def solve_membrane(values: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Fill the hole by the surface that meets its rim and is as flat as possible, coarse to fine.

    Args:
        values: (H, W, C) float32; what it holds in the hole does not count.
        hole: (H, W) bool, not all True.

    Returns:
        (H, W, C) float32.
    """
    height, width = hole.shape
    if min(height, width) <= 8:
        filled = np.where(hole[..., None], values[~hole].mean(0), values).astype(np.float32)
    else:
        size = ((width + 1) // 2, (height + 1) // 2)
        coarse, share = masked_resize(values, (~hole).astype(np.float32), size)
        coarse_hole = share < _KNOWN_SHARE
        if coarse_hole.all():
            coarse_hole = share < share.max()
        coarse = solve_membrane(coarse, coarse_hole)
        upsampled = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        filled = np.where(hole[..., None], upsampled.reshape(values.shape), values).astype(np.float32)
    _relax(filled, hole, 12, 1.5)
    return filled


def _fit_surface(image: np.ndarray, hole: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the image's means at low resolution, the share of known pixels, and the plane near the hole."""
    height, width = hole.shape
    scale = min(1.0, _MEMBRANE_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    step = max(1, max(height, width) // _SAMPLED_SIDE)
    samples, known = image[step // 2 :: step, step // 2 :: step], ~hole[step // 2 :: step, step // 2 :: step]
    coarse, share = masked_resize(samples, known.astype(np.float32), size)
    near = cv2.GaussianBlur((share < 1.0).astype(np.float32), (0, 0), max(size) * 0.06)
    return coarse, share, fit_plane(coarse, share * (near + 1e-3))


def find_gradient(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Return the plane that the image is made of near the hole, 0 everywhere if it is not a plane.

    Args:
        image: (H, W, C) float32.
        hole: (H, W) bool, not all True.

    Returns:
        (H, W, C) float32.
    """
    height, width = hole.shape
    coarse, share, plane = _fit_surface(image, hole)
    weights = share > _KNOWN_SHARE
    if not weights.any() or np.abs(coarse - plane)[weights].mean() > _PLANE_RESIDUAL:
        return np.zeros_like(image)
    return cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR).reshape(image.shape)


def fill_smoothly(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Fill a hole by a plane plus a membrane.

    Linear gradients continue exactly; noise of the known pixels is averaged.

    Args:
        image: (H, W, C) float32.
        hole: (H, W) bool, not all True.

    Returns:
        The smooth surface, (H, W, C) float32. It is meant for the hole; outside it is a smoothed image.
    """
    height, width = hole.shape
    coarse, share, plane = _fit_surface(image, hole)
    coarse_hole = share < _KNOWN_SHARE
    if coarse_hole.all():
        coarse_hole = share < share.max()
    surface = plane + solve_membrane(coarse - plane, coarse_hole)
    return cv2.resize(surface, (width, height), interpolation=cv2.INTER_LINEAR).reshape(image.shape)
