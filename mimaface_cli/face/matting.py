"""Alpha matting: soft opacity, clean foreground colors and background colors around a person's outline.

Alpha comes from closed-form matting (photos) or from a guided filter (video frames). The colors of person and
background come from two passes of blur fusion.

Source: Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mimaface_cli.face.closed_form_matting import solve_alpha
from mimaface_cli.face.color_lines import ColorLines, apply_lines
from mimaface_cli.face.face_outline import draw_face_hull, face_axes
from mimaface_cli.face.mask_box import Box, find_mask_box

_WORK_SIDE = 768  # longest side of the person's box, in pixels, at which alpha is solved
_CERTAIN = 0.9  # confidence from which a pixel is certainly the person
# Half widths of the unknown band, in heights of the face.
_HAIR_OUT, _HAIR_IN = 0.13, 0.11
_BODY_OUT, _BODY_IN = 0.04, 0.035
_HOLE = 0.35  # holes of the mask with less than the square of this area are filled, in heights of the face
_FACE_SHARE = 0.45  # height of a face as a share of the square root of a person's area, where no face is given
_COLOR_BLURS = 0.4, 0.12  # half widths of the blurs that spread colors, in heights of the face
_COLOR_BAND = 0.04  # width of the band of estimated colors around soft pixels, in heights of the face
_FRAME_SIDE = 256  # longest side at which video frames are filtered


@dataclass(frozen=True)
class PersonMatte:
    """Opacity and colors of a person in an image.

    Attributes:
        alpha: (H, W) float32 opacity in 0..1.
        foreground: (H, W, 3) uint8 RGB colors of the person without the background, at and next to soft pixels;
            elsewhere the image.
        background: (H, W, 3) uint8 RGB colors of the background without the person, at and next to soft pixels;
            elsewhere the image.
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
    crop = np.ascontiguousarray(image[box])
    small, small_confidence, scale = _reduce(crop, np.ascontiguousarray(confidence[box]), _WORK_SIDE)
    small_points = None if points is None else (points - [box[1].start, box[0].start]) * scale
    trimap = build_trimap(small_confidence, small_points)
    small_alpha = solve_alpha(small, trimap, small_confidence)
    crop_alpha = _upsample_alpha(small_alpha, small, crop)
    alpha = np.zeros(confidence.shape, np.float32)
    alpha[box] = crop_alpha
    foreground, background = image.copy(), image.copy()
    unit = _face_height(small_confidence, small_points)
    layers = estimate_colors(small, small_alpha, [2 * max(1, round(share * unit)) + 1 for share in _COLOR_BLURS])
    band = max(2, round(_COLOR_BAND * unit / scale))
    foreground[box], background[box] = _refine_colors(crop, crop_alpha, layers, band)
    return PersonMatte(alpha, foreground, background)


