"""Photometric alignment of a warped reference image with another image of the same face.

The result is the normal equations of the vertex positions (the method of Lucas and Kanade with a mesh). Each skin pixel
constrains the movement along its image gradient. Pixels in the mouth and around the eyes do not count.
"""

from copy import copy
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from scipy import sparse

from mimaface_cli.face import topology
from mimaface_cli.face.kernels import kernel
from mimaface_cli.face.rasterizer import rasterize_positions
from mimaface_cli.face.sampling import sample_image

# Stride in pixels of the rows and columns that are compared: the errors of neighbors are correlated.
GRID = 2
# Stride among the compared pixels for estimating gain, offset and noise of the lighting.
LIGHTING_STRIDE = 4
# Standard deviation of a pixel in units of the typical difference, and its minimum in gray levels. The factor accounts
# for the correlation of errors that remains at the grid's stride.
NOISE_FACTOR, MIN_NOISE = 4.0, 1.5
# Scale of Cauchy's loss in units of the typical difference, and its minimum in gray levels.
OUTLIER_FACTOR, MIN_OUTLIER_SCALE = 1.5, 1.5
_CORNER_PAIRS = ((0, 1, 2), (1, 3, 4), (2, 4, 5))  # number of each pair of a triangle's corners
_MIN_DOUBLE_AREA = 0.5  # pixels; twice the area of a triangle below which its deformation is unknown
_LIGHTING_OUTLIER_SCALE = 9.0  # gray levels
_ROUNDING_NOISE = 0.41  # gray levels; standard deviation of the difference of two rounded images


@kernel
def _sample_skin(
    face_index: np.ndarray,
    is_skin: np.ndarray,
    source: np.ndarray,
    reference: np.ndarray,
    image: np.ndarray,
    positions: np.ndarray,
    levels: np.ndarray,
) -> int:
    """Sample the reference and the image at each skin pixel of the grid.

    Writes row and column of the pixel to `positions` (N, 2), and the levels of the warped reference (bilinear) and of
    the image to `levels` (N, 2). Returns the number of pixels. Pixels whose source is outside the reference are left
    out.
    """
    height, width = face_index.shape
    bottom, right = reference.shape[0] - 1, reference.shape[1] - 1
    count = 0
    for row in range(1, height - 1):
        for column in range(1, width - 1):
            triangle = face_index[row, column]
            if triangle < 0 or not is_skin[triangle]:
                continue
            x, y = source[row, column, 0], source[row, column, 1]
            left, top = int(np.floor(x)), int(np.floor(y))
            if left < 0 or top < 0 or left >= right or top >= bottom:
                continue
            across, down = x - left, y - top
            upper = (1 - across) * reference[top, left] + across * reference[top, left + 1]
            lower = (1 - across) * reference[top + 1, left] + across * reference[top + 1, left + 1]
            positions[count, 0], positions[count, 1] = row, column
            levels[count, 0] = (1 - down) * upper + down * lower
            levels[count, 1] = image[GRID * row, GRID * column]
            count += 1
    return count


@kernel
def _match_levels(levels: np.ndarray, differences: np.ndarray) -> tuple[float, float]:
    """Fit image = offset + gain · warped robustly to `levels` (N, 2: warped, image) and write what remains (N,).

    Returns gain and offset.
    """
    count = len(levels)
    gain, offset = 1.0, 0.0
    for step in range(3):
        total, warped_sum, image_sum = 0.0, 0.0, 0.0
        for k in range(count):
            weight = 1.0 if step == 0 else 1.0 / (1.0 + (differences[k] / _LIGHTING_OUTLIER_SCALE) ** 2)
            total += weight
            warped_sum += weight * levels[k, 0]
            image_sum += weight * levels[k, 1]
        warped_mean, image_mean = warped_sum / total, image_sum / total
        # Adding the total weight to both sums pulls the gain toward 1 if the contrast is low.
        variance, covariance = total, total
        for k in range(count):
            weight = 1.0 if step == 0 else 1.0 / (1.0 + (differences[k] / _LIGHTING_OUTLIER_SCALE) ** 2)
            variance += weight * (levels[k, 0] - warped_mean) ** 2
            covariance += weight * (levels[k, 0] - warped_mean) * (levels[k, 1] - image_mean)
        gain = min(max(covariance / variance, 0.1), 10.0)
        offset = image_mean - gain * warped_mean
        for k in range(count):
            differences[k] = levels[k, 1] - offset - gain * levels[k, 0]
    return gain, offset


