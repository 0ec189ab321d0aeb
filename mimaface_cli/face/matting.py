"""Alpha matting: soft opacity, clean foreground colors and background colors around a person's outline.

Closed-form matting, solved without assembling its Laplacian: products with the Laplacian are box filters. The colors of
person and background come from two passes of blur fusion.

Source: Levin, Lischinski, Weiss, "A Closed-Form Solution to Natural Image Matting", PAMI 2008; He, Sun, Tang, "Fast
Matting Using Large Kernel Matting Laplacian Matrices", CVPR 2010; He and Sun, "Fast Guided Filter", 2015; Forte,
"Approximate Fast Foreground Colour Estimation", ICIP 2021.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from mimaface_cli.face.head_mask import draw_face_hull, face_axes

_WORK_SIDE = 768  # longest side of the person's box, in pixels, at which alpha is solved
_EPSILON = 1e-5  # regularization of the color line model, in squared colors of 0..1
_WINDOW = 2  # radius of the windows of the Laplacian in pixels
_KNOWN_WEIGHT = 100.0  # weight of known pixels against the Laplacian
_PRIOR_WEIGHT = 0.02  # weight of the confidence at unknown pixels
_ITERATIONS = 40
_TOLERANCE = 1e-3
_CERTAIN = 0.9
# Half widths of the unknown band, in heights of the face.
_HAIR_OUT, _HAIR_IN = 0.13, 0.07
_BODY_OUT, _BODY_IN = 0.04, 0.035
_FACE_SHARE = 0.45  # height of a face as a share of the square root of a person's area, where no face is given
_FRAME_SIDE = 320  # longest side at which video frames are filtered

_Product = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class PersonMatte:
    """Opacity and colors of a person in an image.

    Attributes:
        alpha: (H, W) float32 opacity in 0..1.
        foreground: (H, W, 3) uint8 RGB colors of the person without the background; the image where alpha is 1.
        background: (H, W, 3) uint8 RGB colors behind the person's soft outline; the image where alpha is 0. Inside the
            person they are extrapolated and only rough.
    """

    alpha: np.ndarray
    foreground: np.ndarray
    background: np.ndarray


def matte_person(image: np.ndarray, confidence: np.ndarray, points: np.ndarray | None = None) -> PersonMatte:
    """Estimate the opacity and the colors of a person in a photo.

    Args:
        image: (H, W, 3) uint8 RGB.
        confidence: (H, W) float32 in 0..1 that a pixel belongs to the person.
        points: (478, 2) landmarks of the person's face in pixels, or None. With them, the face is opaque and the soft
            band is wide at the hair and narrow at the shoulders.
    """
    box = _person_box(confidence, points)
    if box is None:
        empty = np.zeros(confidence.shape, np.float32)
        return PersonMatte(empty, image.copy(), image.copy())
    crop, crop_confidence = np.ascontiguousarray(image[box]), np.ascontiguousarray(confidence[box])
    height, width = crop_confidence.shape
    scale = min(1.0, _WORK_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    small_confidence = cv2.resize(crop_confidence, size, interpolation=cv2.INTER_AREA)
    small_points = None if points is None else (points - [box[1].start, box[0].start]) * scale
    trimap = build_trimap(small_confidence, small_points)
    small_alpha = solve_alpha(small, trimap, small_confidence)
    crop_alpha = _upsample_alpha(small_alpha, small, crop, trimap)
    alpha = np.zeros(confidence.shape, np.float32)
    alpha[box] = crop_alpha
    foreground, background = image.copy(), image.copy()
    unit = _face_height(small_confidence, small_points)
    colors = estimate_colors(small, small_alpha, unit)
    foreground[box], background[box] = _refine_colors(crop, crop_alpha, *colors)
    return PersonMatte(alpha, foreground, background)


def matte_frame(image: np.ndarray, confidence: np.ndarray, points: np.ndarray | None = None) -> PersonMatte:
    """Estimate the opacity and the colors of a person in a video frame, fast.

    A guided filter takes the place of the closed-form solution.

    Args:
        image: (H, W, 3) uint8 RGB.
        confidence: (H, W) float32 in 0..1 that a pixel belongs to the person.
        points: As for `matte_person`.
    """
    height, width = confidence.shape
    scale = min(1.0, _FRAME_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    small_confidence = cv2.resize(confidence, size, interpolation=cv2.INTER_AREA)
    unit = _face_height(small_confidence, None if points is None else points * scale)
    radius = max(2, round(0.06 * unit))
    model = _LineModel(small.astype(np.float32) / 255, radius, 1e-3)
    coefficients = model.fit(small_confidence)
    alpha = _apply_lines(cv2.blur(coefficients, (2 * radius + 1, 2 * radius + 1)), image)
    # Far from the outline the confidence is right, and the filter only adds noise.
    alpha = _sharpen(alpha)
    near = cv2.blur(((small_confidence > 0.02) & (small_confidence < 0.98)).astype(np.float32), (2 * radius + 1,) * 2)
    near = cv2.resize((near > 0).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    alpha = np.where(near > 0, alpha, confidence).astype(np.float32)
    small_alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    colors = estimate_colors(small, small_alpha, unit)
    return PersonMatte(alpha, *_refine_colors(image, alpha, *colors, is_fast=True))


def build_trimap(confidence: np.ndarray, points: np.ndarray | None = None) -> np.ndarray:
    """Divide an image into person, background and unknown pixels.

    Args:
        confidence: (H, W) float32 in 0..1.
        points: (478, 2) landmarks of the face in pixels, or None.

    Returns:
        (H, W) float32: 1 for the person, 0 for the background, 0.5 for unknown pixels.
    """
    region = (confidence > 0.5).astype(np.uint8)
    unit = _face_height(confidence, points)
    if not region.any() or region.all():  # no outline
        trimap = np.where((confidence > 1 - _CERTAIN) & (confidence < _CERTAIN), 0.5, region)
        return trimap.astype(np.float32)
    inside = cv2.distanceTransform(region, cv2.DIST_L2, 3)
    outside = cv2.distanceTransform(1 - region, cv2.DIST_L2, 3)
    hair = _hair_weight(confidence.shape, points)
    outer = np.maximum((_BODY_OUT + (_HAIR_OUT - _BODY_OUT) * hair) * unit, 2.0)
    inner = np.maximum((_BODY_IN + (_HAIR_IN - _BODY_IN) * hair) * unit, 2.0)
    # Uncertain pixels are unknown, but not far from the outline: there they are rather a faint mistake.
    is_uncertain = (confidence > 1 - _CERTAIN) & (confidence < _CERTAIN)
    unknown = (outside > 0) & (outside < outer) | (inside > 0) & (inside < inner)
    unknown |= is_uncertain & (outside < 2 * outer + 0.05 * unit)
    trimap = np.where(unknown, 0.5, region).astype(np.float32)
    if points is not None:
        face = draw_face_hull(points, confidence.shape).astype(np.uint8)
        size = 2 * max(1, round(0.02 * unit)) + 1
        trimap[cv2.erode(face, np.ones((size, size), np.uint8)) > 0] = 1
    return trimap


def _hair_weight(shape: tuple[int, int], points: np.ndarray | None) -> np.ndarray:
    """Return (H, W) weights: 1 above the chin, 0 from half a face below it; 0.5 everywhere without a face."""
    if points is None:
        return np.full(shape, 0.5, np.float32)
    center, up, height = face_axes(points)
    rows, columns = np.arange(shape[0]) + 0.5 - center[1], np.arange(shape[1]) + 0.5 - center[0]
    above = (rows[:, None] * up[1] + columns[None] * up[0]) / height  # -0.5 at the chin
    return np.clip((above + 1.0) / 0.5, 0, 1).astype(np.float32)


def _face_height(confidence: np.ndarray, points: np.ndarray | None) -> float:
    if points is not None:
        return face_axes(points)[2]
    return max(_FACE_SHARE * float(np.sqrt((confidence > 0.5).sum())), 4.0)


def _person_box(confidence: np.ndarray, points: np.ndarray | None) -> tuple[slice, slice] | None:
    """Return rows and columns of the person with a margin, or None without a person."""
    visible = confidence > 0.05
    rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
    if len(rows) == 0:
        return None
    margin = round(0.3 * _face_height(confidence, points)) + 4
    limits = [
        slice(max(0, int(hits[0]) - margin), min(length, int(hits[-1]) + 1 + margin))
        for hits, length in zip((rows, columns), confidence.shape, strict=True)
    ]
    return limits[0], limits[1]


class _LineModel:
    """Windows of an image, in each of which a value is fitted as a linear function of the color.

    Args:
        image: (H, W, 3) float32 in 0..1.
        radius: Radius of the windows in pixels.
        epsilon: Regularization in squared colors.
    """

    def __init__(self, image: np.ndarray, radius: int, epsilon: float) -> None:
        self._image, self._size = image, (2 * radius + 1, 2 * radius + 1)
        self.count = self._sum(np.ones(image.shape[:2], np.float32))
        self._mean = self._sum(image) / self.count[..., None]
        pairs = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
        products = np.stack([image[..., i] * image[..., j] for i, j in pairs], -1)
        squares = np.dstack([self._sum(np.ascontiguousarray(products[..., :3])), self._sum(products[..., 3:].copy())])
        a, b, c, d, e, f = (
            squares[..., k] / self.count - self._mean[..., i] * self._mean[..., j] for k, (i, j) in enumerate(pairs)
        )
        a, d, f = a + epsilon, d + epsilon, f + epsilon
        cofactors = d * f - e * e, c * e - b * f, b * e - c * d, a * f - c * c, b * c - a * e, a * d - b * b
        determinant = a * cofactors[0] + b * cofactors[1] + c * cofactors[2]
        self._inverse = [part / determinant for part in cofactors]

    def _sum(self, values: np.ndarray) -> np.ndarray:
        """Sum over the windows, cut at the border."""
        return cv2.boxFilter(values, -1, self._size, normalize=False, borderType=cv2.BORDER_CONSTANT)

    def fit(self, values: np.ndarray) -> np.ndarray:
        """Fit values (H, W) in every window; return slopes and offset (H, W, 4)."""
        sums = self._sum(cv2.merge([self._image * values[..., None], values])) / self.count[..., None]
        mean = sums[..., 3]
        x, y, z = (sums[..., k] - self._mean[..., k] * mean for k in range(3))
        xx, xy, xz, yy, yz, zz = self._inverse
        slopes = [xx * x + xy * y + xz * z, xy * x + yy * y + yz * z, xz * x + yz * y + zz * z]
        offset = mean - sum(slope * self._mean[..., k] for k, slope in enumerate(slopes))
        return cv2.merge([*slopes, offset])

    def apply_laplacian(self, values: np.ndarray) -> np.ndarray:
        """Return the product of the matting Laplacian with values (H, W)."""
        sums = self._sum(self.fit(values))
        fitted = (sums[..., :3] * self._image).sum(-1) + sums[..., 3]
        return self.count * values - fitted


def solve_alpha(image: np.ndarray, trimap: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Solve closed-form matting.

    Args:
        image: (H, W, 3) uint8 RGB.
        trimap: (H, W) float32: 1, 0, or 0.5 for unknown.
        confidence: (H, W) float32 in 0..1, a weak prior of alpha at unknown pixels and the start of the solution.

    Returns:
        (H, W) float32 alpha in 0..1.
    """
    unknown = trimap == 0.5
    if not unknown.any():
        return trimap.copy()
    model = _LineModel(image.astype(np.float32) / 255, _WINDOW, _EPSILON)
    start = np.where(unknown, confidence, trimap).astype(np.float32)
    weight = np.where(unknown, np.float32(_PRIOR_WEIGHT), np.float32(_KNOWN_WEIGHT)) * model.count
    solution = _solve_conjugate_gradients(
        lambda values: model.apply_laplacian(values) + weight * values, weight * start, start, weight + model.count
    )
    return np.where(unknown, np.clip(solution, 0, 1), trimap).astype(np.float32)


