"""Illumination and texture coefficients of face478 from the colors at the landmarks."""

import numpy as np

from mimaface_cli.face import shading, topology
from mimaface_cli.face.face478 import VERTICES, Face478
from mimaface_cli.motion.coefficients import TEXTURE_DIM

_COLOR_NOISE = 12.0  # gray levels


def sample_colors(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the pixel colors (478, 3) at landmarks (478, 2); landmarks outside the image get the nearest pixel."""
    column = np.clip(points[:, 0].astype(int), 0, image.shape[1] - 1)
    row = np.clip(points[:, 1].astype(int), 0, image.shape[0] - 1)
    return image[row, column].astype(np.float64)


def fit_illumination(
    albedo: np.ndarray, normals: np.ndarray, colors: np.ndarray, regularization: float = 20.0
) -> np.ndarray:
    """Fit the illumination that turns an albedo into observed colors (ridge regression).

    Args:
        albedo: (478, 3) unlit vertex colors.
        normals: (478, 3) posed unit normals.
        colors: (478, 3) observed colors in 0..255.
        regularization: Strength of the ridge.

    Returns:
        (27,) illumination coefficients.
    """
    basis = shading.sh_basis(normals)
    lit_basis = basis * (albedo.T[:, :, None] / 255.0)  # (3, 478, 9)
    targets = colors.T / 255.0 - shading.AMBIENT * lit_basis[:, :, 0]
    transposed = np.swapaxes(lit_basis, 1, 2)
    hessians = transposed @ lit_basis + regularization * np.eye(9) / 10
    return np.linalg.solve(hessians, transposed @ targets[:, :, None]).ravel()


def fit_texture(model: Face478, colors: np.ndarray, normals: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """Fit the texture of a person to several frames, after removing the illumination of each.

    Args:
        model: The face model.
        colors: (K, 478, 3) observed colors in 0..255.
        normals: (478, 3) unposed unit normals.
        rotations: (K, 3, 3) head rotations.

    Returns:
        (80,) texture coefficients.
    """
    is_skin = np.ones(VERTICES, bool)
    is_skin[topology.IRIS] = False
    albedos = []
    for frame_colors, rotation in zip(colors, rotations, strict=True):
        posed_normals = normals @ rotation.T
        illumination = fit_illumination(model.albedo_mean, posed_normals, frame_colors)
        shading_factors = shading.shade(np.ones((VERTICES, 3)), posed_normals, illumination)
        albedos.append(frame_colors / np.clip(shading_factors, 0.2, 3.0))
    residual = (np.median(albedos, axis=0) - model.albedo_mean)[is_skin].ravel()
    basis = model.texture_basis[is_skin].reshape(-1, TEXTURE_DIM)
    return np.linalg.solve(basis.T @ basis + _COLOR_NOISE**2 * np.eye(TEXTURE_DIM), basis.T @ residual)
