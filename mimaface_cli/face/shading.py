"""Spherical-harmonic light of the release (27 coefficients, 9 a color channel; goldens `bfm`)."""

import numpy as np

AMBIENT = 0.8  # added to the first coefficient of each channel: all-zero coefficients are even light
_BAND1 = 2 * np.pi / np.sqrt(3) * np.sqrt(3) / np.sqrt(4 * np.pi)
_BAND2 = 2 * np.pi / np.sqrt(8) * 3 * np.sqrt(5) / np.sqrt(12 * np.pi)
_SCALE = np.array(
    [np.pi / np.sqrt(4 * np.pi), _BAND1, _BAND1, _BAND1, _BAND2, _BAND2, _BAND2 / (2 * np.sqrt(3)), _BAND2, _BAND2 / 2]
)


def sh_basis(normals: np.ndarray) -> np.ndarray:
    """…×3 unit normals to the 9 basis values …×9."""
    x, y, z = np.moveaxis(normals, -1, 0)
    terms = [np.ones_like(x), -y, z, -x, x * y, -y * z, 3 * z**2 - 1, -x * z, x**2 - y**2]
    return np.stack(terms, -1) * _SCALE


def shade(albedo: np.ndarray, normals: np.ndarray, illumination: np.ndarray) -> np.ndarray:
    """Vertex colors V×3 (not clipped) of an albedo V×3 under 27 light coefficients, channel by channel."""
    light = illumination.reshape(3, 9).astype(np.float64).copy()
    light[:, 0] += AMBIENT
    return albedo * (sh_basis(normals) @ light.T)


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals …×V×3 of …×V×3 vertices."""
    a, b, c = (vertices[..., triangles[:, corner], :] for corner in range(3))
    faces = np.cross(a - b, b - c)
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, (..., triangles[:, corner], slice(None)), faces)
    return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
