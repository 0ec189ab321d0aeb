"""Kernels of the exemplar-based filling: greedy filling, PatchMatch search and voting.

Source: Criminisi, Pérez and Toyama, "Region filling and object removal by exemplar-based image inpainting" (2004);
    Wexler, Shechtman and Irani, "Space-time completion of video" (2007); Barnes et al., "PatchMatch" (2009).
"""

from typing import NamedTuple

import numpy as np

from mimaface_cli.face.kernels import kernel

# Patches are squares of 2 × RADIUS + 1 pixels. All arrays have a border of RADIUS pixels that counts nowhere.
RADIUS = 3
# A patch may be copied lighter or darker by this many levels, so that gradients continue.
_SHIFT_LIMIT = 12.0
# Costs, in squared gray levels: of a shift (per squared level), of a far source (per squared share of the image's
# side), and of every neighbor that is copied from elsewhere.
_SHIFT_COST = 0.15
_FAR_COST = 30.0
_SEAM_COST = 3.0


class Level(NamedTuple):
    """One resolution of the image that is filled.

    Attributes:
        image: (H, W, 3) float32, gray levels; its target pixels change.
        weight: (H, W) float32, how much a pixel counts in a comparison: 1 known, 0 unknown.
        sources: (H, W) bool, pixels around which the whole patch is known.
        is_target: (H, W) bool, pixels to fill.
        targets: (N, 2) int32, rows and columns of the target pixels, in rows from the top.
        offsets: (H, W, 2) int32, from every target pixel to its source.
        cost: (H, W) float32, difference between the patches of a target pixel and its source.
    """

    image: np.ndarray
    weight: np.ndarray
    sources: np.ndarray
    is_target: np.ndarray
    targets: np.ndarray
    offsets: np.ndarray
    cost: np.ndarray


@kernel(fastmath=True)
def _bounded(value: np.floating) -> np.floating:
    """Limit a shift of brightness."""
    limit = np.float32(_SHIFT_LIMIT)
    if value > limit:
        return limit
    if value < -limit:
        return -limit
    return value


@kernel(fastmath=True)
def _compare(
    image: np.ndarray, weight: np.ndarray, row: int, column: int, source_row: int, source_column: int
) -> tuple[np.floating, np.floating, np.floating, np.floating]:
    """Return the mean squared difference of two patches, and the shift of brightness that makes it least."""
    squares = sum0 = sum1 = sum2 = total = np.float32(0.0)
    for i in range(-RADIUS, RADIUS + 1):
        for j in range(-RADIUS, RADIUS + 1):
            factor = weight[row + i, column + j]
            d0 = image[row + i, column + j, 0] - image[source_row + i, source_column + j, 0]
            d1 = image[row + i, column + j, 1] - image[source_row + i, source_column + j, 1]
            d2 = image[row + i, column + j, 2] - image[source_row + i, source_column + j, 2]
            squares += factor * (d0 * d0 + d1 * d1 + d2 * d2)
            sum0 += factor * d0
            sum1 += factor * d1
            sum2 += factor * d2
            total += factor
    total = max(total, np.float32(1e-6))
    shift0, shift1, shift2 = _bounded(sum0 / total), _bounded(sum1 / total), _bounded(sum2 / total)
    explained = shift0 * (2 * sum0 - shift0 * total) + shift1 * (2 * sum1 - shift1 * total)
    explained += shift2 * (2 * sum2 - shift2 * total)
    shifts = shift0 * shift0 + shift1 * shift1 + shift2 * shift2
    difference = (squares - explained) / total + np.float32(_SHIFT_COST) * shifts
    return difference, shift0, shift1, shift2


@kernel(fastmath=True)
def _cost(level: Level, row: int, column: int, down: int, right: int) -> np.floating:
    """Return what it costs to copy the patch at a target pixel from an offset."""
    height, width = level.weight.shape
    difference, _, _, _ = _compare(level.image, level.weight, row, column, row + down, column + right)
    difference += np.float32(_FAR_COST) * (down * down + right * right) / np.float32(max(height, width) ** 2)
    seams = 0
    for i, j in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        if level.is_target[row + i, column + j] and (
            level.offsets[row + i, column + j, 0] != down or level.offsets[row + i, column + j, 1] != right
        ):
            seams += 1
    return difference + np.float32(_SEAM_COST) * seams


