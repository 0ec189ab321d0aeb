"""Edges of triangle meshes, for tests of closed surfaces."""

import numpy as np


def count_edges(triangles: np.ndarray) -> dict[frozenset, int]:
    """Return the number of triangles at each edge."""
    count: dict[frozenset, int] = {}
    for corners in triangles.tolist():
        for index in range(3):
            edge = frozenset((corners[index], corners[(index + 1) % 3]))
            count[edge] = count.get(edge, 0) + 1
    return count
