"""The Basel Face Model 2009 in the coefficients of D3DFR: shape, texture, illumination, pose and landmarks."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimaface_cli.errors import InputError, WeightsError
from mimaface_cli.face.camera import CAMERA_DISTANCE, CROP_SIZE, FOCAL_PER_SIZE
from mimaface_cli.face.kernels import kernel
from mimaface_cli.face.shading import shade
from mimaface_cli.motion.rotation import rotation_matrix

_MAX_VERTICES = 1_000_000


@kernel(fastmath={"contract"})
def _combine(basis: np.ndarray, coefficients: np.ndarray, out: np.ndarray) -> None:
    # The summation order of the release's recorded values: four lanes of fused multiply-adds, four deep. Any other
    # order changes the last bit of a vertex, and the normals of thin triangles at the rim magnify it a hundredfold.
    rows, columns = basis.shape
    full_columns = columns - columns % 16
    sums = np.empty(16, np.float32)
    for row in range(rows):
        sums[:] = 0
        for start in range(0, full_columns, 16):
            for lane in range(16):
                sums[lane] += basis[row, start + lane] * coefficients[start + lane]
        for column in range(full_columns, columns):
            sums[column - full_columns] += basis[row, column] * coefficients[column]
        for lane in range(4):
            sums[lane] = ((sums[lane] + sums[lane + 4]) + sums[lane + 8]) + sums[lane + 12]
        out[row] = (sums[0] + sums[1]) + (sums[2] + sums[3])


def _offset(basis: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Multiply a basis (3V, n) float32 by coefficients (n,); returns (V, 3) float32."""
    if np.shape(coefficients) != basis.shape[1:]:
        raise InputError(
            f"The face model takes {basis.shape[1]} coefficients, not {np.shape(coefficients)}. "
            "Use a track in the bfm09 space."
        )
    out = np.empty(len(basis), np.float32)
    _combine(basis, np.ascontiguousarray(coefficients, np.float32), out)
    return out.reshape(-1, 3)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera ten units in front of the face.

    Attributes:
        focal: Focal length in pixels of the square crop.
        size: Side of the crop in pixels.
    """

    focal: float = FOCAL_PER_SIZE * CROP_SIZE
    size: int = CROP_SIZE

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Project points (V, 3) in camera axes.

        Returns:
            Pixels (V, 2), y pointing down and pixel centers at i + 0.5, and distances (V,).
        """
        depth = CAMERA_DISTANCE - points[:, 2]
        pixels = points[:, :2] * (self.focal / depth)[:, None] + self.size / 2
        pixels[:, 1] = self.size - pixels[:, 1]
        return pixels, depth


CROP_CAMERA = Camera()


@dataclass(frozen=True)
class PosedFace:
    """A posed and lit face in camera axes.

    Attributes:
        vertices: (V, 3) model units.
        normals: (V, 3) unit normals.
        colors: (V, 3) lit colors, about 0..255, not clipped.
    """

    vertices: np.ndarray
    normals: np.ndarray
    colors: np.ndarray


@dataclass(frozen=True)
class Bfm09:
    """The Basel Face Model 2009.

    Attributes:
        mean: (V, 3) float32 mean face.
        centroid: (3,) float32 centroid of the mean face.
        identity_basis: (3V, 80) float32.
        expression_basis: (3V, 64) float32.
        albedo_mean: (V, 3) float32 in 0..255.
        texture_basis: (3V, 80) float32.
        triangles: (T, 3) int32 vertex indices.
        vertex_faces: (V, 8) triangles with the normals that are summed at each vertex; unused entries are T.
        landmarks: (68,) vertex indices.
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
        """Return the unposed vertices (V, 3), relative to the mean face's centroid."""
        offset = _offset(self.identity_basis, identity) + _offset(self.expression_basis, expression)
        return (offset + self.mean) - self.centroid

    def albedo(self, texture: np.ndarray) -> np.ndarray:
        """Return the unlit vertex colors (V, 3), about 0..255."""
        return self.albedo_mean + _offset(self.texture_basis, texture)

    def normals(self, vertices: np.ndarray) -> np.ndarray:
        """Return the unit vertex normals (V, 3), area-weighted over the triangles in `vertex_faces`."""
        a, b, c = (vertices[self.triangles[:, corner]] for corner in range(3))
        faces = np.concatenate([np.cross(a - b, b - c), np.zeros((1, 3), vertices.dtype)])
        normals = faces[self.vertex_faces].sum(1)
        return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)

    def face(self, groups: Mapping[str, np.ndarray]) -> PosedFace:
        """Pose and light the face of one frame.

        Args:
            groups: Coefficients (width,) by group; names and widths as in `d3dfr.COEFFICIENT_WIDTHS`.
        """
        vertices = self.shape(groups["identity"], groups["expression"])
        rotation = rotation_matrix(groups["angles"]).T
        normals = self.normals(vertices) @ rotation
        colors = shade(self.albedo(groups["texture"]), normals, groups["illumination"])
        return PosedFace(vertices @ rotation + groups["translation"], normals, colors)


