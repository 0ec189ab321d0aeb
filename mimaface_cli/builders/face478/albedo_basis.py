"""Albedo mean and texture columns C of face478."""

import numpy as np

from mimaface_cli.builders.face478.regression import compute_covariance, compute_principal_columns
from mimaface_cli.builders.face478.symmetry import mirror_covariance
from mimaface_cli.face.shading import AMBIENT, sh_basis
from mimaface_cli.motion.coefficients import TEXTURE_DIM

ALBEDO_LIMIT = 90.0  # gray levels from the mean; hair, hats and hands over the face exceed it
_ROUNDS = 4
_LIGHT_PRIOR = 20.0  # for each vertex


def build_albedo(colors: np.ndarray, normals: np.ndarray, mirror: np.ndarray) -> dict[str, np.ndarray]:
    """Build the albedo mean and C; light and albedo are estimated in alternation.

    Args:
        colors: N×478×3 colors at the landmarks, 0..255.
        normals: N×478×3 unit normals in camera axes.
        mirror: Counterpart of each vertex, 478.

    Returns:
        `albedo_mean` 478×3 and `texture_basis` 478×3×80.
    """
    colors = colors.astype(np.float64)
    basis = sh_basis(normals)
    mean = colors.mean(0)
    for _ in range(_ROUNDS):
        albedo = remove_light(colors, basis, mean)
        mean = np.median(np.concatenate([albedo, albedo[:, mirror]]), 0)
    samples = limit_albedo_deviations(albedo, mean)
    covariance = compute_covariance(samples.reshape(len(samples), -1), np.ones(len(samples)))
    texture = compute_principal_columns(mirror_covariance(covariance, mirror, np.ones(3)), TEXTURE_DIM)
    return {"albedo_mean": mean, "texture_basis": texture}


def remove_light(colors: np.ndarray, basis: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Divide colors by the spherical-harmonic light that explains them best on the mean albedo.

    Args:
        colors: N×478×3.
        basis: N×478×9 spherical harmonics of the normals.
        mean: 478×3 mean albedo.

    Returns:
        N×478×3 albedo.
    """
    lit = basis[..., None] * mean[None, :, None, :]  # N×478×9×3
    gram = np.einsum("nvbc,nvdc->ncbd", lit, lit) + _LIGHT_PRIOR * len(mean) * np.eye(9)
    # The prior is uniform light of strength one, so that only clear evidence counts as shading.
    uniform = AMBIENT * np.eye(9)[0]
    right = np.einsum("nvbc,nvc->ncb", lit, colors) + _LIGHT_PRIOR * len(mean) * uniform
    light = np.linalg.solve(gram, right[..., None])[..., 0]  # N×3×9
    return colors / np.einsum("nvb,ncb->nvc", basis, light).clip(0.2, 3.0)


def limit_albedo_deviations(albedo: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return N×478×3 differences from the mean albedo, limited to ALBEDO_LIMIT."""
    return np.clip(albedo - mean, -ALBEDO_LIMIT, ALBEDO_LIMIT)
