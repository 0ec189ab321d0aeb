"""Correction of a fill's brightness, so that neither the rim of the hole nor the seams between copied pieces show.

Source: Pérez, Gangnet and Blake, "Poisson image editing" (2003).
"""

import cv2
import numpy as np

from mimaface_cli.engines.mesh.patch_search import RADIUS, Level
from mimaface_cli.face.kernels import kernel

# Steps at a seam count less where they are larger than this many levels: those are edges of the image's content.
_EDGE = 24.0


@kernel
def _measure_steps(level: Level, steps: np.ndarray, weights: np.ndarray) -> None:
    """Find the steps that seams add between every pixel and its neighbors below and to the right."""
    image, offsets, is_target = level.image, level.offsets, level.is_target
    height, width = level.weight.shape
    for row in range(RADIUS, height - RADIUS):
        for column in range(RADIUS, width - RADIUS):
            for side in range(2):
                y, x = row + 1 - side, column + side
                first, second = is_target[row, column], is_target[y, x]
                if not (first or second) or level.weight[row, column] == 0 or level.weight[y, x] == 0:
                    continue
                total = np.float32(0.0)
                for channel in range(3):
                    slope = np.float32(0.0)
                    if first:
                        down, right = offsets[row, column, 0], offsets[row, column, 1]
                        slope += image[y + down, x + right, channel] - image[row + down, column + right, channel]
                    if second:
                        down, right = offsets[y, x, 0], offsets[y, x, 1]
                        slope += image[y + down, x + right, channel] - image[row + down, column + right, channel]
                    if first and second:
                        slope *= np.float32(0.5)
                    step = image[y, x, channel] - image[row, column, channel] - slope
                    steps[side, row, column, channel] = step
                    total += step * step
                weights[side, row, column] = 1.0 / (1.0 + total / (3.0 * _EDGE * _EDGE))


@kernel(fastmath=True)
def _relax(targets: np.ndarray, steps: np.ndarray, weights: np.ndarray, sweeps: int, correction: np.ndarray) -> None:
    """Smooth the correction under the steps by successive over-relaxation; it stays 0 outside the target."""
    count = len(targets)
    for sweep in range(sweeps):
        for step in range(count):
            row, column = targets[step if sweep % 2 == 0 else count - 1 - step]
            w0, w1 = weights[0, row - 1, column], weights[0, row, column]
            w2, w3 = weights[1, row, column - 1], weights[1, row, column]
            total = w0 + w1 + w2 + w3
            if total == 0:
                continue
            for channel in range(3):
                value = w0 * (correction[row - 1, column, channel] - steps[0, row - 1, column, channel])
                value += w1 * (correction[row + 1, column, channel] + steps[0, row, column, channel])
                value += w2 * (correction[row, column - 1, channel] - steps[1, row, column - 1, channel])
                value += w3 * (correction[row, column + 1, channel] + steps[1, row, column, channel])
                old = correction[row, column, channel]
                correction[row, column, channel] = old + np.float32(1.7) * (value / total - old)


def _halve_along(values: np.ndarray, axis: int) -> np.ndarray:
    """Sum steps along an axis from the center of one pair of pixels to the center of the next."""
    moved = np.moveaxis(values, axis, 0)
    after = np.concatenate([moved[2:], np.zeros_like(moved[:2])])
    return np.moveaxis(0.5 * moved[0::2] + moved[1::2] + 0.5 * after[0::2], 0, axis)


def _solve(steps: np.ndarray, weights: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Find the correction that takes the steps away, first at half the resolution.

    Args:
        steps: (2, H, W, 3) float32, steps to the pixel below and to the right. H and W are even.
        weights: (2, H, W) float32, 0 where two pixels are not connected.
        target: (H, W) bool, pixels to correct; not at the border.

    Returns:
        (H, W, 3) float32, 0 outside the target.
    """
    height, width = target.shape
    correction = np.zeros((height, width, 3), np.float32)
    sweeps = 200
    if min(height, width) > 72:
        vertical, horizontal = _halve_along(steps[0], 0), _halve_along(steps[1], 1)
        half_steps = np.stack(
            [0.5 * (vertical[:, 0::2] + vertical[:, 1::2]), 0.5 * (horizontal[0::2] + horizontal[1::2])]
        )
        across = [weights[0, 1::2], weights[1, :, 1::2]]
        half_weights = np.stack(
            [0.5 * (across[0][:, 0::2] + across[0][:, 1::2]), 0.5 * (across[1][0::2] + across[1][1::2])]
        )
        half_target = target.reshape(height // 2, 2, width // 2, 2).any((1, 3))
        extra = ((0, 0), (1, 1 + height // 2 % 2), (1, 1 + width // 2 % 2))
        half = _solve(np.pad(half_steps, (*extra, (0, 0))), np.pad(half_weights, extra), np.pad(half_target, extra[1:]))
        half = half[1 : 1 + height // 2, 1 : 1 + width // 2]
        correction = cv2.resize(half, (width, height), interpolation=cv2.INTER_LINEAR) * target[..., None]
        sweeps = 24
    _relax(np.argwhere(target).astype(np.int32), steps, weights, sweeps, correction)
    return correction


def correct_seams(level: Level) -> np.ndarray:
    """Return what to add to a level's target pixels, so that seams and the rim do not show.

    Args:
        level: A filled level. It does not change.

    Returns:
        (H, W, 3) float32, gray levels, 0 outside the target.
    """
    height, width = level.weight.shape
    steps = np.zeros((2, height + height % 2, width + width % 2, 3), np.float32)
    weights = np.zeros(steps.shape[:3], np.float32)
    _measure_steps(level, steps, weights)
    target = np.pad(level.is_target, ((0, height % 2), (0, width % 2)))
    return _solve(steps, weights, target)[:height, :width]
