"""Z-buffered triangle rasterizer on the CPU, shared by both morphable models and the mesh engine.

The kernels release the GIL, so several threads can render frames at once.
"""

import cv2
import numpy as np

from mimaface_cli.face.kernels import kernel

NOWHERE = -1e4  # coordinate of pixels that no surface covers


@kernel
def _rasterize(
    xy: np.ndarray,
    depth: np.ndarray,
    triangles: np.ndarray,
    skip: np.ndarray,
    open_counts: np.ndarray,
    face_index: np.ndarray,
    barycentric: np.ndarray,
    inverse_depth: np.ndarray,
) -> None:
    height, width = face_index.shape
    has_skip = skip.size > 0
    for triangle in range(triangles.shape[0]):
        i, j, k = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
        xi, yi, xj, yj, xk, yk = xy[i, 0], xy[i, 1], xy[j, 0], xy[j, 1], xy[k, 0], xy[k, 1]
        area = (xj - xi) * (yk - yi) - (xk - xi) * (yj - yi)
        if area == 0.0 or depth[i] <= 0.0 or depth[j] <= 0.0 or depth[k] <= 0.0:
            continue
        left = max(0, int(np.ceil(min(xi, xj, xk) - 0.5)))
        right = min(width - 1, int(np.floor(max(xi, xj, xk) - 0.5)))
        top = max(0, int(np.ceil(min(yi, yj, yk) - 0.5)))
        bottom = min(height - 1, int(np.floor(max(yi, yj, yk) - 0.5)))
        if left > right or top > bottom:
            continue
        if has_skip:
            counts = open_counts[bottom + 1, right + 1] - open_counts[top, right + 1]
            if counts == open_counts[bottom + 1, left] - open_counts[top, left]:
                continue
        inverse_area = 1.0 / area
        # 1/z is linear in screen space: it gives perspective-correct weights and depth.
        ni, nj, nk = 1.0 / depth[i], 1.0 / depth[j], 1.0 / depth[k]
        wi_step, wj_step = (yj - yk) * inverse_area, (yk - yi) * inverse_area
        for row in range(top, bottom + 1):
            x, y = left + 0.5, row + 0.5
            wi_left = ((xj - x) * (yk - y) - (xk - x) * (yj - y)) * inverse_area
            wj_left = ((xk - x) * (yi - y) - (xi - x) * (yk - y)) * inverse_area
            is_entered = False
            for column in range(left, right + 1):
                wi = wi_left + (column - left) * wi_step
                wj = wj_left + (column - left) * wj_step
                wk = 1.0 - wi - wj
                if wi < -1e-10 or wj < -1e-10 or wk < -1e-10:  # an edge belongs to both triangles: no cracks
                    if is_entered:
                        break
                    continue
                is_entered = True
                if has_skip and skip[row, column]:
                    continue
                nearness = wi * ni + wj * nj + wk * nk
                if nearness > inverse_depth[row, column]:
                    inverse_depth[row, column] = nearness
                    face_index[row, column] = triangle
                    z = 1.0 / nearness
                    barycentric[row, column, 0] = wi * ni * z
                    barycentric[row, column, 1] = wj * nj * z
                    barycentric[row, column, 2] = wk * nk * z


@kernel
def _interpolate(
    face_index: np.ndarray, barycentric: np.ndarray, triangles: np.ndarray, attributes: np.ndarray, out: np.ndarray
) -> None:
    height, width = face_index.shape
    channels = attributes.shape[1]
    for row in range(height):
        for column in range(width):
            triangle = face_index[row, column]
            if triangle < 0:
                continue
            i, j, k = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
            a, b, c = barycentric[row, column, 0], barycentric[row, column, 1], barycentric[row, column, 2]
            for channel in range(channels):
                out[row, column, channel] = (
                    a * attributes[i, channel] + b * attributes[j, channel] + c * attributes[k, channel]
                )


