"""Rotations of the head: Euler angles of the pose coefficients, rotation vectors and matrices."""

from collections.abc import Sequence
from math import cos, sin
from typing import Any

import numpy as np
import numpy.typing as npt


def rotation_matrix(angles: npt.ArrayLike) -> np.ndarray:
    """Return the rotation R = Rz·Ry·Rx, which acts on column vectors.

    x points to the subject's left (right in the image), y up, z to the camera.

    Args:
        angles: (..., 3), Euler angles about x, y, z in radians.

    Returns:
        (..., 3, 3) float64.
    """
    angles = np.asarray(angles, np.float64)
    if angles.ndim == 1:  # scalars take an eighth of the time
        return np.array(_rotation_rows(*((cos(angle), sin(angle)) for angle in angles.tolist())))
    rows = _rotation_rows(*np.moveaxis(np.stack([np.cos(angles), np.sin(angles)]), -1, 0))
    return np.stack([np.stack(row, -1) for row in rows], -2)


def _rotation_rows(x: Sequence[Any], y: Sequence[Any], z: Sequence[Any]) -> tuple[tuple[Any, ...], ...]:
    """Return the rows of a rotation; each argument is the cosine and the sine of an Euler angle."""
    (cx, sx), (cy, sy), (cz, sz) = x, y, z
    return (
        (cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx),
        (sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx),
        (-sy, cy * sx, cy * cx),
    )


def euler_angles(rotation: np.ndarray) -> np.ndarray:
    """Return the Euler angles of a rotation, the inverse of `rotation_matrix`.

    Args:
        rotation: (..., 3, 3).

    Returns:
        (..., 3), angles about x, y, z in radians; y is within ±π/2.
    """
    y = np.arcsin(np.clip(-rotation[..., 2, 0], -1.0, 1.0))
    x = np.arctan2(rotation[..., 2, 1], rotation[..., 2, 2])
    z = np.arctan2(rotation[..., 1, 0], rotation[..., 0, 0])
    return np.stack([x, y, z], -1)


def rotation_from_vector(vector: np.ndarray) -> np.ndarray:
    """Return the rotation about a vector by an angle equal to its length, by Rodrigues' formula.

    Args:
        vector: (3,), in radians.

    Returns:
        (3, 3).
    """
    x, y, z = vector.tolist()
    angle = (x * x + y * y + z * z) ** 0.5
    if angle < 1e-12:
        return np.eye(3)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]]) / angle
    return np.eye(3) + sin(angle) * cross + (1 - cos(angle)) * cross @ cross
