"""The surface that carries the photo's texture: the finely subdivided face, and a sheet of its surroundings.

The sheet holds hair, ears, neck and background. Texture coordinates are pixels of the photo's 256 crop.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import sparse

from mimaface_cli.face import camera, topology
from mimaface_cli.motion.rotation import rotation_matrix

FACE_VERTICES = 478
SHEET_ANGLES = 96
# Rings of the sheet in multiples of the distance from the face's center to its oval.
SHEET_RINGS = np.array([0.80, 0.92, 1.0, 1.05, 1.12, 1.2, 1.3, 1.42, 1.56, 1.72, 1.9, 2.1, 2.35, 2.65, 3.0])
FACE_RIM = int(np.flatnonzero(SHEET_RINGS == 1.0)[0])  # index of the ring on the face's oval

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


@dataclass(frozen=True)
class SurroundingSheet:
    """The surroundings of the face as a polar grid of R rings × A angles, flattened ring by ring to V vertices.

    Attributes:
        texture: (V, 2) position of each vertex in the photo's crop.
        head: (V, 3) position of each vertex on the head, in the head's frame.
        weight: (V,) share of the head's motion that the vertex follows; 0 for the background.
        stretch: (V,) share of the rim's expression movement that the vertex takes on.
        rim: (A, 2) corners of the oval's edge that each ray meets.
        share: (A,) position of the ray's rim point on that edge, 0 to 1.
        triangles: (T, 3) int32 vertex indices.
    """

    texture: np.ndarray
    head: np.ndarray
    weight: np.ndarray
    stretch: np.ndarray
    rim: np.ndarray
    share: np.ndarray
    triangles: np.ndarray


def build_surrounding_sheet(
    oval: np.ndarray, placed: np.ndarray, pose: np.ndarray, frame: np.ndarray
) -> SurroundingSheet:
    """Build the sheet around a face.

    Args:
        oval: (K, 2) rim of the face in crop pixels.
        placed: (K, 3) the same rim in camera space.
        pose: (6,) pose of the photo's head.
        frame: (4,) left, top, right, bottom of the photo in crop pixels.
    """
    center = oval.mean(0)
    angles = np.linspace(-np.pi, np.pi, SHEET_ANGLES, endpoint=False)
    directions = np.stack([np.cos(angles), np.sin(angles)], -1)  # image axes: y down
    radius, rim, share = intersect_ring(center, directions, oval)
    blend = _direction_blend(directions)
    rigid_until, still_from = _motion_limits(blend, intersect_box(center, directions, frame) / radius)

    factor = SHEET_RINGS[:, None]
    # Inside the rim and just outside it, rings follow the true rim; further out they follow a smoother one.
    outward = np.clip((factor - 1) / 0.5, 0, 1)
    reach = factor * ((1 - outward) * radius + outward * _blur_circular(radius, 2.0))
    texture = center + reach[..., None] * directions
    weight = 1 - _smoothstep((factor - rigid_until) / (still_from - rigid_until))
    stretch = np.where(factor <= 1, 1.0, 1 - _smoothstep((factor - 1) / blend(0.35, 0.75, 0.4)))

    # Behind the rim the head curves away like a skull; the neck stays roughly in the plane of the jaw.
    rim_depth = (1 - share) * placed[rim[:, 0], 2] + share * placed[rim[:, 1], 2]
    unit = camera.CAMERA_DISTANCE / (camera.FOCAL_PER_SIZE * camera.CROP_SIZE)
    slope = blend(0.40, 0.35, 0.45)
    behind = slope * np.clip(factor - 1, 0, 0.55) * radius * unit
    depth = camera.CAMERA_DISTANCE - (_blur_circular(rim_depth, 1.0) - behind)
    depth = depth + np.where(factor < 1, 0.25, 0.0)  # under the face, visible only where that leaves a gap
    points = camera.unproject(texture.reshape(-1, 2), depth.ravel())
    head = (points - pose[3:]) @ rotation_matrix(pose[:3])
    return SurroundingSheet(
        texture=texture.reshape(-1, 2),
        head=head,
        weight=_flatten_grid(weight),
        stretch=_flatten_grid(stretch),
        rim=rim,
        share=share,
        triangles=_grid_triangles(len(SHEET_RINGS), SHEET_ANGLES),
    )


def _direction_blend(directions: np.ndarray) -> Callable[[float, float, float], np.ndarray]:
    """A function that blends three values, for up, down and sideways, by the direction of each ray (A, 2)."""
    up, down, side = (np.clip(v, 0, 1) ** 2 for v in (-directions[:, 1], directions[:, 1], np.abs(directions[:, 0])))
    total = up + down + side

    def blend(for_up: float, for_down: float, for_side: float) -> np.ndarray:
        return (for_up * up + for_down * down + for_side * side) / total

    return blend


def _motion_limits(
    blend: Callable[[float, float, float], np.ndarray], frame_edge: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ring factors (A,) up to which the sheet moves rigidly with the head, and from which it does not move.

    frame_edge: factor (A,) at which each ray meets the photo's edge.
    """
    rigid_until = blend(1.75, 1.0, 1.35)  # the crown moves as one with the face, the neck bends from the chin on
    still_from = blend(3.0, 2.2, 2.5)
    # The photo's edge stays where it is, unless the face itself touches it.
    still_from = np.minimum(still_from, np.maximum(frame_edge, 1.3))
    return np.minimum(rigid_until, 1 + 0.65 * (still_from - 1)), still_from


