"""Observations of random faces of the shipped model."""

import numpy as np

from mimaface_cli.builders.face478.observations import FaceData, Observations
from mimaface_cli.face.face478 import Face478
from mimaface_cli.motion.rotation import rotation_matrix


def make_face_data(model: Face478, stills: int, clips: int, frames: int, seed: int = 0) -> FaceData:
    """Make stills of different people and clips of moving faces."""
    rng = np.random.default_rng(seed)
    return FaceData(_observe(model, stills, 1, True, rng), _observe(model, clips, frames, False, rng))


def _observe(model: Face478, subjects: int, frames: int, has_colors: bool, rng: np.random.Generator) -> Observations:
    count = subjects * frames
    expression = np.zeros((count, 64))
    expression[:, 1:52] = np.clip(rng.normal(0.1, 0.2, (count, 51)), 0, 1)
    expression[:, 52:] = rng.normal(0, 0.2, (count, 12))
    identity = np.repeat(rng.normal(size=(subjects, 80)), frames, 0)
    rotation = rotation_matrix(rng.normal(0, 0.1, (count, 3)))
    shapes = np.stack([model.shape(*face) for face in zip(identity, expression, strict=True)])
    points = np.einsum("nij,nvj->nvi", rotation, shapes) * 300 + rng.normal(0, 0.3, shapes.shape)
    albedo = np.stack([model.albedo(rng.normal(size=80)) for _ in range(count)]) if has_colors else None
    return Observations(points, expression[:, :52], rotation, np.repeat(np.arange(subjects), frames), albedo)
