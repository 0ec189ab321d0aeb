"""Background plates: what a moving head uncovers, filled from the rest of the image."""

import cv2
import numpy as np

from mimaface_cli.engines.mesh.exemplar_fill import fill_by_exemplars
from mimaface_cli.engines.mesh.smooth_fill import fill_smoothly, find_gradient, masked_resize, solve_membrane

# Longest side (pixels) at which low frequencies are handled.
_REDUCED_SIDE = 384
# Roughness (gray levels) over which a fill changes from smooth to exemplars.
_SMOOTH, _ROUGH = 1.5, 4.0
# Difference (gray levels) of the two fills' low frequencies over which mixing ends: where they differ more, an edge of
# the image runs through the hole.
_EQUAL, _DIFFERENT = 5.0, 12.0
# Width of the pixels next to the hole that nothing is copied from, as a share of the needed pixels' extent.
_TINTED_SHARE = 0.012

Region = tuple[slice, slice]


def _bounds(mask: np.ndarray, margin: float) -> Region:
    """Return the region of a mask, larger by a share of its longer side."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    extra = int(margin * max(bottom - top, right - left)) + 8
    height, width = mask.shape
    return slice(max(0, top - extra), min(height, bottom + extra)), slice(
        max(0, left - extra), min(width, right + extra)
    )


def _union(first: Region, second: Region) -> Region:
    """Return the smallest region that holds two."""
    rows, columns = ((min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second, strict=True))
    return slice(*rows), slice(*columns)


def _surroundings(needed: np.ndarray, hole: np.ndarray) -> Region:
    """Return the region to copy from: around the needed pixels, larger where little of it is known."""
    count = int(needed.sum())
    for margin in (0.4, 0.7, 1.2, 2.0):
        region = _bounds(needed, margin)
        if (~hole[region]).sum() >= 1.5 * count:
            return region
    return slice(0, hole.shape[0]), slice(0, hole.shape[1])


def _blur(values: np.ndarray, weight: np.ndarray, sigma: float) -> np.ndarray:
    """Blur an image by the pixels that have weight."""
    total = cv2.GaussianBlur(weight, (0, 0), sigma)
    sums = cv2.GaussianBlur(values * weight[..., None], (0, 0), sigma).reshape(values.shape)
    return sums / np.maximum(total, 1e-4)[..., None]


def _reduced_size(mask: np.ndarray) -> tuple[int, int]:
    """Return the width and height at which low frequencies are handled."""
    height, width = mask.shape
    scale = min(1.0, _REDUCED_SIDE / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))


def measure_roughness(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Measure the contrast of structures, without noise and broad gradients, and continue it into the unknown.

    Args:
        image: (H, W, 3) float32, gray levels.
        known: (H, W) bool.

    Returns:
        (h, w) float32, gray levels, at low resolution.
    """
    size = _reduced_size(known)
    coarse, share = masked_resize(image, known.astype(np.float32), size)
    weight = (share > 0.99).astype(np.float32)
    band = _blur(coarse, weight, 1.0) - _blur(coarse, weight, 6.0)
    energy = np.log(_blur((band**2).mean(2, keepdims=True), weight, 4.0) + 0.01)
    extended = solve_membrane(energy, cv2.erode(weight, np.ones((3, 3), np.uint8)) == 0) if weight.any() else energy
    return np.sqrt(np.exp(extended[..., 0]))


def _mix(exemplars: np.ndarray, smooth: np.ndarray, known: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Take the low frequencies from the smooth fill where the surroundings are smooth."""
    size = _reduced_size(known)
    share = np.clip((_ROUGH - measure_roughness(exemplars, known)) / (_ROUGH - _SMOOTH), 0.0, 1.0)[..., None]
    coarse, weight = masked_resize(smooth - exemplars, target.astype(np.float32), size)
    low = _blur(coarse, weight, 4.0)
    share *= np.clip((_DIFFERENT - np.abs(low).max(2, keepdims=True)) / (_DIFFERENT - _EQUAL), 0.0, 1.0)
    return exemplars + cv2.resize(share * low, known.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _sources(hole: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the pixels to copy from: not those next to the hole, which fine hair may tint."""
    rows, columns = np.flatnonzero(target.any(1)), np.flatnonzero(target.any(0))
    extent = max(int(rows[-1] - rows[0]), int(columns[-1] - columns[0]))
    size = 2 * max(1, round(_TINTED_SHARE * extent)) + 1
    far = cv2.dilate(hole.astype(np.uint8), np.ones((size, size), np.uint8)) == 0
    return far if far.sum() > target.sum() // 4 else ~hole


def _fill(pixels: np.ndarray, hole: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Fill the hole: smoothly, and its target pixels by exemplars, if there is something to copy."""
    filled = np.where(hole[..., None], fill_smoothly(pixels, hole), pixels)
    if not target.any():
        return filled
    region = _surroundings(target, hole)
    known, part_target = ~hole[region], target[region]
    plane = find_gradient(pixels[region], hole[region])
    part = fill_by_exemplars(pixels[region] - plane, known, _sources(hole, target)[region], part_target)
    if part is None:
        return filled
    part = _mix(part + plane, filled[region], known, part_target)
    filled[region] = np.where(part_target[..., None], part, filled[region])
    deep = hole & ~target
    return np.where(deep[..., None], fill_smoothly(filled, deep), filled) if deep.any() else filled


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
    target = hole if needed is None else hole & needed
    around = _bounds(hole, 0.15)
    if target.any():
        around = _union(around, _surroundings(target, hole))
    filled = _fill(image[around].astype(np.float32), hole[around], target[around])
    result = image.copy()
    result[around] = np.where(hole[around][..., None], np.clip(np.rint(filled), 0, 255).astype(np.uint8), image[around])
    return result
