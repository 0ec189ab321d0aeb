"""Operations on the small image patches around eyes and mouth: crops, soft masks, color diffusion."""

import cv2
import numpy as np

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601 weights of R, G, B
MIN_VISIBLE_PIXELS = 8  # fewer visible pixels say nothing about the colors of a patch
_BLUR_SIGMA = 2.5  # pixels; wider blurs are computed at a lower resolution
SUBPIXEL_BITS = 4  # fractional bits of OpenCV's polygon coordinates


def crop_padded(image: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Crop an image and repeat its edge pixels where the crop reaches beyond it.

    Args:
        image: (H, W, C) image.
        low: (x, y) of the crop's top left corner, inclusive; may be negative.
        high: (x, y) of the crop's bottom right corner, exclusive.
    """
    columns = np.clip(np.arange(low[0], high[0]), 0, image.shape[1] - 1)
    rows = np.clip(np.arange(low[1], high[1]), 0, image.shape[0] - 1)
    return image[np.ix_(rows, columns)]


def to_subpixels(points: np.ndarray) -> np.ndarray:
    """Convert pixel coordinates (corner origin) to OpenCV's fixed-point coordinates (center origin)."""
    return np.round((points - 0.5) * (1 << SUBPIXEL_BITS)).astype(np.int32)


def compute_polygon_depth(ring: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Measure how deep inside a closed polygon each pixel lies.

    Args:
        ring: (K, 2) corners of the polygon in pixels.
        shape: Height and width of the result.

    Returns:
        (H, W) distances to the polygon's edge in pixels, 0 outside, anti-aliased.
    """
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [to_subpixels(ring)], (255,), cv2.LINE_AA, SUBPIXEL_BITS)
    depth = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 3)
    return np.maximum(depth - 1 + mask / 255.0, 0.0) * (mask > 0)


def feather_mask(mask: np.ndarray, width: float) -> np.ndarray:
    """Soften a bool mask: fall to 0 at its edge within `width` pixels inside it."""
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    return np.clip(depth / max(width, 1.0), 0, 1).astype(np.float32)


def diffuse_colors(patch: np.ndarray, visible: np.ndarray, reach: float) -> np.ndarray | None:
    """Spread the colors of the visible pixels over a whole patch, near ones first.

    Args:
        patch: (H, W, 3) float32 colors.
        visible: (H, W) bool mask of the pixels whose colors count.
        reach: Width of the feature in pixels; scales the diffusion.

    Returns:
        (H, W, 3) colors, or None when almost nothing is visible.
    """
    if visible.sum() < MIN_VISIBLE_PIXELS:
        return None
    weight = visible.astype(np.float32)
    filled = np.zeros_like(patch)
    coverage = np.zeros(visible.shape, np.float32)
    for radius in (0.04 * reach, 0.12 * reach, 0.4 * reach, 2.0 * reach):
        sigma = max(radius, 0.7)
        spread = blur_widely(weight, sigma)
        color = blur_widely(patch * weight[..., None], sigma) / np.maximum(spread, 1e-6)[..., None]
        share = np.clip(spread / 0.15, 0, 1) * (1 - coverage)
        filled += color * share[..., None]
        coverage += share
    return filled + (1 - coverage)[..., None] * (patch[visible].mean(0))


def blur_widely(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur an image by a Gaussian, at a lower resolution where it is wide.

    Args:
        image: (H, W) or (H, W, C), uint8 or float32.
        sigma: Deviation in pixels, above 0.

    Returns:
        The blurred image, of the same shape and dtype.
    """
    step = int(sigma / _BLUR_SIGMA)
    if step < 2:
        return cv2.GaussianBlur(image, (0, 0), sigma)
    height, width = image.shape[:2]
    size = max(1, round(width / step)), max(1, round(height / step))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / step), (width, height))