@kernel
def search_sources(level: Level, passes: int, reach: int, seed: int) -> None:
    """Improve the offsets of all target pixels: from their neighbors, and at random around the best one.

    Args:
        level: Its offsets and costs change.
        passes: Number of passes, forward and backward in turn.
        reach: Distance in pixels of the first random candidate; it is halved until it is 0. 0 for no random search.
        seed: Seed of the random candidates.
    """
    height, width = level.weight.shape
    state = np.uint32(seed * 2654435761 + 12345)
    count = len(level.targets)
    for number in range(passes):
        side = -1 if number % 2 == 0 else 1
        for step in range(count):
            row, column = level.targets[step if side == -1 else count - 1 - step]
            down, right = level.offsets[row, column, 0], level.offsets[row, column, 1]
            best = _cost(level, row, column, down, right)
            for i, j in ((side, 0), (0, side)):
                if level.is_target[row + i, column + j]:
                    new_down, new_right = level.offsets[row + i, column + j, 0], level.offsets[row + i, column + j, 1]
                    y, x = row + new_down, column + new_right
                    if (
                        (new_down != down or new_right != right)
                        and 0 <= y < height
                        and 0 <= x < width
                        and level.sources[y, x]
                    ):
                        cost = _cost(level, row, column, new_down, new_right)
                        if cost < best:
                            best, down, right = cost, new_down, new_right
            radius = reach
            while radius >= 1:
                state = np.uint32(state * np.uint32(1664525) + np.uint32(1013904223))
                new_down = down + np.int64(state >> np.uint32(8)) % (2 * radius + 1) - radius
                state = np.uint32(state * np.uint32(1664525) + np.uint32(1013904223))
                new_right = right + np.int64(state >> np.uint32(8)) % (2 * radius + 1) - radius
                y, x = row + new_down, column + new_right
                if 0 <= y < height and 0 <= x < width and level.sources[y, x]:
                    cost = _cost(level, row, column, new_down, new_right)
                    if cost < best:
                        best, down, right = cost, new_down, new_right
                radius //= 2
            level.offsets[row, column, 0], level.offsets[row, column, 1] = down, right
            level.cost[row, column] = best


@kernel
def _is_one_piece(level: Level, row: int, column: int) -> bool:
    """Return whether all pixels two away are copied from one place."""
    down, right = level.offsets[row, column]
    for i, j in ((-2, -2), (-2, 0), (-2, 2), (0, -2), (0, 2), (2, -2), (2, 0), (2, 2)):
        y, x = row + i, column + j
        if not level.is_target[y, x] or level.offsets[y, x, 0] != down or level.offsets[y, x, 1] != right:
            return False
    return True


@kernel(fastmath=True)
def vote(level: Level, scale: float, sigma: float, out: np.ndarray) -> None:
    """Render the target pixels: the mean of what the patches around a pixel copy to it.

    Args:
        level: Image, offsets and costs.
        scale: Cost (squared gray levels) at which a patch counts less by a factor of e.
        sigma: Standard deviation (pixels) of a patch's weights around its center.
        out: (H, W, 3) float32; its target pixels are set.
    """
    height, width = level.weight.shape
    shifts = np.zeros((height, width, 3), np.float32)
    factors = np.zeros((height, width), np.float32)
    for step in range(len(level.targets)):
        row, column = level.targets[step]
        source_row, source_column = row + level.offsets[row, column, 0], column + level.offsets[row, column, 1]
        difference, shift0, shift1, shift2 = _compare(level.image, level.weight, row, column, source_row, source_column)
        shifts[row, column, 0], shifts[row, column, 1], shifts[row, column, 2] = shift0, shift1, shift2
        factors[row, column] = level.weight[row, column] * (np.exp(-difference / scale) + np.float32(1e-4))
    window = np.zeros((2 * RADIUS + 1, 2 * RADIUS + 1), np.float32)
    for i in range(-RADIUS, RADIUS + 1):
        for j in range(-RADIUS, RADIUS + 1):
            window[i + RADIUS, j + RADIUS] = np.exp(-(i * i + j * j) / (2 * sigma * sigma))
    for step in range(len(level.targets)):
        row, column = level.targets[step]
        down, right = level.offsets[row, column]
        if _is_one_piece(level, row, column):
            for channel in range(3):
                value = level.image[row + down, column + right, channel]
                out[row, column, channel] = value + shifts[row, column, channel]
            continue
        sum0 = sum1 = sum2 = total = np.float32(0.0)
        for i in range(-RADIUS, RADIUS + 1):
            for j in range(-RADIUS, RADIUS + 1):
                y, x = row + i, column + j
                factor = factors[y, x] * window[i + RADIUS, j + RADIUS]
                if factor > 0:
                    source_row, source_column = row + level.offsets[y, x, 0], column + level.offsets[y, x, 1]
                    sum0 += factor * (level.image[source_row, source_column, 0] + shifts[y, x, 0])
                    sum1 += factor * (level.image[source_row, source_column, 1] + shifts[y, x, 1])
                    sum2 += factor * (level.image[source_row, source_column, 2] + shifts[y, x, 2])
                    total += factor
        if total > 0:
            out[row, column, 0] = sum0 / total
            out[row, column, 1] = sum1 / total
            out[row, column, 2] = sum2 / total


