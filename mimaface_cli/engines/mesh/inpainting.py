"""Background plates: what a moving head uncovers, filled from the rest of the image."""

import cv2
import numpy as np

from mimaface_cli.engines.mesh.exemplar_fill import fill_by_exemplars
from mimaface_cli.engines.mesh.smooth_fill import fill_smoothly, find_gradient, masked_resize, solve_membrane

# Longest side (pixels) at which the roughness of the surroundings is measured.
_ROUGHNESS_SIDE = 384
# Roughness (gray levels) up to which a fill is smooth, and from which it is all exemplars.
_SMOOTH, _ROUGH = 1.5, 4.0
# Difference (gray levels) of the two fills' low frequencies up to which, and from which, they are not mixed: there an
# edge of the image runs through the hole.
_EQUAL, _DIFFERENT = 5.0, 12.0
# Width of the pixels next to the hole that nothing is copied from, as a share of the needed pixels' extent.
_TINTED_SHARE = 0.012


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


def _blur(values: np.ndarray, weight: np.ndarray, sigma: float) -> np.ndarray:
    """Blur an image by the pixels that have weight."""
    total = cv2.GaussianBlur(weight, (0, 0), sigma)
    sums = cv2.GaussianBlur(values * weight[..., None], (0, 0), sigma).reshape(values.shape)
    return sums / np.maximum(total, 1e-4)[..., None]


def measure_roughness(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Measure the contrast of structures, without noise and broad gradients, and continue it into the unknown.

    Args:
        image: (H, W, 3) float32, gray levels.
        known: (H, W) bool.

    Returns:
        (H, W) float32, gray levels.
    """
    height, width = known.shape
    scale = min(1.0, _ROUGHNESS_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    coarse, share = masked_resize(image, known.astype(np.float32), size)
    weight = (share > 0.99).astype(np.float32)
    band = _blur(coarse, weight, 1.0) - _blur(coarse, weight, 6.0)
    energy = np.log(_blur((band**2).mean(2, keepdims=True), weight, 4.0) + 0.01)
    extended = solve_membrane(energy, cv2.erode(weight, np.ones((3, 3), np.uint8)) == 0) if weight.any() else energy
    return np.sqrt(np.exp(cv2.resize(extended, (width, height), interpolation=cv2.INTER_LINEAR)))


def _mix(exemplars: np.ndarray, smooth: np.ndarray, known: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Take the low frequencies from the smooth fill where the surroundings are smooth."""
    height, width = known.shape
    roughness = measure_roughness(exemplars, known)
    share = np.clip((_ROUGH - roughness) / (_ROUGH - _SMOOTH), 0.0, 1.0)[..., None]
    scale = min(1.0, _ROUGHNESS_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    difference = smooth - exemplars
    coarse, weight = masked_resize(difference, target.astype(np.float32), size)
    low = cv2.resize(_blur(coarse, weight, 4.0), (width, height), interpolation=cv2.INTER_LINEAR)
    agreement = np.clip((_DIFFERENT - np.abs(low).max(2, keepdims=True)) / (_DIFFERENT - _EQUAL), 0.0, 1.0)
    return exemplars + share * agreement * low


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
    filled = np.where(hole[..., None], fill_smoothly(pixels, hole), pixels)
    target = hole if needed is None else hole & needed
    if target.any():
        region = _surroundings(target, hole)
        plane = find_gradient(pixels[region], hole[region])
        part = fill_by_exemplars(pixels[region] - plane, known[region], _sources(hole, target)[region], target[region])
        if part is not None:
            part = _mix(part + plane, filled[region], known[region], target[region])
            filled[region] = np.where(target[region][..., None], part, filled[region])
            deep = hole & ~target
            if deep.any():
                filled = np.where(deep[..., None], fill_smoothly(filled, deep), filled)
    return np.where(hole[..., None], np.clip(np.rint(filled), 0, 255).astype(np.uint8), image)


def _sources(hole: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the pixels to copy from: not those next to the hole, which fine hair may tint."""
    rows, columns = np.flatnonzero(target.any(1)), np.flatnonzero(target.any(0))
    extent = max(int(rows[-1] - rows[0]), int(columns[-1] - columns[0]))
    size = 2 * max(1, round(_TINTED_SHARE * extent)) + 1
    far = cv2.dilate(hole.astype(np.uint8), np.ones((size, size), np.uint8)) == 0
    return far if far.sum() > target.sum() // 4 else ~hole
