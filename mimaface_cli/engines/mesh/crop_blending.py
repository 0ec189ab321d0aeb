"""Blending of a network's output for a crop into a part of a frame."""

import cv2
import numpy as np

from mimaface_cli.engines.mesh.face_part import FacePart, crop_corners, matrix_scale, shift_matrix
from mimaface_cli.engines.mesh.image_patch import LUMA
from mimaface_cli.motion.easing import smoothstep

_BLUR_ABOVE = 1.33  # pixels of the crop per pixel of the frame above which sampling alone would skip some
# Mean change, in gray levels, over which the fine structure of the painted part disappears.
_REPLACED_FROM, _REPLACED_UNTIL = 5.0, 20.0
_RIM_SIGMA, _CHANGE_SIGMA = 1.5, 4.0  # pixels of the crop
_MARGIN = 4  # pixels around the crop, for interpolation


def crop_box(part: FacePart, matrix: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, slice] | None:
    """Return the rows and columns of an image that the crop of a part shows, with a margin; None outside the image."""
    corners = crop_corners(part, matrix)
    margin = _MARGIN + 2 / matrix_scale(matrix)
    limit = np.array(shape[1::-1])
    left, top = np.clip(np.floor(corners.min(0) - margin).astype(int), 0, limit).tolist()
    right, bottom = np.clip(np.ceil(corners.max(0) + margin).astype(int), 0, limit).tolist()
    return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None


def view_region(canvas: np.ndarray, alpha: np.ndarray, under: np.ndarray, box: tuple[slice, slice]) -> np.ndarray:
    """Return a part of a frame as it will be visible, (h, w, 3) float32.

    Args:
        canvas: (H, W, 3) float32 frame in progress.
        alpha: (H, W, 1) float32 alpha of the canvas, 0 to 1.
        under: (H, W, 3) uint8, what is behind the canvas.
        box: Rows and columns of the part.
    """
    region = canvas[box]
    if alpha[box].min() == 1:
        return region
    behind = under[box].astype(np.float32)
    return behind + alpha[box] * (region - behind)


def measure_replacement(residual: np.ndarray, opening: np.ndarray, rim: np.ndarray) -> np.ndarray:
    """Return how far a network replaces the painted part instead of correcting it, (height, width) float32, 0 to 1.

    Replaced pixels must not keep edges that are finer than the crop. Pixels that hardly change must keep them.

    Args:
        residual: (height, width, 3) float32, output of the network.
        opening: (height, width) float32, 1 where it may replace.
        rim: (k, k) uint8 ones: the pixels around the opening where it may replace too.
    """
    inside = cv2.GaussianBlur(cv2.dilate(opening, rim), (0, 0), _RIM_SIGMA)
    change = cv2.GaussianBlur(np.abs(residual @ LUMA), (0, 0), _CHANGE_SIGMA)
    return inside * smoothstep((change - _REPLACED_FROM) / (_REPLACED_UNTIL - _REPLACED_FROM))


def blend_crop(region: np.ndarray, colors: np.ndarray, alpha: np.ndarray | None, matrix: np.ndarray) -> None:
    """Blend a crop over a part of an image, in place; the result is limited to 0 to 255.

    Args:
        region: (H, W, 3) float32.
        colors: (height, width, 3) float32, multiplied by alpha, and which are added to the region; 0 at its border.
        alpha: (height, width) float32, 0 to 1; None for 0.
        matrix: (2, 3) from the region to the crop.
    """
    if alpha is not None:
        region *= cv2.merge([1 - _warp_to_region(alpha, region, matrix)] * 3)
    region += _warp_to_region(colors, region, matrix)
    np.clip(region, 0, 255, out=region)


def _warp_to_region(layer: np.ndarray, region: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Warp a layer (height, width, C) of the crop to a part of an image; 0 beyond the crop."""
    scale = matrix_scale(matrix)
    if scale > _BLUR_ABOVE:
        layer = cv2.GaussianBlur(layer, (0, 0), 0.4 * scale)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(layer, shift_matrix(matrix, np.zeros(2)), region.shape[1::-1], flags=flags)
