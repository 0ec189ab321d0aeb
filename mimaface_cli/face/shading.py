"""Spherical-harmonic shading with 27 illumination coefficients: nine per color channel.

Source: the released coefficient code; reference values from it are in tests/goldens (kind `bfm`).
"""

import numpy as np

AMBIENT = 0.8  # added to the first coefficient of each channel: all-zero coefficients mean uniform light
_BAND1 = 2 * np.pi / np.sqrt(3) * np.sqrt(3) / np.sqrt(4 * np.pi)
_BAND2 = 2 * np.pi / np.sqrt(8) * 3 * np.sqrt(5) / np.sqrt(12 * np.pi)
_SCALE = np.array(
    [np.pi / np.sqrt(4 * np.pi), _BAND1, _BAND1, _BAND1, _BAND2, _BAND2, _BAND2 / (2 * np.sqrt(3)), _BAND2, _BAND2 / 2]
)


def sh_basis(normals: np.ndarray) -> np.ndarray:
    """Evaluate the nine spherical-harmonic basis functions.

    Args:
        normals: (..., 3) unit normals.

    Returns:
        (..., 9) basis values.
    """
    x, y, z = np.moveaxis(normals, -1, 0)
    terms = [np.ones_like(x), -y, z, -x, x * y, -y * z, 3 * z**2 - 1, -x * z, x**2 - y**2]
    return np.stack(terms, -1) * _SCALE


def shade(albedo: np.ndarray, normals: np.ndarray, illumination: np.ndarray) -> np.ndarray:
    """Shade an albedo.

    Args:
        albedo: (V, 3) unlit vertex colors.
        normals: (V, 3) unit normals in camera axes.
        illumination: (27,) coefficients, nine per channel.

    Returns:
        (V, 3) lit vertex colors, not clipped.
    """
    light = illumination.reshape(3, 9).astype(np.float64).copy()
    light[:, 0] += AMBIENT
    return albedo * (sh_basis(normals) @ light.T)


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Compute area-weighted unit normals.

    Args:
        vertices: (..., V, 3) vertices.
        triangles: (T, 3) vertex indices.

    Returns:
        (..., V, 3) unit normals.
    """
    a, b, c = (vertices[..., triangles[:, corner], :] for corner in range(3))
    face_normals = np.cross(a - b, b - c)
    normals = np.zeros_like(vertices)
    for corner in range(3):
        index = (..., triangles[:, corner], slice(None))
        np.add.at(normals, index, face_normals)  # type: ignore[arg-type]  # the stub allows no tuples with "..."
    return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