@kernel
def _accumulate_triangles(
    vertices: np.ndarray,
    triangles: np.ndarray,
    face_index: np.ndarray,
    positions: np.ndarray,
    levels: np.ndarray,
    image: np.ndarray,
    lighting: tuple[float, float, float],
    sums: np.ndarray,
) -> None:
    """Sum derivatives of half the squared differences image − warped with respect to each triangle's corners.

    The change of a difference is the image gradient times the movement. Adds to `sums` (T, 24): first the gradient's x
    and y of corners 0, 1 and 2; then, for each pair of corners in `_CORNER_PAIRS`, the Hessian's xx, xy and yy.
    The vertices (V, 3) are x and y in pixels of the grid and the inverse of the depth; `lighting` is gain and offset of
    the warped levels and the scale of outliers.
    """
    gain, offset, outlier_scale = lighting
    for sample in range(len(positions)):
        row, column = positions[sample, 0], positions[sample, 1]
        triangle = face_index[row, column]
        a, b, c = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
        ax, ay = vertices[a, 0] - column - 0.5, vertices[a, 1] - row - 0.5
        bx, by = vertices[b, 0] - column - 0.5, vertices[b, 1] - row - 0.5
        cx, cy = vertices[c, 0] - column - 0.5, vertices[c, 1] - row - 0.5
        i, j, k = (
            (bx * cy - cx * by) * vertices[a, 2],
            (cx * ay - ax * cy) * vertices[b, 2],
            (ax * by - bx * ay) * vertices[c, 2],
        )
        scale = 1.0 / (i + j + k)
        i, j, k = i * scale, j * scale, k * scale
        y, x = GRID * row, GRID * column
        across = 0.5 * (float(image[y, x + 1]) - float(image[y, x - 1]))
        down = 0.5 * (float(image[y + 1, x]) - float(image[y - 1, x]))
        difference = levels[sample, 1] - offset - gain * levels[sample, 0]
        weight = 1.0 / (1.0 + (difference / outlier_scale) ** 2)
        total = sums[triangle]
        gx, gy = weight * difference * across, weight * difference * down
        total[0] += gx * i
        total[1] += gy * i
        total[2] += gx * j
        total[3] += gy * j
        total[4] += gx * k
        total[5] += gy * k
        xx, xy, yy = weight * across * across, weight * across * down, weight * down * down
        products = i * i, i * j, i * k, j * j, j * k, k * k
        for pair in range(6):
            total[6 + 3 * pair] += xx * products[pair]
            total[7 + 3 * pair] += xy * products[pair]
            total[8 + 3 * pair] += yy * products[pair]


@kernel(nogil=False)
def _scatter_triangles(
    triangles: np.ndarray, slots: np.ndarray, sums: np.ndarray, sparse_values: np.ndarray, vertex_gradient: np.ndarray
) -> None:
    """Add the triangles' Hessians to a sparse matrix's values at `slots`, and their gradients to the vertices'."""
    for triangle in range(triangles.shape[0]):
        for i in range(6):
            vertex_gradient[2 * triangles[triangle, i // 2] + i % 2] += sums[triangle, i]
            for j in range(6):
                pair = _CORNER_PAIRS[i // 2][j // 2]
                sparse_values[slots[triangle, i, j]] += sums[triangle, 6 + 3 * pair + i % 2 + j % 2]


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


def match_lighting(levels: np.ndarray) -> tuple[tuple[float, float], float]:
    """Match brightness and contrast of a warped image to another image.

    Light fades and cameras adjust their exposure.

    Args:
        levels: (N, 2) float32 levels of the warped image and of the image at the same pixels.

    Returns:
        Gain and offset of the warped levels, and the typical difference that remains in gray levels: a standard
        deviation estimated from the median, without the effect of rounding.
    """
    if len(levels) < 2:
        return (1.0, 0.0), 0.0
    differences = np.empty(len(levels), np.float32)
    lighting = _match_levels(levels, differences)
    robust_deviation = 1.48 * float(np.median(np.abs(differences)))
    return lighting, max(0.0, robust_deviation**2 - _ROUNDING_NOISE**2) ** 0.5


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
        height, width = -(-image.shape[0] // GRID), -(-image.shape[1] // GRID)
        grid_points = (points - 0.5) / GRID + 0.5
        face_index, source = rasterize_positions(
            grid_points, depth, self.triangles, reference_points - 0.5, width, height
        )
        positions, levels = np.empty((height * width, 2), np.int32), np.empty((height * width, 2), np.float32)
        count = _sample_skin(face_index, self.is_skin, source, reference, image, positions, levels)
        positions, levels = positions[:count], levels[:count]
        lighting, typical_difference = match_lighting(levels[::LIGHTING_STRIDE])
        scale = max(MIN_OUTLIER_SCALE, OUTLIER_FACTOR * typical_difference)
        vertices, sums = np.column_stack([grid_points, 1 / depth]), np.zeros((len(self.triangles), 24))
        _accumulate_triangles(vertices, self.triangles, face_index, positions, levels, image, (*lighting, scale), sums)
        vertex_hessian, vertex_gradient = copy(self.pattern), np.zeros(self.pattern.shape[0])
        vertex_hessian.data = np.zeros(self.pattern.nnz)
        sums /= max(MIN_NOISE, NOISE_FACTOR * typical_difference) ** 2
        _scatter_triangles(self.triangles, self.slots, sums, vertex_hessian.data, vertex_gradient)
        return vertex_hessian, vertex_gradient