class _ModelFile:
    """Checked access to the fields of BFM09_model_info.mat. Indices in the file start at 1."""

    def __init__(self, arrays: Mapping[str, np.ndarray], name: str) -> None:
        self._arrays, self._name = arrays, name

    def get(self, field: str, rows: int | None = None) -> np.ndarray:
        """Return a numeric field; unless `rows` is None, it must be a matrix with that number of rows."""
        if field not in self._arrays:
            raise self.error(f"has no field {field}. Use BFM09_model_info.mat from the release.")
        value = np.asarray(self._arrays[field])
        if value.dtype.kind not in "fiu" or (rows and (value.ndim != 2 or value.shape[0] != rows)):
            raise self.error(
                f"field {field} is {value.dtype} {value.shape}, which does not match the other fields. "
                "Download the file again."
            )
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise self.error(f"field {field} contains NaN or Inf. Download the file again.")
        return value

    def get_indices(self, field: str, limit: int) -> np.ndarray:
        """Return an index field, counted from 0."""
        value = self.get(field).astype(np.int64) - 1
        if value.size == 0 or value.min() < 0 or value.max() >= limit:
            raise self.error(f"field {field} contains indices outside the model. Download the file again.")
        return value

    def error(self, problem: str) -> WeightsError:
        return WeightsError(f"{self._name}: {problem}")


def from_arrays(arrays: Mapping[str, np.ndarray], name: str = "BFM09 model") -> Bfm09:
    """Build the model from the fields of BFM09_model_info.mat.

    Args:
        arrays: The fields by name, with the shapes of BFM09_model_info.mat; indices start at 1.
        name: Name of the file in error messages.

    Raises:
        WeightsError: When a field is missing, not finite, out of range or has the wrong shape.
    """
    import torch

    file = _ModelFile(arrays, name)
    size = file.get("meanshape").size
    vertices, remainder = divmod(size, 3)
    if remainder or not 0 < vertices <= _MAX_VERTICES or file.get("meantex").size != size:
        raise file.error("mean shape and texture have different numbers of vertices. Download the file again.")
    triangles = file.get_indices("tri", vertices).reshape(-1, 3)
    vertex_faces = file.get_indices("point_buf", len(triangles) + 1)
    if len(vertex_faces) != vertices:
        raise file.error(
            f"field point_buf has {len(vertex_faces)} rows for {vertices} vertices. Download the file again."
        )
    mean = np.ascontiguousarray(file.get("meanshape").reshape(-1, 3), np.float32)
    return Bfm09(
        mean=mean,
        centroid=torch.from_numpy(mean)[None].mean(1)[0].numpy(),  # torch's float32 mean, to the last bit
        identity_basis=np.ascontiguousarray(file.get("idBase", size), np.float32),
        expression_basis=np.ascontiguousarray(file.get("exBase", size), np.float32),
        albedo_mean=file.get("meantex").reshape(-1, 3).astype(np.float32),
        texture_basis=np.ascontiguousarray(file.get("texBase", size), np.float32),
        triangles=triangles.astype(np.int32),
        vertex_faces=vertex_faces,
        landmarks=file.get_indices("keypoints", vertices).ravel(),
    )


def load(path: Path) -> Bfm09:
    """Load BFM09_model_info.mat.

    Raises:
        WeightsError: When the file is missing, damaged or another file.
    """
    from mimaface_cli.weights.matlab import read_mat

    return from_arrays(read_mat(path), str(path))
