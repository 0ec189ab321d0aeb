"""Exemplar-based filling of holes: every pixel is copied from a place of the image that continues its surroundings."""

import cv2
import numpy as np

from mimaface_cli.engines.mesh.patch_search import RADIUS, Level, fill_greedily, search_sources, vote
from mimaface_cli.engines.mesh.seam_correction import correct_seams
from mimaface_cli.engines.mesh.smooth_fill import masked_resize

# Longest side (pixels) of the coarsest level, where the hole is filled greedily.
_COARSEST_SIDE = 128
# Longest side (pixels) of the finest level where the brightness of seams is corrected; finer ones use its correction.
_CORRECTION_SIDE = 700
# Largest number of target pixels of a level where sources are searched; finer levels inherit them.
_SEARCHED_TARGETS = 300_000
# Confidence of a target pixel: this, to the power of its distance from the rim in pixels, but not less than the second.
_CONFIDENCE, _LEAST_CONFIDENCE = 0.93, 0.25


def _make_level(image: np.ndarray, known: np.ndarray, source: np.ndarray, target: np.ndarray) -> Level:
    """Build a level from an image, its known pixels, those to copy from and those to fill, with a border."""
    border = ((RADIUS, RADIUS), (RADIUS, RADIUS))
    weight = np.pad(known.astype(np.float32), border)
    is_target = np.pad(target, border)
    square = np.ones((2 * RADIUS + 1, 2 * RADIUS + 1), np.uint8)
    sources = cv2.erode(np.pad(source, border).astype(np.uint8), square, borderValue=0) > 0
    padded = np.pad(image, (*border, (0, 0)), mode="edge").astype(np.float32)
    targets = np.argwhere(is_target).astype(np.int32)
    offsets = np.zeros((*weight.shape, 2), np.int32)
    return Level(padded, weight, sources, is_target, targets, offsets, np.zeros(weight.shape, np.float32))


def _build_levels(image: np.ndarray, known: np.ndarray, source: np.ndarray, target: np.ndarray) -> list[Level]:
    """Build the levels, from the finest to the coarsest, each of half the resolution of the one before."""
    height, width = known.shape
    depth = max(0, int(np.ceil(np.log2(max(height, width) / _COARSEST_SIDE))))
    while depth > 0 and min(height, width) >> depth < 4 * RADIUS:
        depth -= 1
    unit = 1 << depth
    extra = ((0, -height % unit), (0, -width % unit))
    pixels = np.pad(image, (*extra, (0, 0)), mode="edge").astype(np.float32)
    masks = [np.pad(mask, extra) for mask in (known, source, target)]
    levels = [_make_level(pixels, *masks)]
    for _ in range(depth):
        size = (pixels.shape[1] // 2, pixels.shape[0] // 2)
        pixels, share = masked_resize(pixels, masks[0].astype(np.float32), size)
        shares = [cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) for mask in masks]
        masks = [share > 0.99, shares[1] > 0.99, (shares[2] > 0) & (share <= 0.99)]
        levels.append(_make_level(pixels, *masks))
    return levels


def _set_confidence(level: Level) -> None:
    """Weigh target pixels by their distance from the known pixels."""
    known = (level.weight == 1) & ~level.is_target
    distance = cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, 3)
    confidence = np.maximum(_CONFIDENCE**distance, _LEAST_CONFIDENCE)
    level.weight[:] = np.where(level.is_target, confidence, known)


def _fix_offsets(level: Level) -> None:
    """Let all offsets end at sources: where one does not, take the source nearest to its end."""
    height, width = level.weight.shape
    rows, columns = level.targets[:, 0], level.targets[:, 1]
    ends = level.targets + level.offsets[rows, columns]
    ends = np.clip(ends, 0, [height - 1, width - 1])
    wrong = ~level.sources[ends[:, 0], ends[:, 1]]
    if wrong.any():
        _, labels = cv2.distanceTransformWithLabels(
            (~level.sources).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        places = np.zeros((labels.max() + 1, 2), np.int64)
        places[labels[level.sources]] = np.argwhere(level.sources)
        ends[wrong] = places[labels[ends[wrong, 0], ends[wrong, 1]]]
    level.offsets[rows, columns] = ends - level.targets


def _refine(level: Level, rounds: int, passes: int, reach: int, sigma: float) -> None:
    """Search and vote in turn."""
    for number in range(rounds):
        search_sources(level, passes, reach, 7 * number + 1)
        costs = level.cost[level.targets[::7, 0], level.targets[::7, 1]]
        vote(level, max(float(np.percentile(costs, 50)) if passes else 30.0, 4.0), sigma, level.image)


def _inherit(fine: Level, coarse: Level) -> None:
    """Take over the offsets of a level of half the resolution, and render them."""
    rows, columns = fine.targets[:, 0], fine.targets[:, 1]
    height, width = coarse.is_target.shape
    parents = coarse.offsets[
        np.minimum((rows - RADIUS) // 2 + RADIUS, height - 1), np.minimum((columns - RADIUS) // 2 + RADIUS, width - 1)
    ]
    fine.offsets[rows, columns] = 2 * parents
    _fix_offsets(fine)
    _set_confidence(fine)
    ends = fine.targets + fine.offsets[rows, columns]
    fine.image[rows, columns] = fine.image[ends[:, 0], ends[:, 1]]


def fill_by_exemplars(
    image: np.ndarray, known: np.ndarray, source: np.ndarray, target: np.ndarray
) -> np.ndarray | None:
    """Fill the target pixels with patches of the known pixels.

    Args:
        image: (H, W, 3) float32, gray levels.
        known: (H, W) bool, pixels that the fill continues.
        source: (H, W) bool, the known pixels to copy from.
        target: (H, W) bool, pixels to fill; none of them is known. Pixels that are neither do not count.

    Returns:
        (H, W, 3) float32, equal to `image` outside the target; None where too little is known to copy from.
    """
    height, width = known.shape
    levels = _build_levels(image, known, source, target)
    coarsest = levels[-1]
    if min(level.sources.sum() for level in levels) < 4 * RADIUS**2:
        return None
    fill_greedily(coarsest)
    _fix_offsets(coarsest)
    _set_confidence(coarsest)
    _refine(coarsest, 3, 2, max(coarsest.weight.shape) // 4, 1.5)
    correction, scale = correct_seams(coarsest), 1 << (len(levels) - 1)
    for number in range(len(levels) - 2, -1, -1):
        _inherit(levels[number], levels[number + 1])
        passes = 0 if len(levels[number].targets) > _SEARCHED_TARGETS else 1 + (number > 0)
        _refine(levels[number], 1, passes, 2 if number else 1, 1.2 if number else 0.8)
        if max(levels[number].weight.shape) <= _CORRECTION_SIDE:
            correction, scale = correct_seams(levels[number]), 1 << number
    inner = slice(RADIUS, -RADIUS)
    filled, correction = levels[0].image[inner, inner], correction[inner, inner]
    if scale > 1:
        size = (filled.shape[1], filled.shape[0])
        correction = cv2.resize(correction, size, interpolation=cv2.INTER_LINEAR)
    return (filled + correction * levels[0].is_target[inner, inner, None])[:height, :width]