def _solve_conjugate_gradients(
    product: _Product, target: np.ndarray, start: np.ndarray, diagonal: np.ndarray
) -> np.ndarray:
    """Solve a symmetric system with a diagonal preconditioner."""
    solution = start.copy()
    residual = target - product(solution)
    scaled = residual / diagonal
    direction = scaled.copy()
    power = first = float(np.vdot(residual, scaled))
    for _ in range(_ITERATIONS):
        if power <= _TOLERANCE**2 * first or power <= 0:
            break
        image = product(direction)
        step = np.float32(power / float(np.vdot(direction, image)))
        solution += step * direction
        residual -= step * image
        scaled = residual / diagonal
        next_power = float(np.vdot(residual, scaled))
        direction = scaled + np.float32(next_power / power) * direction
        power = next_power
    return solution


def _upsample_alpha(alpha: np.ndarray, small: np.ndarray, image: np.ndarray, trimap: np.ndarray) -> np.ndarray:
    """Carry alpha to the full resolution by the local lines from color to alpha (fast guided filter)."""
    height, width = image.shape[:2]
    if alpha.shape == (height, width):
        return alpha
    coefficients = _LineModel(small.astype(np.float32) / 255, 2, 1e-5).fit(alpha)
    full = np.clip(_apply_lines(cv2.blur(coefficients, (3, 3)), image), 0, 1)
    size = (width, height)
    linear = cv2.resize(alpha, size, interpolation=cv2.INTER_LINEAR)
    is_soft = cv2.dilate(((alpha > 0.005) & (alpha < 0.995)).astype(np.uint8), np.ones((3, 3), np.uint8))
    soft = cv2.resize(is_soft.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return linear + soft * (full - linear)


def _apply_lines(coefficients: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Evaluate slopes and offsets (h, w, 4) at the pixels of a larger image (H, W, 3) uint8."""
    size = (image.shape[1], image.shape[0])
    lines = cv2.resize(coefficients, size, interpolation=cv2.INTER_LINEAR)
    return (lines[..., :3] * image).sum(-1, dtype=np.float32) / np.float32(255) + lines[..., 3]


def _sharpen(alpha: np.ndarray) -> np.ndarray:
    """Stretch alpha, so that the filter's blur does not make the whole outline transparent."""
    return np.clip((alpha - 0.1) / 0.8, 0, 1)


def estimate_colors(image: np.ndarray, alpha: np.ndarray, unit: float) -> tuple[np.ndarray, np.ndarray]:
    """Estimate smooth colors of person and background everywhere.

    Args:
        image: (H, W, 3) uint8 RGB.
        alpha: (H, W) float32 in 0..1.
        unit: Height of the face in pixels.

    Returns:
        Foreground and background, (H, W, 3) float32 in 0..255.
    """
    colors = image.astype(np.float32)
    sizes = [2 * max(1, round(share * unit)) + 1 for share in (0.4, 0.12)]
    foreground = background = colors
    for size in sizes:
        foreground, background = _fuse(colors, alpha, foreground, background, size)
    return foreground, background


def _fuse(
    image: np.ndarray, alpha: np.ndarray, foreground: np.ndarray, background: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Blur both layers with their opacities and add the rest that explains the image (blur fusion)."""
    front = _weighted_blur(foreground, alpha, size)
    back = _weighted_blur(background, 1 - alpha, size)
    opacity = alpha[..., None]
    rest = image - opacity * front - (1 - opacity) * back
    return np.clip(front + opacity * rest, 0, 255), np.clip(back + (1 - opacity) * rest, 0, 255)


def _weighted_blur(colors: np.ndarray, weight: np.ndarray, size: int) -> np.ndarray:
    weight = weight + np.float32(1e-4)
    sums = cv2.blur(cv2.merge([colors * weight[..., None], weight]), (size, size))
    return sums[..., :3] / sums[..., 3:]


def _refine_colors(
    image: np.ndarray, alpha: np.ndarray, foreground: np.ndarray, background: np.ndarray, *, is_fast: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Carry colors to the full resolution; return foreground and background, (H, W, 3) uint8."""
    size = (image.shape[1], image.shape[0])
    colors = image.astype(np.float32)
    front = cv2.resize(foreground, size, interpolation=cv2.INTER_LINEAR)
    back = cv2.resize(background, size, interpolation=cv2.INTER_LINEAR)
    opacity = alpha[..., None]
    rest = colors - opacity * front - (1 - opacity) * back
    front = np.clip(front + opacity * rest, 0, 255)
    back = np.clip(back + (1 - opacity) * rest, 0, 255)
    return np.round(front).astype(np.uint8), np.round(back).astype(np.uint8)
