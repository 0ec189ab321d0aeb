"""Smoothing of values at the vertices of a mesh."""

from functools import lru_cache

import numpy as np
from scipy import sparse


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
    means, has_neighbors = _neighbor_means(np.ascontiguousarray(triangles, np.int32).tobytes(), len(values))
    is_free = has_neighbors
    result = np.array(values, np.float64)
    if is_known is not None:
        if not is_known.any():
            return np.zeros_like(values)
        is_free = is_free & ~is_known
        result[~is_known] = result[is_known].mean(0)
    free = np.flatnonzero(is_free)
    means = means[free]
    for _ in range(steps):
        result[free] = means @ result
    return result


@lru_cache(maxsize=4)
def _neighbor_means(triangles: bytes, count: int) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Return the matrix (V, V) that takes the mean of each vertex's neighbors, and whether it has any, (V,) bool."""
    corners = np.frombuffer(triangles, np.int32).reshape(-1, 3)
    edges = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    edges = np.unique(np.sort(edges, 1), axis=0)
    start, end = np.concatenate([edges, edges[:, ::-1]]).T
    degree = np.bincount(start, minlength=count)
    weights = 1 / np.maximum(degree, 1)[start]
    return sparse.csr_matrix((weights, (start, end)), (count, count)), degree > 0
