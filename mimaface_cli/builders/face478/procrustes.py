"""Similarity alignment of faces, and their mean shape."""

import numpy as np

from mimaface_cli.builders.face478.observations import Observations
from mimaface_cli.builders.face478.symmetry import MIRROR_SIGNS, pair_vertices
from mimaface_cli.face import topology


def align_faces(points: np.ndarray, target: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Align faces to a target by weighted least squares over rotation, scale and translation.

    Args:
        points: N×V×3.
        target: V×3.
        weight: V vertex weights.

    Returns:
        The aligned points N×V×3 and rotations R N×3×3 with aligned = scale · (points − center) @ R.

    Source: S. Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991.
    """
    weight = weight / weight.sum()
    centered = points - np.einsum("nvi,v->ni", points, weight)[:, None]
    middle = weight @ target
    covariance = np.einsum("nvi,v,vj->nij", centered, weight, target - middle)
    u, s, vt = np.linalg.svd(covariance)
    sign = np.sign(np.linalg.det(u @ vt))  # -1 where the best orthogonal matrix is a reflection
    s[:, 2] *= sign
    u[:, :, 2] *= sign[:, None]
    rotation = u @ vt
    scale = s.sum(1) / np.einsum("nvi,v,nvi->n", centered, weight, centered)
    return scale[:, None, None] * (centered @ rotation) + middle, rotation


def compute_mean_shape(observations: Observations, rounds: int = 10) -> np.ndarray:
    """Return the average face 478×3, upright and frontal by the landmark model's axes, with an RMS radius of 1."""
    mean = observations.points[0] - observations.points[0].mean(0)
    weight = np.ones(len(mean))
    for _ in range(rounds):
        mean /= np.sqrt((mean**2).sum(1).mean())
        aligned, rotation = align_faces(observations.points, mean, weight)
        mean = aligned.mean(0)
    u, _, vt = np.linalg.svd(np.einsum("nji,njk->ik", rotation, observations.rotation))
    mean = mean @ (u @ vt)
    mirrored = mean[pair_vertices(mean)] * MIRROR_SIGNS
    return (mean + mirrored) / 2


def compute_stable_weights(mean: np.ndarray) -> np.ndarray:
    """Return the vertex weights V for the alignment of moving faces.

    The bony upper face determines the pose; jaw, lips and lids hardly count, irises not at all.

    Args:
        mean: V×3 mean face with an RMS radius of 1.
    """
    height = np.clip((mean[:, 1] + 0.55) / 0.5, 0.0, 1.0)
    weight = 0.05 + 0.95 * height**2 * (3 - 2 * height)
    weight[topology.EYES] *= 0.2
    weight[topology.IRIS] = 0.0
    return weight


def compute_head_angles(rotation: np.ndarray) -> np.ndarray:
    """Return yaw and pitch N×2 (rad) of N×3×3 canonical-to-camera rotations."""
    yaw = np.arctan2(rotation[:, 0, 2], rotation[:, 2, 2])
    pitch = np.arctan2(-rotation[:, 1, 2], np.hypot(rotation[:, 0, 2], rotation[:, 2, 2]))
    return np.stack([yaw, pitch], -1)
