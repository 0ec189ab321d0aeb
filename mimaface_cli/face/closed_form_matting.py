"""Closed-form matting: alpha from colors and a trimap, solved without assembling the matting Laplacian.

Products with the Laplacian are box filters. The solution goes from coarse to fine.

Source: Levin, Lischinski, Weiss, "A Closed-Form Solution to Natural Image Matting", PAMI 2008.
"""

from collections.abc import Callable

import cv2
import numpy as np

from mimaface_cli.face.color_lines import ColorLines
from mimaface_cli.motion.easing import smoothstep

_EPSILON = 1e-5  # regularization of the color line model, in squared colors of 0..1
_WINDOW = 2  # radius of the windows of the Laplacian in pixels
_PRIOR_WEIGHTS = 0.001, 0.02  # weights of the confidence at unknown pixels where it is doubtful and where it is clear
_COARSE_SIDE = 128  # images of less than twice this side are not halved
_COARSE_ITERATIONS, _FINE_ITERATIONS = 40, 10
_TOLERANCE = 1e-3  # of the residual, relative to the first one, at which the solver stops

_Product = Callable[[np.ndarray], np.ndarray]


def solve_alpha(image: np.ndarray, trimap: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Solve closed-form matting, from coarse to fine.

    Args:
        image: (H, W, 3) uint8 RGB.
        trimap: (H, W) float32: 1, 0, or 0.5 for unknown.
        confidence: (H, W) float32 in 0..1, a weak prior of alpha at unknown pixels.

    Returns:
        (H, W) float32 alpha in 0..1.
    """
    height, width = trimap.shape
    start = prior = _sharpen_confidence(confidence)
    if max(height, width) >= 2 * _COARSE_SIDE:
        size = (width + 1) // 2, (height + 1) // 2
        half_image, half_confidence = (
            cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in (image, confidence)
        )
        half_trimap = cv2.resize(trimap, size, interpolation=cv2.INTER_AREA)
        half_trimap[(half_trimap > 0) & (half_trimap < 1)] = 0.5
        coarse = solve_alpha(half_image, half_trimap, half_confidence)
        start = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        iterations = _FINE_ITERATIONS
    else:
        iterations = _COARSE_ITERATIONS
    unknown = trimap == 0.5
    if not unknown.any():
        return trimap.copy()
    model = ColorLines(image, _WINDOW, _EPSILON)
    mask = unknown.astype(np.float32)
    known = np.where(unknown, np.float32(0), trimap)
    # Where the network is clear, texture of the background must not draw alpha; elsewhere the colors decide.
    low, high = _PRIOR_WEIGHTS
    weight = (low + (high - low) * (2 * confidence - 1) ** 4) * model.count
    target = mask * (weight * prior - model.apply_laplacian(known))
    solution = _solve_conjugate_gradients(
        lambda values: mask * (model.apply_laplacian(values) + weight * values),
        target,
        mask * start,
        weight + model.count,
        iterations,
    )
    return np.where(unknown, np.clip(solution, 0, 1), trimap).astype(np.float32)


def _sharpen_confidence(confidence: np.ndarray) -> np.ndarray:
    """Push confidences to 0 and 1: a doubtful pixel is rarely half transparent."""
    return smoothstep((confidence - 0.2) / 0.6)


def _solve_conjugate_gradients(
    product: _Product, target: np.ndarray, start: np.ndarray, diagonal: np.ndarray, iterations: int
) -> np.ndarray:
    """Solve a symmetric system with a diagonal preconditioner."""
    solution = start.copy()
    residual = target - product(solution)
    scaled = residual / diagonal
    direction = scaled.copy()
    power = first = float(np.vdot(residual, scaled))
    for _ in range(iterations):
        if power <= _TOLERANCE**2 * first:
            break
        image = product(direction)
        curvature = float(np.vdot(direction, image))
        if curvature <= 0:  # rounding errors are larger than what is left to solve
            break
        step = np.float32(power / curvature)
        solution += step * direction
        residual -= step * image
        scaled = residual / diagonal
        next_power = float(np.vdot(residual, scaled))
        direction = scaled + np.float32(next_power / power) * direction
        power = next_power
    return solution