def _grid_triangles(rings: int, count: int) -> np.ndarray:
    """Triangles of a closed polar grid, flattened ring by ring."""
    index = np.arange(rings * count).reshape(rings, count)
    inner, outer = index[:-1], index[1:]
    next_inner, next_outer = np.roll(inner, -1, 1), np.roll(outer, -1, 1)
    triangles = np.concatenate(
        [
            np.stack([inner, outer, next_outer], -1).reshape(-1, 3),
            np.stack([inner, next_outer, next_inner], -1).reshape(-1, 3),
        ]
    )
    return triangles.astype(np.int32)


def _flatten_grid(grid: np.ndarray) -> np.ndarray:
    return np.broadcast_to(grid, (len(SHEET_RINGS), SHEET_ANGLES)).ravel().copy()


def intersect_ring(
    center: np.ndarray, directions: np.ndarray, ring: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Intersect rays from a center with a closed polygon.

    A ray that misses (the polygon does not enclose the center) takes the corner nearest in angle.

    Args:
        center: (2,) origin of the rays.
        directions: (A, 2) unit vectors.
        ring: (K, 2) corners of the polygon.

    Returns:
        Distances (A,) from the center, the two corners (A, 2) of the edge, and the share (A,) of the second corner.
    """
    along = np.roll(ring, -1, 0) - ring
    offset = ring - center
    denominator = _cross(directions[:, None], along[None])
    safe = np.where(np.abs(denominator) < 1e-9, 1e-9, denominator)
    distance = _cross(offset[None], along[None]) / safe
    position = _cross(offset[None], directions[:, None]) / safe
    hit = (distance > 0) & (position >= -1e-6) & (position <= 1 + 1e-6) & (np.abs(denominator) >= 1e-9)
    reach = np.where(hit, distance, -1.0)
    edge = reach.argmax(1)
    rows = np.arange(len(directions))
    radius, share = reach[rows, edge], np.clip(position[rows, edge], 0, 1)
    missed = radius <= 0
    if missed.any():
        bearing = offset / np.linalg.norm(offset, axis=1, keepdims=True)
        edge[missed] = (directions[missed] @ bearing.T).argmax(1)
        share[missed] = 0.0
        radius[missed] = np.linalg.norm(offset[edge[missed]], axis=1)
    return radius, np.stack([edge, (edge + 1) % len(ring)], -1), share


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The cross product's third component of vectors in the plane."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def intersect_box(center: np.ndarray, directions: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Compute distances (A,) along rays (A, 2) from a center to the sides of its box (left, top, right, bottom)."""
    with np.errstate(divide="ignore"):
        x = np.where(directions[:, 0] > 0, box[2] - center[0], box[0] - center[0]) / directions[:, 0]
        y = np.where(directions[:, 1] > 0, box[3] - center[1], box[1] - center[1]) / directions[:, 1]
    return np.minimum(np.where(np.isfinite(x), x, np.inf), np.where(np.isfinite(y), y, np.inf)).clip(1e-3)


def _blur_circular(values: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of a closed curve, truncated at four standard deviations.

    Not by scipy.ndimage, which takes longer to import than a second of video takes to render.
    """
    shifts = np.arange(-round(4 * sigma), round(4 * sigma) + 1)
    weights = np.exp(-0.5 * (shifts / sigma) ** 2)
    weights = weights / weights.sum()
    blurred = np.zeros_like(values)
    for weight, shift in zip(weights, shifts, strict=True):
        blurred = blurred + weight * np.roll(values, shift)
    return blurred


def _smoothstep(value: np.ndarray) -> np.ndarray:
    value = np.clip(value, 0, 1)
    return value * value * (3 - 2 * value)
