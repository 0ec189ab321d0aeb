"""Mesh of a whole head around face478: rings behind the face, light, and the render of coefficients alone."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from scipy import sparse

from mimaface_cli.face import camera, topology
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.rasterizer import interpolate, rasterize
from mimaface_cli.face.shading import AMBIENT, sh_basis
from mimaface_cli.motion.coefficients import LIGHT_DIM

RIM = len(topology.OVAL)  # vertices of the face's outline, and of each ring behind it
RINGS = 6
SUPERSAMPLING = 2  # rendered pixels for one pixel of the image, along each axis
_FACE_VERTICES = 478
_LIGHT_RANGE = 0.06, 2.0
_NOSE = 1  # index of a vertex with a normal that points out of the face


@dataclass(frozen=True)
class HeadMesh:
    """Triangles of a head: face, eyes, mouth, then the rings behind the face.

    Attributes:
        triangles: (T, 3) int32 vertex indices: 478 landmarks, then RINGS × RIM vertices.
        skin: Number of triangles up to the end of the face.
        eyes: Number of triangles up to the end of the eyes.
        mouth: Number of triangles up to the end of the mouth.
        gather: (V, T) sparse matrix that sums the normals of the triangles at each vertex.
    """

    triangles: np.ndarray
    skin: int
    eyes: int
    mouth: int
    gather: sparse.csr_matrix


def build_head_mesh(model: Face478) -> HeadMesh:
    """Return the triangles of a whole head around a face model."""
    return _build_head_mesh((model.face.tobytes(), model.eyes.tobytes(), model.mouth.tobytes()))


@lru_cache(maxsize=2)
def _build_head_mesh(groups: tuple[bytes, bytes, bytes]) -> HeadMesh:
    face, eyes, mouth = (np.frombuffer(group, np.int32).reshape(-1, 3) for group in groups)
    rings = np.concatenate([topology.OVAL[None], _FACE_VERTICES + np.arange(RINGS * RIM).reshape(-1, RIM)])
    inner, outer = rings[:-1], rings[1:]
    next_inner, next_outer = np.roll(inner, -1, 1), np.roll(outer, -1, 1)
    upper = np.stack([inner, outer, next_outer], -1).reshape(-1, 3)
    lower = np.stack([inner, next_outer, next_inner], -1).reshape(-1, 3)
    triangles = np.concatenate([face, eyes, mouth, upper, lower]).astype(np.int32)
    rows, columns = triangles.ravel(), np.repeat(np.arange(len(triangles)), 3)
    shape = (int(triangles.max()) + 1, len(triangles))
    gather = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape)
    skin_end, eyes_end, mouth_end = (int(end) for end in np.cumsum([len(face), len(eyes), len(mouth)]))
    return HeadMesh(triangles, skin_end, eyes_end, mouth_end, gather)


def project_vertices(vertices: np.ndarray, pose: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pose vertices and project them.

    Args:
        vertices: (V, 3) in the head's frame, model units.
        pose: (6,) angles and translation.
        size: Width and height of the image in pixels.

    Returns:
        Posed vertices (V, 3), pixels (V, 2) and distances from the camera (V,).
    """
    placed = camera.apply_pose(vertices, pose)
    pixels, depth = camera.project(placed, size)
    return placed, pixels, depth


def vertex_light(placed: np.ndarray, mesh: HeadMesh, illumination: np.ndarray) -> np.ndarray:
    """Return the light on each vertex.

    Args:
        placed: (V, 3) posed vertices: the face alone, or the whole head.
        mesh: Triangles of the head.
        illumination: (27,) spherical-harmonic coefficients in camera axes; the light does not turn with the head.

    Returns:
        (V, 3) factors on the albedo; 1 leaves it unchanged.
    """
    triangles = mesh.triangles if len(placed) > _FACE_VERTICES else mesh.triangles[: mesh.mouth]
    a, b, c = (placed[triangles[:, corner]] for corner in range(3))
    normals = mesh.gather[: len(placed), : len(triangles)] @ np.cross(b - a, c - a)
    normals *= np.sign(normals[[_NOSE]][:, 2:] + 1e-9)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    light = illumination.reshape(3, LIGHT_DIM // 3).copy()
    light[:, 0] += AMBIENT
    return np.clip(sh_basis(normals) @ light.T, *_LIGHT_RANGE)


def render_coefficients(
    model: Face478,
    identity: np.ndarray,
    texture: np.ndarray,
    illumination: np.ndarray,
    expression: np.ndarray,
    pose: np.ndarray,
    size: int,
) -> np.ndarray:
    """Render the condition image of face478: what the coefficients describe, without gaze, hair or skin marks.

    Args:
        model: The face model.
        identity: (80,) coefficients.
        texture: (80,) coefficients.
        illumination: (27,) coefficients.
        expression: (64,) coefficients.
        pose: (6,) angles and translation.
        size: Width and height S in pixels.

    Returns:
        (S, S, 3) uint8 RGB on black.

    Source: paper, section 3.1 (rendered image I_R).
    """
    mesh, fine_size = build_head_mesh(model), size * SUPERSAMPLING
    placed, pixels, depth = project_vertices(model.shape(identity, expression), pose, fine_size)
    triangles = mesh.triangles[: mesh.mouth]
    light = vertex_light(placed, mesh, illumination)
    index, weights, _ = rasterize(pixels, depth, triangles, fine_size, fine_size)
    frame = interpolate(index, weights, triangles, model.albedo(texture) * light)
    return np.clip(cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA) + 0.5, 0, 255).astype(np.uint8)