@kernel
def _rasterize_positions(
    xy: np.ndarray,
    depth: np.ndarray,
    triangles: np.ndarray,
    positions: np.ndarray,
    face_index: np.ndarray,
    inverse_depth: np.ndarray,
    out: np.ndarray,
) -> None:
    height, width = face_index.shape
    for triangle in range(triangles.shape[0]):
        i, j, k = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
        xi, yi, xj, yj, xk, yk = xy[i, 0], xy[i, 1], xy[j, 0], xy[j, 1], xy[k, 0], xy[k, 1]
        area = (xj - xi) * (yk - yi) - (xk - xi) * (yj - yi)
        if area == 0.0 or depth[i] <= 0.0 or depth[j] <= 0.0 or depth[k] <= 0.0:
            continue
        left = max(0, int(np.ceil(min(xi, xj, xk) - 0.5)))
        right = min(width - 1, int(np.floor(max(xi, xj, xk) - 0.5)))
        top = max(0, int(np.ceil(min(yi, yj, yk) - 0.5)))
        bottom = min(height - 1, int(np.floor(max(yi, yj, yk) - 0.5)))
        inverse_area = 1.0 / area
        # 1/z and what is divided by z are linear in screen space.
        ni, nj, nk = 1.0 / depth[i], 1.0 / depth[j], 1.0 / depth[k]
        ui, uj, uk = positions[i, 0] * ni, positions[j, 0] * nj, positions[k, 0] * nk
        vi, vj, vk = positions[i, 1] * ni, positions[j, 1] * nj, positions[k, 1] * nk
        wi_step, wj_step = (yj - yk) * inverse_area, (yk - yi) * inverse_area
        for row in range(top, bottom + 1):
            x, y = left + 0.5, row + 0.5
            wi = ((xj - x) * (yk - y) - (xk - x) * (yj - y)) * inverse_area
            wj = ((xk - x) * (yi - y) - (xi - x) * (yk - y)) * inverse_area
            for column in range(left, right + 1):
                wk = 1.0 - wi - wj
                if wi >= -1e-10 and wj >= -1e-10 and wk >= -1e-10:  # an edge belongs to both triangles: no cracks
                    nearness = wi * ni + wj * nj + wk * nk
                    if nearness > inverse_depth[row, column]:
                        inverse_depth[row, column] = nearness
                        face_index[row, column] = triangle
                        z = 1.0 / nearness
                        out[row, column, 0] = (wi * ui + wj * uj + wk * uk) * z
                        out[row, column, 1] = (wi * vi + wj * vj + wk * vk) * z
                wi += wi_step
                wj += wj_step


@kernel
def mark_jumps_at(field: np.ndarray, row: int, column: int, jump: float, mask: np.ndarray) -> int:
    """Mark a pixel and its left and upper neighbor where a field steps between them; as in `mark_jumps`."""
    count = 0
    if field[row, column, 0] <= NOWHERE:
        return count
    for up, left in ((0, 1), (1, 0)):
        if row < up or column < left:
            continue
        other_row, other_column = row - up, column - left
        if field[other_row, other_column, 0] <= NOWHERE:
            continue
        dx = field[row, column, 0] - field[other_row, other_column, 0]
        dy = field[row, column, 1] - field[other_row, other_column, 1]
        if abs(dx) > jump or abs(dy) > jump:
            mask[row, column] = mask[other_row, other_column] = 1
            count += 1
    return count


@kernel
def mark_jumps(field: np.ndarray, jump: float, mask: np.ndarray) -> int:
    """Mark the pixels on both sides of every large step of a vector field.

    Args:
        field: (H, W, 2) field; steps to and from x components of `NOWHERE` do not count.
        jump: Largest step between neighbors, in either component, that is not marked.
        mask: (H, W) uint8; marked pixels are set to 1.

    Returns:
        The number of large steps.
    """
    height, width = mask.shape
    count = 0
    for row in range(height):
        for column in range(width):
            count += mark_jumps_at(field, row, column, jump, mask)
    return count


