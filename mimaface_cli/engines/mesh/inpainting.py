"""Background plates: what a moving head uncovers, filled from the rest of the image."""

import cv2
import numpy as np

from mimaface_cli.engines.mesh.exemplar_fill import fill_by_exemplars
from mimaface_cli.engines.mesh.smooth_fill import fill_smoothly


def _surroundings(needed: np.ndarray, hole: np.ndarray) -> tuple[slice, slice]:
    """Return the region to copy from: around the needed pixels, larger where little of it is known."""
    height, width = hole.shape
    rows, columns = np.flatnonzero(needed.any(1)), np.flatnonzero(needed.any(0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    count = int(needed.sum())
    for share in (0.4, 0.7, 1.2, 2.0):
        margin = int(share * max(bottom - top, right - left)) + 8
        region = (
            slice(max(0, top - margin), min(height, bottom + margin)),
            slice(max(0, left - margin), min(width, right + margin)),
        )
        if (~hole[region]).sum() >= 1.5 * count:
            return region
    return slice(0, height), slice(0, width)


def fill_hole(image: np.ndarray, hole: np.ndarray, needed: np.ndarray | None = None) -> np.ndarray:
    """Replace the pixels of a hole by what may be behind it.

    Structures and texture at the rim continue into the hole; where the surroundings are smooth, the fill is a smooth
    surface with the image's noise.

    Args:
        image: (H, W, 3) uint8 RGB.
        hole: (H, W) bool, pixels to replace. They cover the soft rim of what is removed.
        needed: (H, W) bool, pixels of the hole that can become visible; the others are filled smoothly. None for all.

    Returns:
        (H, W, 3) uint8 RGB, equal to `image` outside the hole. The same input gives the same result.
    """
    if not hole.any():
        return image.copy()
    known = ~hole
    if known.sum() < 16:
        mean = cv2.blur(image, (2 * (image.shape[1] // 4) + 1, 2 * (image.shape[0] // 4) + 1))
        return np.where(hole[..., None], mean, image)
    pixels = image.astype(np.float32)
    smooth = fill_smoothly(pixels, hole)
    target = hole if needed is None else hole & needed
    filled = np.where(hole[..., None], smooth, pixels)
    if target.any():
        region = _surroundings(target, hole)
        exemplars = fill_by_exemplars(pixels[region], known[region], target[region])
        if exemplars is not None:
            filled[region] = np.where(target[region][..., None], exemplars, filled[region])
    return np.where(hole[..., None], np.clip(np.rint(filled), 0, 255).astype(np.uint8), image)
