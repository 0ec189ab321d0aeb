"""Smoothing of values at the vertices of a mesh."""

import numpy as np


def smooth_over_mesh(
    values: np.ndarray, triangles: np.ndarray, steps: int, is_known: np.ndarray | None = None
) -> np.ndarray:
    """Replace each vertex's values by the mean of its neighbors, several times.

    Args:
        values: (V, C) values.
        triangles: (T, 3) vertex indices.
        steps: Number of repetitions.
        is_known: (V,) vertices whose values do not change; the others start from the mean of these. None smooths all
            vertices from their own values.

    Returns:
        (V, C) values; zeros if `is_known` is given and no vertex is known.
    """
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges = np.unique(np.sort(edges, 1), axis=0)
    start, end = np.concatenate([edges, edges[:, ::-1]]).T
    degree = np.bincount(start, minlength=len(values))
    is_fixed = degree == 0
    result = values
    if is_known is not None:
        if not is_known.any():
            return np.zeros_like(values)
        is_fixed = is_fixed | is_known
        result = np.where(is_known[:, None], values, values[is_known].mean(0))
    for _ in range(steps):
        total = np.stack([np.bincount(start, channel[end], len(values)) for channel in result.T], -1)
        result = np.where(is_fixed[:, None], result, total / np.maximum(degree, 1)[:, None])
    return result
