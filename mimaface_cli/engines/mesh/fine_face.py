"""The finely subdivided skin of the face, which carries the photo's texture."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import sparse

from mimaface_cli.face import topology

FACE_VERTICES = 478
Edge = tuple[int, int]  # vertex indices, the smaller one first


class _WeightRows:
    """Entries of a sparse matrix, collected row by row."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.columns: list[int] = []
        self.values: list[float] = []

    def add(self, row: int, weights: dict[int, float]) -> None:
        self.rows.extend([row] * len(weights))
        self.columns.extend(weights)
        self.values.extend(weights.values())


def subdivide_triangles(triangles: np.ndarray, count: int) -> tuple[np.ndarray, sparse.csr_matrix, dict[Edge, int]]:
    """Apply one step of Loop subdivision. Boundaries keep their own curve.

    Args:
        triangles: (T, 3) vertex indices.
        count: Number of vertices.

    Returns:
        The finer triangles (4T, 3) int32, the sparse matrix that computes the new vertices from the old ones (old
        ones first), and the new vertex on each edge.

    Source: C. Loop, Smooth Subdivision Surfaces Based on Triangles, 1987.
    """
    opposite = _opposite_corners(triangles)
    middle = {edge: count + k for k, edge in enumerate(opposite)}
    neighbors: list[list[int]] = [[] for _ in range(count)]
    boundary: list[list[int]] = [[] for _ in range(count)]
    weights = _WeightRows()
    for (a, b), corners in opposite.items():
        neighbors[a].append(b)
        neighbors[b].append(a)
        if len(corners) == 2:
            weights.add(middle[a, b], {a: 3 / 8, b: 3 / 8, corners[0]: 1 / 8, corners[1]: 1 / 8})
        else:
            boundary[a].append(b)
            boundary[b].append(a)
            weights.add(middle[a, b], {a: 1 / 2, b: 1 / 2})
    for vertex in range(count):
        if len(boundary[vertex]) == 2:
            weights.add(vertex, {vertex: 3 / 4, boundary[vertex][0]: 1 / 8, boundary[vertex][1]: 1 / 8})
        elif boundary[vertex] or not neighbors[vertex]:
            weights.add(vertex, {vertex: 1.0})
        else:
            n = len(neighbors[vertex])
            beta = (5 / 8 - (3 / 8 + np.cos(2 * np.pi / n) / 4) ** 2) / n
            weights.add(vertex, {vertex: 1 - n * beta, **dict.fromkeys(neighbors[vertex], beta)})
    finer = []
    for a, b, c in triangles.tolist():
        ab, bc, ca = (middle[min(p, q), max(p, q)] for p, q in ((a, b), (b, c), (c, a)))
        finer += [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    matrix = sparse.csr_matrix((weights.values, (weights.rows, weights.columns)), shape=(count + len(middle), count))
    return np.array(finer, np.int32), matrix, middle


def _opposite_corners(triangles: np.ndarray) -> dict[Edge, list[int]]:
    """For each edge the corners of its one or two triangles that are not on it."""
    opposite: dict[Edge, list[int]] = {}
    for triangle in triangles.tolist():
        for k in range(3):
            a, b, c = triangle[k], triangle[(k + 1) % 3], triangle[(k + 2) % 3]
            opposite.setdefault((min(a, b), max(a, b)), []).append(c)
    return opposite


@dataclass(frozen=True)
class FineFace:
    """The subdivided skin of the face.

    Attributes:
        triangles: (T, 3) int32 vertex indices.
        matrix: (V, 478) sparse matrix that computes the fine vertices from the model's.
        rings: Indices of the fine vertices on the rings "oval", "left_eye", "right_eye" and "mouth", in order.
    """

    triangles: np.ndarray
    matrix: sparse.csr_matrix
    rings: dict[str, np.ndarray]


@lru_cache(maxsize=2)
def build_fine_face(triangles: bytes) -> FineFace:
    """Subdivide the skin of the face model.

    Args:
        triangles: The bytes of a (T, 3) int32 array: a hashable argument for the cache.
    """
    coarse = np.frombuffer(triangles, np.int32).reshape(-1, 3)
    finer, matrix, middle = subdivide_triangles(coarse, FACE_VERTICES)

    def refine(ring: np.ndarray) -> np.ndarray:
        pairs = zip(ring.tolist(), np.roll(ring, -1).tolist(), strict=True)
        edges = [middle[min(a, b), max(a, b)] for a, b in pairs]
        return np.stack([ring, edges], 1).ravel()

    rings = {
        "oval": topology.OVAL,
        "left_eye": topology.LEFT_EYE,
        "right_eye": topology.RIGHT_EYE,
        "mouth": topology.INNER_LIPS,
    }
    return FineFace(finer, matrix, {name: refine(ring) for name, ring in rings.items()})