def matte_frame(image: np.ndarray, confidence: np.ndarray, points: np.ndarray | None = None) -> PersonMatte:
    """Estimate the opacity and the colors of a person in a video frame, fast.

    A guided filter takes the place of the closed-form solution.

    Args:
        image: (H, W, 3) uint8 RGB.
        confidence: (H, W) float32 in 0..1 that a pixel belongs to the person.
        points: As for `matte_person`.
    """
    box = _person_box(confidence, points)
    if box is None:
        return PersonMatte(np.zeros(confidence.shape, np.float32), image.copy(), image.copy())
    crop, crop_confidence = np.ascontiguousarray(image[box]), np.ascontiguousarray(confidence[box])
    small, small_confidence, scale = _reduce(crop, crop_confidence, _FRAME_SIDE)
    height, width = crop_confidence.shape
    unit = _face_height(small_confidence, None if points is None else points * scale)
    radius = max(2, round(0.06 * unit))
    window = (2 * radius + 1, 2 * radius + 1)
    coefficients = ColorLines(small, radius, 1e-3).fit(small_confidence)
    filtered = _sharpen(apply_lines([cv2.blur(part, window) for part in coefficients], crop))
    # Far from the outline the confidence is clear, and the filter only adds noise.
    near = cv2.blur(((small_confidence > 0.02) & (small_confidence < 0.98)).astype(np.float32), window)
    near = cv2.resize((near > 0).astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
    crop_alpha = np.where(near > 0, filtered, np.rint(crop_confidence))
    layers = estimate_colors(
        small,
        cv2.resize(crop_alpha, small.shape[1::-1], interpolation=cv2.INTER_AREA),
        [2 * max(1, round(_COLOR_BLURS[1] * unit)) + 1],
    )
    alpha = np.zeros(confidence.shape, np.float32)
    alpha[box] = crop_alpha
    foreground, background = image.copy(), image.copy()
    foreground[box], background[box] = _refine_colors(crop, crop_alpha, layers, 2)
    return PersonMatte(alpha, foreground, background)


def build_trimap(confidence: np.ndarray, points: np.ndarray | None = None) -> np.ndarray:
    """Divide an image into person, background and unknown pixels.

    Args:
        confidence: (H, W) float32 in 0..1.
        points: (478, 2) landmarks of the face in pixels, or None.

    Returns:
        (H, W) float32: 1 for the person, 0 for the background, 0.5 for unknown pixels.
    """
    unit = _face_height(confidence, points)
    region = _fill_holes(confidence > 0.5, (_HOLE * unit) ** 2).astype(np.uint8)
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
    reach = np.where(is_uncertain, np.float32(2), np.float32(1))
    unknown = (outside > 0) & (outside < reach * outer) | (inside > 0) & (inside < reach * inner)
    trimap = np.where(unknown, 0.5, region).astype(np.float32)
    if points is not None:
        face = draw_face_hull(points, confidence.shape).astype(np.uint8)
        size = 2 * max(1, round(0.02 * unit)) + 1
        trimap[cv2.erode(face, np.ones((size, size), np.uint8)) > 0] = 1
    return trimap


def _fill_holes(region: np.ndarray, max_area: float) -> np.ndarray:
    """Fill the small holes of a bool mask: an arm's loop is a real hole, a spot on a shirt is not."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~region).astype(np.uint8), connectivity=4)
    small = np.zeros(count, bool)
    small[1:] = stats[1:, cv2.CC_STAT_AREA] < max_area
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    right, bottom = left + stats[:, cv2.CC_STAT_WIDTH], top + stats[:, cv2.CC_STAT_HEIGHT]
    height, width = region.shape
    small &= (left > 0) & (top > 0) & (right < width) & (bottom < height)
    return region | small[labels]


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


def _reduce(image: np.ndarray, confidence: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Scale an image and its confidence down to a longest side; return them and the scale."""
    height, width = confidence.shape
    scale = min(1.0, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image, confidence = (cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in (image, confidence))
    return image, confidence, scale


def _person_box(confidence: np.ndarray, points: np.ndarray | None) -> Box | None:
    """Return rows and columns of the person with a margin, or None without a person."""
    return find_mask_box(confidence > 0.05, round(0.3 * _face_height(confidence, points)) + 4)


def _upsample_alpha(alpha: np.ndarray, small: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Carry alpha to the full resolution by the local lines from color to alpha (fast guided filter)."""
    height, width = image.shape[:2]
    if alpha.shape == (height, width):
        return alpha
    coefficients = ColorLines(small, 2, 1e-5).fit(alpha)
    full = np.clip(apply_lines([cv2.blur(part, (3, 3)) for part in coefficients], image), 0, 1)
    size = (width, height)
    linear = cv2.resize(alpha, size, interpolation=cv2.INTER_LINEAR)
    is_soft = cv2.dilate(((alpha > 0.005) & (alpha < 0.995)).astype(np.uint8), np.ones((3, 3), np.uint8))
    soft = cv2.resize(is_soft.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return linear + soft * (full - linear)


def _sharpen(alpha: np.ndarray) -> np.ndarray:
    """Stretch alpha, so that the filter's blur does not make the whole outline transparent."""
    return np.clip((alpha - 0.1) / 0.8, 0, 1)


def estimate_colors(image: np.ndarray, alpha: np.ndarray, sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Estimate smooth colors of person and background everywhere.

    Args:
        image: (H, W, 3) uint8 RGB.
        alpha: (H, W) float32 in 0..1.
        sizes: Odd widths of the blurs in pixels, the widest first.

    Returns:
        Foreground and background, (H, W, 3) uint8 RGB.
    """
    colors = image.astype(np.float32)
    front = back = colors
    opacity = cv2.merge([alpha] * 3)
    for size in sizes:
        front, back = _weighted_blur(front, opacity, size), _weighted_blur(back, 1 - opacity, size)
        rest = colors - opacity * (front - back) - back
        front += opacity * rest
        back += (1 - opacity) * rest
    return tuple(np.clip(np.rint(layer), 0, 255).astype(np.uint8) for layer in (front, back))  # type: ignore[return-value]


def _weighted_blur(colors: np.ndarray, weight: np.ndarray, size: int) -> np.ndarray:
    weight = weight + np.float32(1e-4)
    return cv2.blur(colors * weight, (size, size)) / cv2.blur(weight, (size, size))


def _refine_colors(
    image: np.ndarray, alpha: np.ndarray, layers: tuple[np.ndarray, np.ndarray], band: int
) -> tuple[np.ndarray, np.ndarray]:
    """Carry colors to the full resolution, so that they explain the image at soft pixels (blur fusion).

    Args:
        image: (H, W, 3) uint8 RGB.
        alpha: (H, W) float32 in 0..1.
        layers: Colors of foreground and background, (h, w, 3) uint8 each.
        band: Width in pixels of the opaque and the empty border of the soft region that gets estimated colors too, so
            that a renderer may interpolate the colors.

    Returns:
        Foreground and background, (H, W, 3) uint8. Outside the band both are the image.
    """
    size = (image.shape[1], image.shape[0])
    soft = ((alpha > 0) & (alpha < 1)).astype(np.uint8)
    chosen = np.flatnonzero(cv2.dilate(soft, np.ones((2 * band + 1, 2 * band + 1), np.uint8)))
    colors = image.reshape(-1, 3)[chosen].astype(np.float32)
    opacity = alpha.reshape(-1, 1)[chosen]
    front, back = (
        cv2.resize(layer, size, interpolation=cv2.INTER_LINEAR).reshape(-1, 3)[chosen].astype(np.float32)
        for layer in layers
    )
    rest = colors - opacity * (front - back) - back
    results = []
    for layer, share in ((front, opacity), (back, 1 - opacity)):
        result = image.copy()
        result.reshape(-1, 3)[chosen] = np.clip(np.rint(layer + share * rest), 0, 255).astype(np.uint8)
        results.append(result)
    return results[0], results[1]
