"""The Basel Face Model 2009 as D3DFR's coefficients use it: shape, texture, light, pose and landmarks."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimaface_cli.errors import InputError, WeightsError
from mimaface_cli.face.camera import CAMERA_DISTANCE, CROP_SIZE, FOCAL_PER_SIZE, rotation_matrix
from mimaface_cli.face.kernels import kernel
from mimaface_cli.face.shading import shade

_MAX_VERTICES = 1_000_000


@kernel(fastmath={"contract"})
def _combine(basis, coefficients, out):
    # The order of summation behind the recorded release numbers: four lanes of fused multiply-adds, four deep. Any
    # other differs in the last bit of a vertex, which the normals of thin triangles at the rim magnify a hundredfold.
    rows, columns = basis.shape
    whole = columns - columns % 16
    sums = np.empty(16, np.float32)
    for row in range(rows):
        sums[:] = 0
        for start in range(0, whole, 16):
            for lane in range(16):
                sums[lane] += basis[row, start + lane] * coefficients[start + lane]
        for column in range(whole, columns):
            sums[column - whole] += basis[row, column] * coefficients[column]
        for lane in range(4):
            sums[lane] = ((sums[lane] + sums[lane + 4]) + sums[lane + 8]) + sums[lane + 12]
        out[row] = (sums[0] + sums[1]) + (sums[2] + sums[3])


def _offset(basis: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Basis (3V, n) float32 and coefficients (n,) -> (V, 3) float32."""
    if np.shape(coefficients) != basis.shape[1:]:
        raise InputError(f"face model: expected {basis.shape[1]} coefficients, got {np.shape(coefficients)}")
    out = np.empty(len(basis), np.float32)
    _combine(basis, np.ascontiguousarray(coefficients, np.float32), out)
    return out.reshape(-1, 3)


@dataclass(frozen=True)
class Camera:
    """A pinhole ten units before the face; focal and size in pixels of the square crop."""

    focal: float = FOCAL_PER_SIZE * CROP_SIZE
    size: int = CROP_SIZE

    def project(self, placed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Placed points (V, 3) -> pixels (V, 2), y down, pixel centers at i + 0.5; and distances (V,)."""
        depth = CAMERA_DISTANCE - placed[:, 2]
        pixels = placed[:, :2] * (self.focal / depth)[:, None] + self.size / 2
        pixels[:, 1] = self.size - pixels[:, 1]
        return pixels, depth


@dataclass(frozen=True)
class Face:
    """One posed, lit face: vertices and unit normals (V, 3) in camera axes, colors (V, 3) about 0..255, unclamped."""

    vertices: np.ndarray
    normals: np.ndarray
    colors: np.ndarray


@dataclass(frozen=True)
class Bfm09:
    """mean (V, 3), its centroid (3,), albedo_mean (V, 3) in 0..255, bases (3V, n), all float32; triangles (T, 3).

    landmarks (68,): vertex indices. vertex_faces (V, 8): the triangles whose normals make up a vertex's; T stands for
    "no more".
    """

    mean: np.ndarray
    centroid: np.ndarray
    identity_basis: np.ndarray
    expression_basis: np.ndarray
    albedo_mean: np.ndarray
    texture_basis: np.ndarray
    triangles: np.ndarray
    vertex_faces: np.ndarray
    landmarks: np.ndarray

    def shape(self, identity: np.ndarray, expression: np.ndarray) -> np.ndarray:
        """Unposed vertices (V, 3), about the mean face's centroid."""
        offset = _offset(self.identity_basis, identity) + _offset(self.expression_basis, expression)
        return (offset + self.mean) - self.centroid

    def albedo(self, texture: np.ndarray) -> np.ndarray:
        """Unlit vertex colors (V, 3), about 0..255."""
        return self.albedo_mean + _offset(self.texture_basis, texture)

    def normals(self, vertices: np.ndarray) -> np.ndarray:
        """Unit vertex normals (V, 3), area-weighted over the listed triangles."""
        a, b, c = (vertices[self.triangles[:, corner]] for corner in range(3))
        faces = np.concatenate([np.cross(a - b, b - c), np.zeros((1, 3), vertices.dtype)])
        normals = faces[self.vertex_faces].sum(1)
        return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)

    def face(self, groups: Mapping[str, np.ndarray]) -> Face:
        """Coefficient groups of one frame, as `d3dfr.split` names them, -> the posed face."""
        vertices = self.shape(groups["identity"], groups["expression"])
        rotation = rotation_matrix(groups["angles"]).T
        normals = self.normals(vertices) @ rotation
        colors = shade(self.albedo(groups["texture"]), normals, groups["illumination"])
        return Face(vertices @ rotation + groups["translation"], normals, colors)

    def landmark_pixels(self, face: Face, camera: Camera = Camera()) -> np.ndarray:
        """The 68 landmarks of a posed face in the crop, (68, 2) pixels."""
        return camera.project(face.vertices[self.landmarks])[0]


def from_arrays(arrays: Mapping[str, np.ndarray], name: str = "BFM09 model") -> Bfm09:
    """The fields of BFM09_model_info.mat (indices count from 1) -> the model.

    Raises WeightsError, naming the field, when one is missing, of the wrong shape, not finite or out of range.
    """

    def get(field: str, rows: int | None = None) -> np.ndarray:
        if field not in arrays:
            raise WeightsError(f"{name}: no field {field}; is it BFM09_model_info.mat?")
        value = np.asarray(arrays[field])
        if value.dtype.kind not in "fiu" or (rows and (value.ndim != 2 or value.shape[0] != rows)):
            raise WeightsError(f"{name}: field {field} is {value.dtype} {value.shape}, which does not fit the others")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise WeightsError(f"{name}: field {field} holds values that are not finite; fetch the file again")
        return value

    def indices(field: str, limit: int) -> np.ndarray:
        value = get(field).astype(np.int64) - 1
        if value.size == 0 or value.min() < 0 or value.max() >= limit:
            raise WeightsError(f"{name}: field {field} points outside the model; fetch the file again")
        return value

    import torch

    size = get("meanshape").size
    vertices, rest = divmod(size, 3)
    if rest or not 0 < vertices <= _MAX_VERTICES or get("meantex").size != size:
        raise WeightsError(f"{name}: mean shape and texture do not agree on the number of vertices")
    triangles = indices("tri", vertices).reshape(-1, 3)
    vertex_faces = indices("point_buf", len(triangles) + 1)
    if len(vertex_faces) != vertices:
        raise WeightsError(f"{name}: field point_buf has {len(vertex_faces)} rows for {vertices} vertices")
    mean = np.ascontiguousarray(get("meanshape").reshape(-1, 3), np.float32)
    return Bfm09(
        mean=mean,
        centroid=torch.from_numpy(mean)[None].mean(1)[0].numpy(),  # torch's float32 mean, to the last bit
        identity_basis=np.ascontiguousarray(get("idBase", size), np.float32),
        expression_basis=np.ascontiguousarray(get("exBase", size), np.float32),
        albedo_mean=get("meantex").reshape(-1, 3).astype(np.float32),
        texture_basis=np.ascontiguousarray(get("texBase", size), np.float32),
        triangles=triangles.astype(np.int32),
        vertex_faces=vertex_faces,
        landmarks=indices("keypoints", vertices).ravel(),
    )


def load(path: Path) -> Bfm09:
    """Read BFM09_model_info.mat. Raises WeightsError when it is missing, damaged or another file."""
    from mimaface_cli.weights.matlab import read_mat

    return from_arrays(read_mat(path), str(path))
