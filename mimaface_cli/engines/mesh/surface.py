"""The surface the photo is laid on: the face, finely subdivided, and a sheet around it for hair, ears, neck and
background. All of it lives in the 256 crop of the source.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import sparse

from mimaface_cli.face import camera, topology
from mimaface_cli.motion.rotation import rotation_matrix

SHEET_ANGLES = 96
# Rings of the sheet in multiples of the distance from the face's center to its oval.
SHEET_RINGS = np.array([0.80, 0.92, 1.0, 1.05, 1.12, 1.2, 1.3, 1.42, 1.56, 1.72, 1.9, 2.1, 2.35, 2.65, 3.0])
FACE_RIM = int(np.flatnonzero(SHEET_RINGS == 1.0)[0])


def subdivide_triangles(
    triangles: np.ndarray, count: int
) -> tuple[np.ndarray, sparse.csr_matrix, dict[tuple[int, int], int]]:
    """One step of Loop subdivision: T×3 triangles over `count` vertices to 4T×3 triangles, the sparse matrix that
    makes the new vertices (old ones first) from the old, and the new vertex on each edge. Rims keep their own curve.
    """
    opposite: dict[tuple[int, int], list[int]] = {}
    for tri in triangles.tolist():
        for k in range(3):
            a, b, c = tri[k], tri[(k + 1) % 3], tri[(k + 2) % 3]
            opposite.setdefault((min(a, b), max(a, b)), []).append(c)
    middle = {edge: count + k for k, edge in enumerate(opposite)}
    neighbors: list[list[int]] = [[] for _ in range(count)]
    rim: list[list[int]] = [[] for _ in range(count)]
    rows, columns, values = [], [], []

    def put(row: int, weights: dict[int, float]) -> None:
        rows.extend([row] * len(weights))
        columns.extend(weights)
        values.extend(weights.values())

    for (a, b), across in opposite.items():
        neighbors[a].append(b)
        neighbors[b].append(a)
        if len(across) == 2:
            put(middle[a, b], {a: 3 / 8, b: 3 / 8, across[0]: 1 / 8, across[1]: 1 / 8})
        else:
            rim[a].append(b)
            rim[b].append(a)
            put(middle[a, b], {a: 1 / 2, b: 1 / 2})
    for vertex in range(count):
        if len(rim[vertex]) == 2:
            put(vertex, {vertex: 3 / 4, rim[vertex][0]: 1 / 8, rim[vertex][1]: 1 / 8})
        elif rim[vertex] or not neighbors[vertex]:
            put(vertex, {vertex: 1.0})
        else:
            n = len(neighbors[vertex])
            beta = (5 / 8 - (3 / 8 + np.cos(2 * np.pi / n) / 4) ** 2) / n
            put(vertex, {vertex: 1 - n * beta, **{other: beta for other in neighbors[vertex]}})
    finer = []
    for a, b, c in triangles.tolist():
        ab, bc, ca = (middle[min(p, q), max(p, q)] for p, q in ((a, b), (b, c), (c, a)))
        finer += [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    matrix = sparse.csr_matrix((values, (rows, columns)), shape=(count + len(middle), count))
    return np.array(finer, np.int32), matrix, middle


@dataclass(frozen=True)
class FineFace:
    """triangles: T×3 of the subdivided skin; matrix: fine × 478; rings: name to indices of the fine vertices on it."""

    triangles: np.ndarray
    matrix: sparse.csr_matrix
    rings: dict[str, np.ndarray]


@lru_cache(maxsize=2)
def build_fine_face(face: bytes) -> FineFace:
    """The subdivided skin of a T×3 int32 triangle list given as bytes (so that it is made once)."""
    triangles = np.frombuffer(face, np.int32).reshape(-1, 3)
    fine, matrix, middle = subdivide_triangles(triangles, 478)

    def on(ring: np.ndarray) -> np.ndarray:
        edges = [middle[min(a, b), max(a, b)] for a, b in zip(ring.tolist(), np.roll(ring, -1).tolist())]
        return np.stack([ring, edges], 1).ravel()

    named = {
        "oval": topology.OVAL,
        "left_eye": topology.LEFT_EYE,
        "right_eye": topology.RIGHT_EYE,
        "mouth": topology.INNER_LIPS,
    }
    return FineFace(fine, matrix, {name: on(ring) for name, ring in named.items()})


@dataclass(frozen=True)
class SurroundingSheet:
    """What surrounds the face, as a polar grid of R rings × A angles flattened ring by ring.

    texture: V×2, where each vertex lies in the source crop; head: V×3, its place on the head in the head's own frame;
    weight: V, how much of the head's motion it follows (0: background); stretch: V, how much of the rim's expression
    movement it takes on; rim: A×2 indices into the oval ring and share: A, the rim point between them; triangles.
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
    """oval: K×2 crop pixels and placed: K×3 camera space of the face's rim; pose: 6 of the source; frame: left, top,
    right, bottom of the picture in crop pixels.
    """
    center = oval.mean(0)
    angles = np.linspace(-np.pi, np.pi, SHEET_ANGLES, endpoint=False)
    directions = np.stack([np.cos(angles), np.sin(angles)], -1)  # picture axes: y down
    radius, rim, share = intersect_ring(center, directions, oval)
    radius_smooth = _circular_blur(radius, 2.0)
    depth_rim = (1 - share) * placed[rim[:, 0], 2] + share * placed[rim[:, 1], 2]

    up, down, side = (np.clip(v, 0, 1) ** 2 for v in (-directions[:, 1], directions[:, 1], np.abs(directions[:, 0])))
    total = up + down + side
    blend = lambda u, d, s: (u * up + d * down + s * side) / total  # noqa: E731
    rigid_until = blend(1.75, 1.0, 1.35)  # the crown moves as one with the face, the neck bends from the chin on
    still_from = blend(3.0, 2.2, 2.5)
    # A picture's edge stays where it is, unless the face itself touches it.
    edge = intersect_box(center, directions, frame) / radius
    still_from = np.minimum(still_from, np.maximum(edge, 1.3))
    rigid_until = np.minimum(rigid_until, 1 + 0.65 * (still_from - 1))

    factor = SHEET_RINGS[:, None]
    # Inside the rim and just outside rings follow the true rim, further out a smoother one.
    near = np.clip((factor - 1) / 0.5, 0, 1)
    reach = factor * ((1 - near) * radius + near * radius_smooth)
    texture = center + reach[..., None] * directions
    weight = 1 - _smoothstep((factor - rigid_until) / (still_from - rigid_until))
    stretch = np.where(factor <= 1, 1.0, 1 - _smoothstep((factor - 1) / blend(0.35, 0.75, 0.4)))

    # Behind the rim the head curves away like a skull; the neck stays roughly in the plane of the jaw.
    unit = camera.CAMERA_DISTANCE / (camera.FOCAL_PER_SIZE * camera.CROP_SIZE)
    slope = blend(0.40, 0.35, 0.45)
    behind = slope * np.clip(factor - 1, 0, 0.55) * radius * unit
    depth = camera.CAMERA_DISTANCE - (_circular_blur(depth_rim, 1.0) - behind)
    depth = depth + np.where(factor < 1, 0.25, 0.0)  # under the face, only seen where that leaves a gap
    points = camera.unproject(texture.reshape(-1, 2), depth.ravel())
    head = (points - pose[3:]) @ rotation_matrix(pose[:3])
    rings, count = len(SHEET_RINGS), SHEET_ANGLES
    index = np.arange(rings * count).reshape(rings, count)
    inner, outer = index[:-1], index[1:]
    turned = lambda grid: np.roll(grid, -1, 1)  # noqa: E731
    triangles = np.concatenate(
        [
            np.stack([inner, outer, turned(outer)], -1).reshape(-1, 3),
            np.stack([inner, turned(outer), turned(inner)], -1).reshape(-1, 3),
        ]
    )
    flat = lambda grid: np.broadcast_to(grid, (rings, count)).ravel().copy()  # noqa: E731
    return SurroundingSheet(
        texture.reshape(-1, 2), head, flat(weight), flat(stretch), rim, share, triangles.astype(np.int32)
    )


