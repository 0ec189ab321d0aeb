"""Compiled inner loops of the Gauss–Newton steps in `fitting`."""

import numpy as np

from mimaface_cli.face import camera
from mimaface_cli.face.kernels import kernel


@kernel(nogil=False)
def differentiate(
    rotated: np.ndarray, translation: np.ndarray, rotation: np.ndarray, basis: np.ndarray, jacobian: np.ndarray
) -> None:
    """Differentiate the pixels of vertices (V, 3) that are rotated but not yet translated.

    Writes the derivative with respect to a small rotation, the translation and the coefficients of an unrotated basis
    (V, 3, K) to `jacobian` (2V, 6 + K). Basis and Jacobian are float32.
    """
    for vertex in range(len(rotated)):
        x, y, z = rotated[vertex]
        depth = camera.CAMERA_DISTANCE - z - translation[2]
        scale = camera.FOCAL_PER_SIZE * camera.CROP_SIZE / depth
        for axis in range(2):
            row = jacobian[2 * vertex + axis]
            # The derivative with respect to the vertex position.
            if axis == 0:
                gx, gy, gz = scale, 0.0, (x + translation[0]) * scale / depth
            else:
                gx, gy, gz = 0.0, -scale, -(y + translation[1]) * scale / depth
            # d/dω of ω × p is g · (ω × p) = ω · (p × g)
            row[0], row[1], row[2] = y * gz - z * gy, z * gx - x * gz, x * gy - y * gx
            row[3], row[4], row[5] = gx, gy, gz
            # The derivative with respect to the unrotated position.
            hx = np.float32(gx * rotation[0, 0] + gy * rotation[1, 0] + gz * rotation[2, 0])
            hy = np.float32(gx * rotation[0, 1] + gy * rotation[1, 1] + gz * rotation[2, 1])
            hz = np.float32(gx * rotation[0, 2] + gy * rotation[1, 2] + gz * rotation[2, 2])
            for k in range(basis.shape[2]):
                row[6 + k] = hx * basis[vertex, 0, k] + hy * basis[vertex, 1, k] + hz * basis[vertex, 2, k]


@kernel(nogil=False)
def scale_rows(jacobian: np.ndarray, factors: np.ndarray, rows: np.ndarray) -> None:
    """Multiply both rows of each vertex in a float32 Jacobian (2V, K) by its factor (V,)."""
    for vertex in range(len(factors)):
        factor = np.float32(factors[vertex])
        for row in range(2 * vertex, 2 * vertex + 2):
            for k in range(jacobian.shape[1]):
                rows[row, k] = factor * jacobian[row, k]


@kernel
def multiply_vertex_matrix(
    starts: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    weights: np.ndarray,
    jacobian: np.ndarray,
    product: np.ndarray,
) -> None:
    """Multiply a sparse matrix (2V, 2V) plus a diagonal by a float32 Jacobian (2V, K).

    The sparse matrix consists of 2×2 blocks, one for each pair of vertices, and is given by its CSR arrays `indptr`,
    `indices` and `data`. The diagonal has the weight of each vertex (V,) twice. Writes the product (2V, K).
    """
    for vertex in range(len(weights)):
        upper, lower = product[2 * vertex], product[2 * vertex + 1]
        weight = np.float32(weights[vertex])
        for k in range(jacobian.shape[1]):
            upper[k] = weight * jacobian[2 * vertex, k]
            lower[k] = weight * jacobian[2 * vertex + 1, k]
        first, second = starts[2 * vertex], starts[2 * vertex + 1]
        for offset in range(0, second - first, 2):
            a, b = np.float32(values[first + offset]), np.float32(values[first + offset + 1])
            c, d = np.float32(values[second + offset]), np.float32(values[second + offset + 1])
            x, y = jacobian[columns[first + offset]], jacobian[columns[first + offset + 1]]
            for k in range(jacobian.shape[1]):
                upper[k] += a * x[k] + b * y[k]
                lower[k] += c * x[k] + d * y[k]


@kernel(nogil=False)
def linearize(
    neutral: np.ndarray,
    offset: np.ndarray,
    rotation: np.ndarray,
    translation: np.ndarray,
    basis: np.ndarray,
    projection: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Project the vertices of a face and differentiate their pixels.

    Writes to `projection` the pixels (V, 2), the distances (V,) and the Jacobian (2V, 6 + K) of `differentiate`. The
    unposed vertices are `neutral` (V, 3) plus `offset` (3V,) float32.
    """
    pixels, depth, jacobian = projection
    rotated = np.empty(neutral.shape)
    for vertex in range(len(neutral)):
        x = neutral[vertex, 0] + offset[3 * vertex]
        y = neutral[vertex, 1] + offset[3 * vertex + 1]
        z = neutral[vertex, 2] + offset[3 * vertex + 2]
        for axis in range(3):
            rotated[vertex, axis] = rotation[axis, 0] * x + rotation[axis, 1] * y + rotation[axis, 2] * z
        depth[vertex] = camera.CAMERA_DISTANCE - (rotated[vertex, 2] + translation[2])
        scale = camera.FOCAL_PER_SIZE * camera.CROP_SIZE / depth[vertex]
        pixels[vertex, 0] = (rotated[vertex, 0] + translation[0]) * scale + camera.CROP_SIZE / 2
        pixels[vertex, 1] = (rotated[vertex, 1] + translation[1]) * -scale + camera.CROP_SIZE / 2
    differentiate(rotated, translation, rotation, basis, jacobian)


@kernel(nogil=False)
def weigh_landmarks(
    pixels: np.ndarray,
    points: np.ndarray,
    weights: np.ndarray,
    outlier_scale: float,
    step_weights: np.ndarray,
    pixel_gradient: np.ndarray,
) -> None:
    """Weigh the residuals of landmarks (V, 2).

    Writes the weights (V,) of this step, and adds the gradient (2V,) of half the weighted squared error with respect to
    the pixels. With an outlier scale above 0, outliers get less weight (Cauchy's loss).
    """
    for vertex in range(len(points)):
        x, y = pixels[vertex, 0] - points[vertex, 0], pixels[vertex, 1] - points[vertex, 1]
        weight = weights[vertex]
        if outlier_scale > 0.0:
            weight /= 1.0 + (x * x + y * y) * weight / outlier_scale**2
        step_weights[vertex] = weight
        pixel_gradient[2 * vertex] += x * weight
        pixel_gradient[2 * vertex + 1] += y * weight
