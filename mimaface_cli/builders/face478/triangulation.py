"""Triangles of face478: the skin from MediaPipe's edges, and strips that close the eyes and the mouth."""

from collections import Counter
from itertools import combinations

import numpy as np

from mimaface_cli.face import topology


def build_triangles(mean: np.ndarray) -> dict[str, np.ndarray]:
    """Return the triangles `face`, `eyes` and `mouth`, each T×3 int32.

    Args:
        mean: 478×3 mean face, which decides the order of the corners.
    """
    eyes = np.concatenate([triangulate_ring(topology.LEFT_EYE), triangulate_ring(topology.RIGHT_EYE)])
    return {
        "face": _turn_to_camera(find_triangles(list_tesselation_edges()), mean),
        "eyes": _turn_to_camera(eyes, mean),
        "mouth": _turn_to_camera(triangulate_ring(topology.INNER_LIPS), mean),
    }


def find_triangles(edges: list[tuple[int, int]]) -> np.ndarray:
    """Find the triangles T×3 of a surface from its edges.

    These are all cycles of three edges except those around a vertex with only three neighbors: each of their edges
    would belong to three triangles.
    """
    neighbors: dict[int, set[int]] = {}
    for a, b in edges:
        neighbors.setdefault(a, set()).add(b)
        neighbors.setdefault(b, set()).add(a)
    cycles = sorted({tuple(sorted((a, b, c))) for a, b in edges for c in neighbors[a] & neighbors[b]})
    users = Counter(edge for cycle in cycles for edge in combinations(cycle, 2))
    return np.array([cycle for cycle in cycles if any(users[edge] < 3 for edge in combinations(cycle, 2))])


def list_tesselation_edges() -> list[tuple[int, int]]:
    """Return MediaPipe's edges between landmarks."""
    from mimaface_cli.face.landmarks import native_silence

    with native_silence():
        from mediapipe.tasks.python.vision import FaceLandmarksConnections
    return [(edge.start, edge.end) for edge in FaceLandmarksConnections.FACE_LANDMARKS_TESSELATION]


def triangulate_ring(ring: np.ndarray) -> np.ndarray:
    """Return triangles T×3 between the lower and the upper half of a closed ring.

    Args:
        ring: n vertices in order; items 0 and n/2 are the corners of the opening.
    """
    half = len(ring) // 2
    lower, upper = ring[: half + 1], np.append(ring[half:], ring[0])[::-1]
    quads = [(lower[i], lower[i + 1], upper[i + 1], upper[i]) for i in range(half)]
    triangles = [triangle for a, b, c, d in quads for triangle in ((a, b, c), (a, c, d))]
    return np.array([triangle for triangle in triangles if len(set(triangle)) == 3])


def _turn_to_camera(triangles: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Order the corners so that normals point to the camera."""
    a, b, c = (mean[triangles[:, i]] for i in range(3))
    is_reversed = np.cross(b - a, c - a)[:, 2] < 0
    return np.where(is_reversed[:, None], triangles[:, ::-1], triangles).astype(np.int32)
