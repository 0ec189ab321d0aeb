"""A neck that the photo's border cuts: it stays at the border when the head moves away from it.

The photo does not show what is beyond its border. Without the hold, the cut edge would come into view.
"""

import numpy as np

from mimaface_cli.engines.mesh.polar_grid import blur_circular
from mimaface_cli.motion.easing import smoothstep

_MIN_REACH = 0.08  # multiples of the rim's radius: least distance over which the hold begins


def hold_at_border(
    center: np.ndarray,
    rays: np.ndarray,
    factor: np.ndarray,
    weight: np.ndarray,
    is_cut: np.ndarray,
    shape: tuple[int, ...],
) -> np.ndarray:
    """Return how firmly the border of a photo holds the vertices around a face.

    Args:
        center: (2,) center of the face in image pixels.
        rays: (A, 2) for each ray, the way from the center to the rim of the face, in image pixels.
        factor: (R, A) distances of the vertices from the center, in multiples of the rim's.
        weight: (R, A) share of the head's motion that each vertex follows.
        is_cut: (A,) whether the border cuts the neck along the ray.
        shape: Height and width of the photo.

    Returns:
        (R, A, 2, 2), 0 to 1: for movements in the positive and in the negative direction, along x and y.
    """
    limits = np.array([[0.0, 0.0], [shape[1], shape[0]]])
    sides = np.array([-1.0, 1.0])[:, None, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = (limits[:, None] - center) / rays  # (2, A, 2)
    crossing = np.where(rays * sides > 1e-6, crossing, np.inf)
    first = crossing.min((0, 2))
    hold = np.zeros((*factor.shape, 2, 2))
    column = np.arange(factor.shape[1])
    for side, axis in np.ndindex(2, 2):
        cross = crossing[side, :, axis]
        is_first = is_cut & np.isfinite(cross) & (cross <= first)
        if not is_first.any():
            continue
        reach = np.maximum(np.where(np.isfinite(cross), cross, 1e3) - 1, _MIN_REACH)
        is_beyond = factor >= 1 + reach
        at_border = np.where(is_beyond.any(0), is_beyond.argmax(0), len(factor) - 1)
        strength = blur_circular(is_first * weight[at_border, column], 1.2)
        hold[:, :, side, axis] = strength * smoothstep((factor - 1) / reach)
    return hold
