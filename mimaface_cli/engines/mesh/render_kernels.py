"""Compiled inner loops of `person_render` and `renderer`: they touch only the pixels that a surface covers.

Images are sampled with pixel centers at integers. The kernels release the GIL.
"""

import numpy as np

from mimaface_cli.face.kernels import kernel
from mimaface_cli.face.rasterizer import NOWHERE, mark_jumps_at

Raster = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Triangle index (h, w), -1 where empty, and barycentric weights (h, w, 3), as `rasterizer.rasterize_surface` returns
them; and the triangles (T, 3)."""

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels."""

_SHARPNESS = -0.75  # parameter of the cubic interpolation, as in OpenCV
_SNAP = 1 / 64  # pixels: a position that is so close to a pixel's center shows exactly that pixel
SILHOUETTE_JUMP = 3.0  # pixels of the photo: a larger step between neighbors means that one surface hides another


@kernel
def reflect_index(index: int, size: int) -> int:
    """Reflect an index at the first and last pixel; far outside, return the nearest pixel."""
    if index < 0:
        index = -index
    if index >= size:
        index = 2 * size - 2 - index
    return min(max(index, 0), size - 1)


@kernel(fastmath={"contract"})
def _cubic_weights(x: np.float32) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Weights of four pixels in a row for a position `x`, 0 to 1, between the second and the third."""
    a, one = np.float32(_SHARPNESS), np.float32(1)
    far, near, y = one + x, x, one - x
    first = ((a * far - 5 * a) * far + 8 * a) * far - 4 * a
    second = ((a + 2) * near - (a + 3)) * near * near + one
    third = ((a + 2) * y - (a + 3)) * y * y + one
    return first, second, third, one - first - second - third


@kernel(fastmath={"contract"})
def sample_linear(image: np.ndarray, x: np.float32, y: np.float32, channel: int) -> np.float32:
    """Sample one channel of an image (H, W, C) bilinearly; outside, edge pixels are repeated."""
    height, width = image.shape[:2]
    left, top = int(np.floor(x)), int(np.floor(y))
    u, v = x - np.float32(left), y - np.float32(top)
    right, bottom = min(max(left + 1, 0), width - 1), min(max(top + 1, 0), height - 1)
    left, top = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
    a, b = np.float32(image[top, left, channel]), np.float32(image[top, right, channel])
    c, d = np.float32(image[bottom, left, channel]), np.float32(image[bottom, right, channel])
    upper, lower = a + u * (b - a), c + u * (d - c)
    return upper + v * (lower - upper)


@kernel
def _mix_lines(person: np.ndarray, left: int, top: int, down: tuple, lines: np.ndarray) -> None:
    """Mix four rows of four pixels near the border of an image (H, W, 4), reflected there, into `lines` (16,)."""
    rows, columns = person.shape[:2]
    for n in range(16):
        column, channel = reflect_index(left - 1 + n // 4, columns), n % 4
        lines[n] = 0
        for step in range(4):
            lines[n] += down[step] * np.float32(person[reflect_index(top - 1 + step, rows), column, channel])


@kernel(fastmath={"contract"})
def _mix_inside(
    flat: np.ndarray, pitch: int, start: int, u: np.float32, v: np.float32, down: tuple, lines: np.ndarray
) -> np.float32:
    """Mix four rows of four pixels as `_mix_lines` does, `pitch` bytes apart, and return the alpha at (u, v).

    Unsigned indices, because Python's negative ones keep the loop from becoming vector instructions.
    """
    first, step = np.uint64(start), np.uint64(pitch)
    second = first + step
    third = second + step
    fourth = third + step
    for n in range(16):
        m = np.uint64(n)
        lines[m] = (
            down[0] * np.float32(flat[first + m])
            + down[1] * np.float32(flat[second + m])
            + down[2] * np.float32(flat[third + m])
            + down[3] * np.float32(flat[fourth + m])
        )
    left, right = np.uint64(7), np.uint64(11)
    a, b = np.float32(flat[second + left]), np.float32(flat[second + right])
    c, d = np.float32(flat[third + left]), np.float32(flat[third + right])
    upper, lower = a + u * (b - a), c + u * (d - c)
    return upper + v * (lower - upper)


@kernel(fastmath={"contract"})
def _mix_across(lines: np.ndarray, across: tuple, colors: np.ndarray, row: int, column: int) -> None:
    """Mix four pixels in a row, given as `lines` (16,), into one pixel of colors (h, w, 3), 0 to 255."""
    for channel in range(3):
        value = (
            across[0] * lines[channel]
            + across[1] * lines[4 + channel]
            + across[2] * lines[8 + channel]
            + across[3] * lines[12 + channel]
        )
        colors[row, column, channel] = min(max(value, np.float32(0)), np.float32(255))


@kernel(fastmath={"contract"})
def sample_person(
    raster: Raster,
    texture: np.ndarray,
    person: np.ndarray,
    colors: np.ndarray,
    alpha: np.ndarray,
    positions: np.ndarray,
    edge: np.ndarray,
) -> int:
    """Sample the photo where the front of the head is: colors bicubically, alpha bilinearly.

    Args:
        raster: Raster.
        texture: (V, 2) float32 photo pixel of each vertex.
        person: (H, W, 4) uint8 colors and alpha of the person.
        colors: (h, w, 3) float32, written; 0 where empty.
        alpha: (h, w) float32, written; 0 to 1.
        positions: (h, w, 2) float32 photo pixel of each pixel, written; `NOWHERE` where empty.
        edge: (h, w) uint8; pixels on both sides of a jump of the positions are set to 1.

    Returns:
        The number of jumps.
    """
    index, weights, triangles = raster
    height, width = index.shape
    rows, columns = person.shape[:2]
    zero, most = np.float32(0), np.float32(255)
    flat, lines = person.reshape(-1), np.zeros(16, np.float32)
    jumps = 0
    for row in range(height):
        for column in range(width):
            triangle = index[row, column]
            if triangle < 0:
                positions[row, column, 0] = positions[row, column, 1] = NOWHERE
                colors[row, column, 0] = colors[row, column, 1] = colors[row, column, 2] = alpha[row, column] = zero
                continue
            i, j, k = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
            a, b, c = weights[row, column, 0], weights[row, column, 1], weights[row, column, 2]
            x = a * texture[i, 0] + b * texture[j, 0] + c * texture[k, 0]
            y = a * texture[i, 1] + b * texture[j, 1] + c * texture[k, 1]
            positions[row, column, 0], positions[row, column, 1] = x, y
            jumps += mark_jumps_at(positions, row, column, SILHOUETTE_JUMP, edge)
            left, top = int(np.floor(x + np.float32(_SNAP))), int(np.floor(y + np.float32(_SNAP)))
            u, v = x - np.float32(left), y - np.float32(top)
            is_inside = 1 <= left < columns - 2 and 1 <= top < rows - 2
            if is_inside and ((u < _SNAP and v < _SNAP) or _is_transparent(person, left, top)):
                for channel in range(3):
                    colors[row, column, channel] = np.float32(person[top, left, channel])
                alpha[row, column] = np.float32(person[top, left, 3]) / most
                continue
            across, down = _cubic_weights(max(u, zero)), _cubic_weights(max(v, zero))
            if is_inside:
                opacity = _mix_inside(flat, 4 * columns, 4 * ((top - 1) * columns + left - 1), u, v, down, lines)
            else:
                _mix_lines(person, left, top, down, lines)
                opacity = sample_linear(person, x, y, 3)
            _mix_across(lines, across, colors, row, column)
            alpha[row, column] = min(max(opacity, zero), most) / most
    return jumps


@kernel
def _is_transparent(person: np.ndarray, left: int, top: int) -> bool:
    """Whether the four pixels of an image (H, W, 4) around a position have no alpha."""
    upper = person[top, left, 3] | person[top, left + 1, 3]
    return (upper | person[top + 1, left, 3] | person[top + 1, left + 1, 3]) == 0


@kernel
def blur_marked(canvas: np.ndarray, mask: np.ndarray, weights: np.ndarray) -> None:
    """Blur the marked pixels of an image, in place; the image continues beyond its border by reflection.

    Args:
        canvas: (H, W, 3) uint8 or float32.
        mask: (H, W) uint8, 1 for the pixels to blur.
        weights: (2R + 1,) float32, weights along each axis, which sum to 1.
    """
    height, width = mask.shape
    radius = len(weights) // 2
    rows, columns = np.nonzero(mask)
    blurred = np.zeros((len(rows), 3), np.float32)
    for n in range(len(rows)):
        for down in range(-radius, radius + 1):
            row = reflect_index(rows[n] + down, height)
            for across in range(-radius, radius + 1):
                column = reflect_index(columns[n] + across, width)
                weight = weights[down + radius] * weights[across + radius]
                for channel in range(3):
                    blurred[n, channel] += weight * np.float32(canvas[row, column, channel])
    for n in range(len(rows)):
        for channel in range(3):
            canvas[rows[n], columns[n], channel] = blurred[n, channel]
