"""A face-like surface with the fields of BFM09_model_info.mat: half an egg with a nose, eyes and a mouth."""

from pathlib import Path

import numpy as np
from scipy.io import savemat

ROWS, COLUMNS = 22, 18


def write_face(path: Path, seed: int) -> None:
    """Write the model, of ROWS * COLUMNS vertices within about one unit, the face toward +z, y up."""
    rng = np.random.default_rng(seed)
    v, u = np.meshgrid(np.linspace(1, -1, ROWS), np.linspace(-1, 1, COLUMNS), indexing="ij")
    angle, height = u * 1.25, v * 1.15
    x = 0.78 * np.sin(angle) * np.cos(height * 0.7)
    y = 1.05 * np.sin(height)
    nose = np.exp(-((x / 0.13) ** 2) - ((y + 0.05) / 0.28) ** 2)
    z = 0.75 * np.cos(angle) * np.cos(height * 0.8) - 0.35 + 0.22 * nose
    points = np.stack([x, y, z], -1).reshape(-1, 3)

    mouth = np.exp(-((points[:, 0] / 0.3) ** 2) - ((points[:, 1] + 0.5) / 0.09) ** 2)
    eyes = sum(
        np.exp(-(((points[:, 0] - side) / 0.13) ** 2) - ((points[:, 1] - 0.28) / 0.07) ** 2) for side in (-0.3, 0.3)
    )
    texture = np.array([205.0, 160.0, 140.0]) - mouth[:, None] * [10.0, 90.0, 80.0] - eyes[:, None] * [150, 110, 90]

    quads = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    a, b, c, d = (part.ravel() for part in (quads[:-1, :-1], quads[:-1, 1:], quads[1:, :-1], quads[1:, 1:]))
    triangles = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])
    neighbors: list[list[int]] = [[] for _ in points]
    for index, triangle in enumerate(triangles):
        for vertex in triangle:
            neighbors[vertex].append(index)
    faces = np.array([(triangles_of_vertex + [len(triangles)] * 8)[:8] for triangles_of_vertex in neighbors])

    jaw = (mouth + np.clip(-points[:, 1] - 0.45, 0, None))[:, None] * [0.0, -0.05, 0.0]
    fields = {
        "meanshape": points.reshape(1, -1),
        "meantex": texture.clip(20, 250).reshape(1, -1),
        "idBase": _waves(rng, points, 80, 0.006),
        "exBase": _waves(rng, points, 64, 0.006) * np.repeat(0.2 + mouth + eyes, 3)[:, None],
        "texBase": _waves(rng, points, 80, 2.0),
        "tri": triangles + 1,
        "point_buf": faces + 1,
        "keypoints": _nearest(points, _landmarks())[None] + 1,
        "skinmask": np.ones((1, len(points))),
    }
    fields["exBase"][:, 0] = jaw.ravel()
    integer_fields = {"tri", "point_buf", "keypoints"}
    savemat(path, {k: value.astype(np.int32 if k in integer_fields else np.float32) for k, value in fields.items()})


def _waves(rng: np.random.Generator, points: np.ndarray, count: int, size: float) -> np.ndarray:
    """Return smooth random displacements (3V, count)."""
    direction, phase = rng.normal(size=(count, 3, 3)) * 2.0, rng.uniform(0, 2 * np.pi, (count, 3))
    return size * np.cos(np.einsum("vi,cki->vkc", points, direction) + phase.T).reshape(-1, count)


def _landmarks() -> np.ndarray:
    """Return the usual 68 landmarks (68, 2) in the plane of the face: jaw, brows, nose, eyes, mouth."""
    turn = np.linspace(-1.25, 1.25, 17)
    jaw = np.stack([0.68 * np.sin(turn), 0.1 - 0.95 * np.cos(turn)], 1)
    across = np.linspace(-0.15, 0.15, 5)
    right = np.stack([across - 0.3, 0.5 - 2 * across**2], 1)
    bridge = np.stack([np.zeros(4), np.linspace(0.28, -0.05, 4)], 1)
    base = np.stack([np.linspace(-0.14, 0.14, 5), np.full(5, -0.18)], 1)
    ring = np.linspace(np.pi, -np.pi, 7)[:6]
    eye = np.stack([0.12 * np.cos(ring), 0.05 * np.sin(ring)], 1)
    ring = np.linspace(np.pi, -np.pi, 13)[:12]
    outer = np.stack([0.28 * np.cos(ring), -0.5 + 0.11 * np.sin(ring)], 1)
    ring = np.linspace(np.pi, -np.pi, 9)[:8]
    inner = np.stack([0.2 * np.cos(ring), -0.5 + 0.04 * np.sin(ring)], 1)
    parts = (
        jaw,
        right,
        right + np.array([0.6, 0]),
        bridge,
        base,
        eye + np.array([-0.3, 0.28]),
        eye + np.array([0.3, 0.28]),
        outer,
        inner,
    )
    return np.concatenate(parts)


def _nearest(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[None, :, :2] - targets[:, None], axis=-1).argmin(1)