def intersect_ring(center: np.ndarray, directions: np.ndarray, ring: np.ndarray) -> tuple[np.ndarray, ...]:
    """Where rays (A×2) from a center leave a closed polygon (K×2): distance A, the edge's two corners A×2, and the
    share of the second. Rays that miss (a rim that does not enclose the center) take the corner nearest in angle.
    """
    start, end = ring, np.roll(ring, -1, 0)
    along = end - start
    offset = start - center
    cross = lambda a, b: a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]  # noqa: E731
    denominator = cross(directions[:, None], along[None])
    safe = np.where(np.abs(denominator) < 1e-9, 1e-9, denominator)
    distance = cross(offset[None], along[None]) / safe
    position = cross(offset[None], directions[:, None]) / safe
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


def intersect_box(center: np.ndarray, directions: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Distance (A) from a center inside a box (left, top, right, bottom) to its sides along rays A×2."""
    with np.errstate(divide="ignore"):
        x = np.where(directions[:, 0] > 0, box[2] - center[0], box[0] - center[0]) / directions[:, 0]
        y = np.where(directions[:, 1] > 0, box[3] - center[1], box[1] - center[1]) / directions[:, 1]
    return np.minimum(np.where(np.isfinite(x), x, np.inf), np.where(np.isfinite(y), y, np.inf)).clip(1e-3)


def _circular_blur(values: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian, to four deviations; not by scipy.ndimage, which takes longer to load than a second of video to draw."""
    shifts = np.arange(-round(4 * sigma), round(4 * sigma) + 1)
    weights = np.exp(-0.5 * (shifts / sigma) ** 2)
    return sum(weight * np.roll(values, shift) for weight, shift in zip(weights / weights.sum(), shifts))


def _smoothstep(value: np.ndarray) -> np.ndarray:
    value = np.clip(value, 0, 1)
    return value * value * (3 - 2 * value)
