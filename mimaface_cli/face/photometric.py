"""Photometric alignment of a warped reference image with another image of the same face.

The result is the normal equations of the vertex positions (the method of Lucas and Kanade with a mesh). Each skin pixel
constrains the movement along its image gradient. Pixels in the mouth and around the eyes do not count.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from scipy import sparse

from mimaface_cli.face import topology
from mimaface_cli.face.kernels import kernel
from mimaface_cli.face.rasterizer import interpolate, rasterize
from mimaface_cli.face.sampling import sample_image

# Stride in pixels of the rows and columns that are compared: the errors of neighbors are correlated.
GRID = 2
# Grid stride for estimating gain, bias and noise of the lighting.
LIGHTING_GRID = 2
# Standard deviation of a pixel in units of the typical difference, and its minimum in gray levels. The factor accounts
# for the correlation of errors that remains at the grid's stride.
NOISE_FACTOR, MIN_NOISE = 4.0, 1.5
# Scale of Cauchy's loss in units of the typical difference, and its minimum in gray levels.
OUTLIER_FACTOR, MIN_OUTLIER_SCALE = 1.5, 1.5
_MIN_DOUBLE_AREA = 0.5  # pixels; twice the area of a triangle below which its deformation is unknown
_ROUNDING_NOISE = 0.41  # gray levels; standard deviation of the difference of two rounded images


@kernel
def _accumulate_triangles(
    face_index: np.ndarray,
    barycentric: np.ndarray,
    is_skin: np.ndarray,
    warped: np.ndarray,
    image: np.ndarray,
    outlier_scale: float,
    hessian: np.ndarray,
    gradient: np.ndarray,
) -> None:
    """Sum derivatives of half the squared differences image − warped with respect to each triangle's corners.

    Adds to the Hessian (T, 6, 6) and the gradient (T, 6). The change of a difference is the image gradient times the
    movement. All arrays but `image` have the resolution of the grid.
    """
    height, width = face_index.shape
    row_jacobian = np.empty(6)
    for row in range(1, height - 1):
        for column in range(1, width - 1):
            triangle = face_index[row, column]
            if triangle < 0 or not is_skin[triangle]:
                continue
            y, x = GRID * row, GRID * column
            across = 0.5 * (float(image[y, x + 1]) - float(image[y, x - 1]))
            down = 0.5 * (float(image[y + 1, x]) - float(image[y - 1, x]))
            difference = float(image[y, x]) - float(warped[row, column])
            weight = 1.0 / (1.0 + (difference / outlier_scale) ** 2)
            for corner in range(3):
                row_jacobian[2 * corner] = across * barycentric[row, column, corner]
                row_jacobian[2 * corner + 1] = down * barycentric[row, column, corner]
            for i in range(6):
                gradient[triangle, i] += weight * difference * row_jacobian[i]
                for j in range(i, 6):
                    hessian[triangle, i, j] += weight * row_jacobian[i] * row_jacobian[j]


@kernel
def _scatter_triangles(
    triangles: np.ndarray,
    slots: np.ndarray,
    hessian: np.ndarray,
    gradient: np.ndarray,
    sparse_values: np.ndarray,
    vertex_gradient: np.ndarray,
) -> None:
    """Add the triangles' Hessians to a sparse matrix's values at `slots`, and their gradients to the vertices'."""
    for triangle in range(triangles.shape[0]):
        for i in range(6):
            vertex_gradient[2 * triangles[triangle, i // 2] + i % 2] += gradient[triangle, i]
            for j in range(6):
                sparse_values[slots[triangle, i, j]] += hessian[triangle, min(i, j), max(i, j)]


def overlay_warped(image: np.ndarray, reference: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Return a copy of an image, overwritten by the warped reference where the reference covers it.

    Args:
        image: (S, S) uint8.
        reference: (R, R) uint8.
        source: (S, S, 2) float32 positions in the reference (pixel centers at integers).

    Returns:
        (S, S) uint8.
    """
    return sample_image(reference, source, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT, output=image.copy())


def match_lighting(warped: np.ndarray, image: np.ndarray, is_compared: np.ndarray) -> tuple[np.ndarray, float]:
    """Match brightness and contrast of a warped image to another image.

    Light fades and cameras adjust their exposure.

    Args:
        warped: (S, S) uint8.
        image: (S, S) uint8.
        is_compared: Mask of the pixels to compare, at a stride of LIGHTING_GRID.

    Returns:
        The adjusted image (S, S) uint8, and the typical difference that remains in gray levels: a standard deviation
        estimated from the median, without the effect of rounding.
    """
    warped_levels, image_levels = (
        levels[::LIGHTING_GRID, ::LIGHTING_GRID][is_compared].astype(np.float32) for levels in (warped, image)
    )
    if len(warped_levels) < 2:
        return warped, 0.0
    weights, outlier_scale = np.ones_like(warped_levels), 9.0
    for _ in range(3):
        total = weights.sum()
        warped_mean, image_mean = weights @ warped_levels / total, weights @ image_levels / total
        # Adding the total weight to both sums pulls the gain toward 1 if the contrast is low.
        variance = weights @ (warped_levels - warped_mean) ** 2 + total
        covariance = weights @ ((warped_levels - warped_mean) * (image_levels - image_mean)) + total
        gain = float(np.clip(covariance / variance, 0.1, 10))
        residual = image_levels - image_mean - gain * (warped_levels - warped_mean)
        weights = 1.0 / (1.0 + (residual / outlier_scale) ** 2)
    levels = np.clip((np.arange(256) - warped_mean) * gain + image_mean + 0.5, 0, 255).astype(np.uint8)
    robust_deviation = 1.48 * float(np.median(np.abs(residual)))
    variance_beyond_rounding = max(0.0, robust_deviation**2 - _ROUNDING_NOISE**2)
    return cv2.LUT(warped, levels), variance_beyond_rounding**0.5


@dataclass(frozen=True)
class SkinSurface:
    """The face mesh for the estimation of vertex positions from images.

    Attributes:
        triangles: (T, 3) int32 vertex indices, without the irises.
        is_skin: (T,) bool, triangles of skin that moves with the vertices.
        slots: (T, 6, 6) position of each entry of a triangle's Hessian among the values of `pattern`.
        pattern: (2V, 2V) sparsity pattern of the Hessian.
    """

    triangles: np.ndarray
    is_skin: np.ndarray
    slots: np.ndarray
    pattern: sparse.csr_array

    @classmethod
    def from_triangles(cls, triangles: np.ndarray) -> "SkinSurface":
        """Build the surface from all triangles (T, 3) of face478."""
        triangles = triangles[~np.isin(triangles, topology.IRIS).any(1)].astype(np.int32)
        on_outline = np.isin(triangles, topology.OVAL).any(1)  # the outline shows different skin in each view
        in_mouth = np.isin(triangles, topology.INNER_LIPS).all(1)
        # A closing eyelid reveals skin that was folded, also above the lid.
        lid_triangles = triangles[np.isin(triangles, topology.EYES).any(1)]
        near_lids = np.isin(triangles, lid_triangles).any(1)
        is_skin = ~np.logical_or.reduce([on_outline, in_mouth, near_lids])
        size = 2 * (int(triangles.max()) + 1)
        corners = (2 * triangles[:, :, None] + np.arange(2)).reshape(-1, 6).astype(np.int64)
        keys, slots = np.unique(corners[:, :, None] * size + corners[:, None], return_inverse=True)
        pattern = sparse.csr_array((np.zeros(len(keys)), (keys // size, keys % size)), (size, size))
        return cls(triangles, is_skin, slots.reshape(-1, 6, 6), pattern)

    @cached_property
    def is_skin_vertex(self) -> np.ndarray:
        """Mask (V,) of the corners of skin triangles."""
        return np.isin(np.arange(self.pattern.shape[0] // 2), self.triangles[self.is_skin])

    def roughness(self) -> np.ndarray:
        """Return the quadratic form (V, V) of the squared differences between skin vertices and their neighbors."""
        vertex_count = len(self.is_skin_vertex)
        adjacency = np.zeros((vertex_count, vertex_count))
        corners = self.triangles[self.is_skin]
        adjacency[corners, np.roll(corners, 1, 1)] = adjacency[corners, np.roll(corners, -1, 1)] = -1
        laplacian = adjacency - np.diag(adjacency.sum(1))
        return laplacian @ laplacian

    def deformation(self, source: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Estimate the local linear map of the skin from one image to another.

        Args:
            source: (478, 2) vertex positions in pixels of the first image.
            target: (478, 2) vertex positions in pixels of the second image.

        Returns:
            (V, 2, 2) derivatives of the target positions with respect to the source positions; zero outside the skin.
        """
        corners = self.triangles[self.is_skin]
        edges, target_edges = (
            np.swapaxes(points[corners[:, 1:]] - points[corners[:, :1]], 1, 2) for points in (source, target)
        )
        double_area = np.abs(np.linalg.det(edges))
        is_thin = double_area < _MIN_DOUBLE_AREA
        double_area = np.where(is_thin, 0, double_area)
        edges = np.where(is_thin[:, None, None], np.eye(2), edges)
        weighted_maps = np.repeat(target_edges @ np.linalg.inv(edges) * double_area[:, None, None], 3, 0)
        vertex_count = len(self.is_skin_vertex)
        total, weights = np.zeros((vertex_count, 2, 2)), np.zeros(vertex_count)
        np.add.at(total, corners.ravel(), weighted_maps)
        np.add.at(weights, corners.ravel(), np.repeat(double_area, 3))
        return total / np.where(weights, weights, 1)[:, None, None]

    def compare(
        self,
        reference: np.ndarray,
        reference_points: np.ndarray,
        image: np.ndarray,
        points: np.ndarray,
        depth: np.ndarray,
    ) -> tuple[sparse.csr_array, np.ndarray]:
        """Compare an image with a reference that is warped onto it.

        Args:
            reference: (S, S) uint8.
            reference_points: (V, 2) vertex positions in the reference (pixel centers at i + 0.5).
            image: (S, S) uint8.
            points: (V, 2) vertex positions in the image.
            depth: (V,) positive distances of the vertices from the camera.

        Returns:
            Hessian (2V, 2V) and gradient (2V,) of half the squared differences, each in units of its noise, with
            respect to the positions in the image.
        """
        grid_image = image[::GRID, ::GRID]
        height, width = grid_image.shape
        face_index, weights, _ = rasterize((points - 0.5) / GRID + 0.5, depth, self.triangles, width, height)
        source = interpolate(
            face_index, weights, self.triangles, reference_points - 0.5, background=-max(reference.shape)
        )
        warped = overlay_warped(grid_image, reference, source)
        lighting_index = face_index[::LIGHTING_GRID, ::LIGHTING_GRID]
        is_compared = (lighting_index >= 0) & self.is_skin[lighting_index]
        warped, typical_difference = match_lighting(warped, grid_image, is_compared)
        hessian, gradient = np.zeros((len(self.triangles), 6, 6)), np.zeros((len(self.triangles), 6))
        outlier_scale = max(MIN_OUTLIER_SCALE, OUTLIER_FACTOR * typical_difference)
        _accumulate_triangles(face_index, weights, self.is_skin, warped, image, outlier_scale, hessian, gradient)
        values, vertex_gradient = np.zeros(self.pattern.nnz), np.zeros(self.pattern.shape[0])
        _scatter_triangles(self.triangles, self.slots, hessian, gradient, values, vertex_gradient)
        variance = max(MIN_NOISE, NOISE_FACTOR * typical_difference) ** 2
        vertex_hessian = sparse.csr_array(
            (values / variance, self.pattern.indices, self.pattern.indptr), self.pattern.shape
        )
        return vertex_hessian, vertex_gradient / variance