@kernel
def _priority(level: Level, row: int, column: int) -> np.floating:
    """Return how urgent a pixel at the rim is: reliable surroundings, and edges that run into the hole."""
    weight, image = level.weight, level.image
    confidence = np.float32(0.0)
    down = right = np.float32(0.0)
    for i in range(-RADIUS, RADIUS + 1):
        for j in range(-RADIUS, RADIUS + 1):
            factor = weight[row + i, column + j]
            confidence += factor
            if factor > 0:
                down += i
                right += j
    length = np.sqrt(down * down + right * right) + 1e-6
    down, right = down / length, right / length
    strongest = np.float32(0.0)
    for i in range(-RADIUS + 1, RADIUS):
        for j in range(-RADIUS + 1, RADIUS):
            y, x = row + i, column + j
            if weight[y, x] > 0 and weight[y + 1, x] > 0 and weight[y, x + 1] > 0:
                for channel in range(3):
                    dy = image[y + 1, x, channel] - image[y, x, channel]
                    dx = image[y, x + 1, channel] - image[y, x, channel]
                    strongest = max(strongest, abs(dx * down - dy * right))
    return confidence / (2 * RADIUS + 1) ** 2 * (strongest / 255.0 + 0.02)


@kernel
def _nearest_patch(level: Level, row: int, column: int) -> tuple[int, int]:
    """Return the source whose patch is most like the known pixels of a patch, by looking at all."""
    height, width = level.weight.shape
    best, best_row, best_column = np.inf, 0, 0
    for source_row in range(RADIUS, height - RADIUS):
        for source_column in range(RADIUS, width - RADIUS):
            if level.sources[source_row, source_column]:
                difference, _, _, _ = _compare(level.image, level.weight, row, column, source_row, source_column)
                down, right = source_row - row, source_column - column
                difference += _FAR_COST * (down * down + right * right) / max(height, width) ** 2
                if difference < best:
                    best, best_row, best_column = difference, source_row, source_column
    return best_row, best_column


@kernel
def fill_greedily(level: Level) -> None:
    """Fill the target pixels patch by patch from the rim inward, edges first.

    Args:
        level: Its image, weights and offsets change. The weights of target pixels have to be 0.
    """
    count = len(level.targets)
    priorities = np.zeros(level.weight.shape, np.float32)
    is_new = np.ones(level.weight.shape, np.bool_)
    while True:
        best, row, column = np.float32(0.0), -1, -1
        for step in range(count):
            y, x = level.targets[step]
            if level.weight[y, x] > 0:
                continue
            if is_new[y, x]:
                priorities[y, x] = np.float32(0.0)
                is_new[y, x] = False
                if (
                    max(level.weight[y - 1, x], level.weight[y + 1, x], level.weight[y, x - 1], level.weight[y, x + 1])
                    > 0
                ):
                    priorities[y, x] = _priority(level, y, x)
            if priorities[y, x] > best:
                best, row, column = priorities[y, x], y, x
        if row < 0:
            return
        source_row, source_column = _nearest_patch(level, row, column)
        _, shift0, shift1, shift2 = _compare(level.image, level.weight, row, column, source_row, source_column)
        _copy_patch(level, (row, column), (source_row, source_column), (shift0, shift1, shift2))
        is_new[
            max(row - 2 * RADIUS - 1, 0) : row + 2 * RADIUS + 2,
            max(column - 2 * RADIUS - 1, 0) : column + 2 * RADIUS + 2,
        ] = True


@kernel
def _copy_patch(
    level: Level, place: tuple[int, int], source: tuple[int, int], shift: tuple[np.floating, np.floating, np.floating]
) -> None:
    """Copy the unknown target pixels of a patch from a source patch."""
    row, column = place
    source_row, source_column = source
    confidence = np.float32(0.0)
    for i in range(-RADIUS, RADIUS + 1):
        for j in range(-RADIUS, RADIUS + 1):
            confidence += level.weight[row + i, column + j]
    confidence = max(confidence / (2 * RADIUS + 1) ** 2, np.float32(1e-3))
    for i in range(-RADIUS, RADIUS + 1):
        for j in range(-RADIUS, RADIUS + 1):
            y, x = row + i, column + j
            if level.is_target[y, x] and level.weight[y, x] == 0:
                for channel in range(3):
                    level.image[y, x, channel] = (
                        level.image[source_row + i, source_column + j, channel] + shift[channel]
                    )
                level.offsets[y, x, 0], level.offsets[y, x, 1] = source_row - row, source_column - column
                level.weight[y, x] = confidence