def rasterize(
    xy: np.ndarray,
    depth: np.ndarray,
    triangles: np.ndarray,
    width: int,
    height: int,
    skip: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rasterize triangles with hidden-surface removal and perspective-correct weights, without culling.

    Args:
        xy: (V, 2) pixels, pixel centers at i + 0.5.
        depth: (V,) distances from the camera. A triangle with a vertex at or behind the camera (≤ 0) is dropped.
        triangles: (T, 3) vertex indices.
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        skip: (H, W) bool, pixels that stay empty, or None.

    Returns:
        Triangle index (H, W) int32, -1 where empty; barycentric weights (H, W, 3) float32; depth (H, W) float32, inf
        where empty.
    """
    barycentric = np.zeros((height, width, 3), np.float32)
    face_index, inverse_depth = _rasterize_into(barycentric, xy, depth, triangles, skip)
    with np.errstate(divide="ignore"):
        return face_index, barycentric, 1 / inverse_depth


def rasterize_surface(
    xy: np.ndarray,
    depth: np.ndarray,
    triangles: np.ndarray,
    width: int,
    height: int,
    skip: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Rasterize triangles as `rasterize` does, without returning their depth.

    Returns:
        Triangle index (H, W) int32, -1 where empty; barycentric weights (H, W, 3) float32, undefined where empty.
    """
    barycentric = np.empty((height, width, 3), np.float32)
    return _rasterize_into(barycentric, xy, depth, triangles, skip)[0], barycentric


def _rasterize_into(
    barycentric: np.ndarray, xy: np.ndarray, depth: np.ndarray, triangles: np.ndarray, skip: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Rasterize triangles, write their weights (H, W, 3), and return index and inverse depth (H, W)."""
    height, width = barycentric.shape[:2]
    face_index = np.full((height, width), -1, np.int32)
    inverse_depth = np.zeros((height, width), np.float32)
    open_counts: np.ndarray = np.zeros((0, 0), np.int32)
    if skip is None:
        skip = np.zeros((0, 0), np.bool_)
    else:  # a triangle whose pixels are all skipped needs no loop
        open_counts = cv2.integral((~skip).view(np.uint8))
    _rasterize(
        np.ascontiguousarray(xy, np.float64),
        np.ascontiguousarray(depth, np.float64),
        np.ascontiguousarray(triangles, np.int32),
        skip,
        open_counts,
        face_index,
        barycentric,
        inverse_depth,
    )
    return face_index, inverse_depth


def interpolate(
    face_index: np.ndarray,
    barycentric: np.ndarray,
    triangles: np.ndarray,
    attributes: np.ndarray,
    background: float | np.ndarray = 0.0,
) -> np.ndarray:
    """Interpolate vertex attributes at the pixels of a `rasterize` result.

    Args:
        face_index: (H, W) triangle indices.
        barycentric: (H, W, 3) weights.
        triangles: (T, 3) vertex indices.
        attributes: (V, C) attributes of the vertices.
        background: Value of empty pixels, a number or (H, W, C).

    Returns:
        (H, W, C) float32.
    """
    attributes = np.ascontiguousarray(attributes, np.float32)
    out = np.empty((*face_index.shape, attributes.shape[1]), np.float32)
    out[:] = background
    _interpolate(face_index, barycentric, np.ascontiguousarray(triangles, np.int32), attributes, out)
    return out


def rasterize_positions(
    xy: np.ndarray, depth: np.ndarray, triangles: np.ndarray, positions: np.ndarray, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rasterize triangles and interpolate a position of each vertex, in one pass.

    Args:
        xy: (V, 2) pixels, pixel centers at i + 0.5.
        depth: (V,) distances from the camera, as in `rasterize`.
        triangles: (T, 3) int32 vertex indices.
        positions: (V, 2) positions of the vertices, for example in another image.
        width: Width of the image in pixels.
        height: Height of the image in pixels.

    Returns:
        Triangle index (H, W) int32, -1 where empty; positions (H, W, 2) float32, a large negative number where empty.
    """
    face_index = np.full((height, width), -1, np.int32)
    out = np.full((height, width, 2), NOWHERE, np.float32)
    inverse_depth = np.zeros((height, width), np.float32)
    _rasterize_positions(xy, depth, triangles, positions, face_index, inverse_depth, out)
    return face_index, out
