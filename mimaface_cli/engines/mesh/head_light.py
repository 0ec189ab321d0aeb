"""Light on a turning head: the ratio of the fitted light at the new and the old normals."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mimaface_cli.engines.mesh.head_geometry import HeadGeometry
from mimaface_cli.engines.mesh.vertex_smoothing import smooth_over_mesh
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.face.shading import AMBIENT, sh_basis, vertex_normals
from mimaface_cli.motion.rotation import rotation_matrix

_MAX_LOG_RATIO = 0.12  # the light changes by less than a factor of exp(0.12)
_SMOOTHING_STEPS = 30
_MIN_LIGHT = 0.1  # of the ambient light


@dataclass(frozen=True)
class HeadLight:
    """The light on a head.

    Attributes:
        normals: (F, 3) normals of the fine face in the photo, camera axes.
        smooth_normals: (F, 3) the same, smoothed over the face.
        coefficients: (3, 9) spherical-harmonic light by color channel, or None if it is unknown.
        rotation: (3, 3) rotation of the head in the photo.
        rim: For each surface around the face, the vertex of the fine face nearest to each of its vertices.
        weight: (V,) share of the head's motion that each vertex follows.
    """

    normals: np.ndarray
    smooth_normals: np.ndarray
    coefficients: np.ndarray | None
    rotation: np.ndarray
    rim: list[np.ndarray]
    weight: np.ndarray

    @cached_property
    def rest_facing(self) -> np.ndarray:
        """(F,) the cosine of `facing` in the photo."""
        return np.maximum(self.normals[:, 2], 0)

    def facing(self, pose: np.ndarray) -> np.ndarray:
        """Return the cosine (F,) between each vertex's normal and the camera's axis at a pose (6,), at least 0."""
        turn = rotation_matrix(pose[:3]) @ self.rotation.T
        return np.maximum(self.normals @ turn[2], 0)

    @cached_property
    def _rest_light(self) -> np.ndarray:
        """(F, 1) logarithm of the light in the photo."""
        return self._log_light(self.smooth_normals)

    def _log_light(self, normals: np.ndarray) -> np.ndarray:
        """Return the logarithm (F, 1) of the light on normals (F, 3), averaged over the channels."""
        if self.coefficients is None:
            raise ValueError("the light is unknown")
        light = np.maximum(sh_basis(normals) @ self.coefficients.T, _MIN_LIGHT)
        return np.asarray(np.log(light).mean(1, keepdims=True))

    def ratio(self, pose: np.ndarray) -> np.ndarray | None:
        """Return the factor (V, 3) on the colors of each vertex at a pose (6,), exactly 1 at the photo's pose.

        None where nothing changes.
        """
        turn = rotation_matrix(pose[:3]) @ self.rotation.T
        if self.coefficients is None or np.allclose(turn, np.eye(3), atol=1e-3):
            return None
        # One factor for all channels: a gray photo stays gray.
        change = self._log_light(self.smooth_normals @ turn.T) - self._rest_light
        face = np.repeat(np.exp(_MAX_LOG_RATIO * np.tanh(change / _MAX_LOG_RATIO)), 3, 1)
        # Hair and neck take the light of the face's rim: no edge shows between them.
        factors = np.concatenate([face, *(face[vertices] for vertices in self.rim)])
        return 1 + self.weight[:, None] * (factors - 1)  # shoulders do not turn


def build_head_light(portrait: Portrait, geometry: HeadGeometry) -> HeadLight:
    """Build the light on a portrait's head.

    Args:
        portrait: The portrait; its illumination may be unknown.
        geometry: Its head.

    Source: spherical harmonics as in `mimaface_cli.face.shading`.
    """
    normals = vertex_normals(geometry.placed, geometry.fine.triangles)
    normals *= np.sign(np.median(normals[:, 2]))  # the model's triangles may have either orientation
    # The fitted light is smooth: folds around nose and lips must not flicker as the head turns.
    smooth = smooth_over_mesh(normals, geometry.fine.triangles, _SMOOTHING_STEPS)
    smooth /= np.maximum(np.linalg.norm(smooth, axis=1, keepdims=True), 1e-6)
    coefficients = None
    if portrait.illumination is not None:
        coefficients = portrait.illumination.reshape(3, 9).astype(np.float64).copy()
        coefficients[:, 0] += AMBIENT
    oval = geometry.fine.rings["oval"]
    rim = [np.tile(oval[surface.rim[:, 0]], len(surface.head) // len(surface.rim)) for surface in geometry.surfaces]
    return HeadLight(normals, smooth, coefficients, rotation_matrix(portrait.pose[:3]), rim, geometry.weight)
