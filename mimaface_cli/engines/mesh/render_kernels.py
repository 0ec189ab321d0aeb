"""Compiled inner loops of `person_render` and `renderer`: they touch only the pixels that a surface covers.

Images are sampled with pixel centers at integers. The kernels release the GIL.
"""

import numpy as np

from mimaface_cli.face.kernels import kernel
from mimaface_cli.face.rasterizer import NOWHERE

Raster = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Triangle index (h, w), -1 where empty, and barycentric weights (h, w, 3), as `rasterizer.rasterize` returns them; and
the triangles (T, 3)."""

_SHARPNESS = -0.75  # parameter of the cubic interpolation, as in OpenCV
_SNAP = 1 / 64  # pixels: a position that is so close to a pixel's center shows exactly that pixel


@kernel
def _reflect(index: int, size: int) -> int:
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
def _sample_linear(image: np.ndarray, x: np.float32, y: np.float32, channel: int) -> np.float32:
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
        column, channel = _reflect(left - 1 + n // 4, columns), n % 4
        lines[n] = 0
        for step in range(4):
            lines[n] += down[step] * np.float32(person[_reflect(top - 1 + step, rows), column, channel])


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
def sample_person(
    raster: Raster,
    texture: np.ndarray,
    person: np.ndarray,
    colors: np.ndarray,
    alpha: np.ndarray,
    positions: np.ndarray,
) -> None:
    """Sample the photo where the front of the head is: colors bicubically, alpha bilinearly.

    Args:
        raster: Raster.
        texture: (V, 2) float32 photo pixel of each vertex.
        person: (H, W, 4) uint8 colors and alpha of the person.
        colors: (h, w, 3) float32, written; 0 where empty.
        alpha: (h, w) float32, written; 0 to 1.
        positions: (h, w, 2) float32 photo pixel of each pixel, written; `NOWHERE` where empty.
    """
    index, weights, triangles = raster
    height, width = index.shape
    rows, columns = person.shape[:2]
    zero, most = np.float32(0), np.float32(255)
    flat, lines = person.reshape(-1), np.zeros(16, np.float32)
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
            left, top = int(np.floor(x + np.float32(_SNAP))), int(np.floor(y + np.float32(_SNAP)))
            u, v = x - np.float32(left), y - np.float32(top)
            is_inside = 1 <= left < columns - 2 and 1 <= top < rows - 2
            if is_inside and u < _SNAP and v < _SNAP:
                for channel in range(3):
                    colors[row, column, channel] = np.float32(person[top, left, channel])
                alpha[row, column] = np.float32(person[top, left, 3]) / most
                continue
            across, down = _cubic_weights(max(u, zero)), _cubic_weights(max(v, zero))
            if is_inside:
                opacity = _mix_inside(flat, 4 * columns, 4 * ((top - 1) * columns + left - 1), u, v, down, lines)
            else:
                _mix_lines(person, left, top, down, lines)
                opacity = _sample_linear(person, x, y, 3)
            for channel in range(3):
                value = (
                    across[0] * lines[channel]
                    + across[1] * lines[4 + channel]
                    + across[2] * lines[8 + channel]
                    + across[3] * lines[12 + channel]
                )
                colors[row, column, channel] = min(max(value, zero), most)
            alpha[row, column] = min(max(opacity, zero), most) / most


@kernel(fastmath={"contract"})
def blend_texture(
    raster: Raster,
    is_selected: np.ndarray,
    attributes: np.ndarray,
    image: np.ndarray,
    colors: np.ndarray,
    alpha: np.ndarray,
    is_opaque: bool,
) -> None:
    """Blend a second texture over the colors of some triangles, in place.

    Args:
        raster: Raster.
        is_selected: (S,) bool, whether a triangle gets the texture; triangles from S on do not.
        attributes: (V, 6) float32 for each vertex: pixel of `image`, share of the texture, factor on its colors.
        image: (H, W, 3) uint8.
        colors: (h, w, 3) float32.
        alpha: (h, w) float32, 0 to 1.
        is_opaque: Whether the texture is blended over the alpha, too.
    """
    index, weights, triangles = raster
    height, width = index.shape
    for row in range(height):
        for column in range(width):
            triangle = index[row, column]
            if triangle < 0 or triangle >= len(is_selected) or not is_selected[triangle]:
                continue
            first, second, third = (
                attributes[triangles[triangle, 0]],
                attributes[triangles[triangle, 1]],
                attributes[triangles[triangle, 2]],
            )
            a, b, c = weights[row, column, 0], weights[row, column, 1], weights[row, column, 2]
            share = a * first[2] + b * second[2] + c * third[2]
            if share <= 0:
                continue
            x = a * first[0] + b * second[0] + c * third[0]
            y = a * first[1] + b * second[1] + c * third[1]
            for channel in range(3):
                k = 3 + channel
                gain = a * first[k] + b * second[k] + c * third[k]
                value = gain * _sample_linear(image, x, y, channel)
                colors[row, column, channel] += share * (value - colors[row, column, channel])
            if is_opaque:
                alpha[row, column] += share * (np.float32(1) - alpha[row, column])


@kernel(fastmath={"contract"})
def multiply_colors(raster: Raster, factors: np.ndarray, colors: np.ndarray) -> None:
    """Multiply colors (h, w, 3) float32 by interpolated factors (V,) float32 of the vertices, in place."""
    index, weights, triangles = raster
    height, width = index.shape
    for row in range(height):
        for column in range(width):
            triangle = index[row, column]
            if triangle >= 0:
                i, j, k = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
                factor = (
                    weights[row, column, 0] * factors[i]
                    + weights[row, column, 1] * factors[j]
                    + weights[row, column, 2] * factors[k]
                )
                for channel in range(3):
                    colors[row, column, channel] *= factor


@kernel(fastmath={"contract"})
def fade_alpha(
    raster: Raster,
    fade: np.ndarray,
    is_fading: np.ndarray,
    share: float,
    alpha: np.ndarray,
) -> None:
    """Multiply alpha (h, w) float32 by a share of the interpolated opacity (V,) of fading triangles (T,), in place."""
    index, weights, triangles = raster
    height, width = index.shape
    for row in range(height):
        for column in range(width):
            triangle = index[row, column]
            if triangle >= 0 and is_fading[triangle]:
                i, j, k = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
                opacity = (
                    weights[row, column, 0] * fade[i]
                    + weights[row, column, 1] * fade[j]
                    + weights[row, column, 2] * fade[k]
                )
                alpha[row, column] *= np.float32(1) - np.float32(share) * (np.float32(1) - opacity)


@kernel(fastmath={"contract"})
def underlay_texture(
    raster: Raster,
    attributes: np.ndarray,
    person: np.ndarray,
    cover: np.ndarray,
    share: float,
    colors: np.ndarray,
    alpha: np.ndarray,
) -> None:
    """Lay a surface under colors and alpha, in place.

    Args:
        raster: Raster.
        attributes: (V, 5) float32 for each vertex: pixel of `person`, lowest opacity, factor on the opacity, factor on
            the colors.
        person: (H, W, 4) uint8 colors and alpha.
        cover: (h, w) float32, the coverage of the raster, blurred.
        share: Factor on the opacity.
        colors: (h, w, 3) float32.
        alpha: (h, w) float32, 0 to 1.
    """
    index, weights, triangles = raster
    height, width = index.shape
    zero, one = np.float32(0), np.float32(1)
    for row in range(height):
        for column in range(width):
            triangle, above = index[row, column], alpha[row, column]
            if triangle < 0 or above >= 1:
                continue
            first, second, third = (
                attributes[triangles[triangle, 0]],
                attributes[triangles[triangle, 1]],
                attributes[triangles[triangle, 2]],
            )
            a, b, c = weights[row, column, 0], weights[row, column, 1], weights[row, column, 2]
            x = a * first[0] + b * second[0] + c * third[0]
            y = a * first[1] + b * second[1] + c * third[1]
            least = a * first[2] + b * second[2] + c * third[2]
            fade = a * first[3] + b * second[3] + c * third[3]
            factor = a * first[4] + b * second[4] + c * third[4]
            edge = min(max(2 * cover[row, column] - one, zero), one)
            opacity = max(least, _sample_linear(person, x, y, 3) / np.float32(255)) * fade * edge * np.float32(share)
            total = above + (one - above) * opacity
            if total <= 0:
                continue
            for channel in range(3):
                behind = factor * _sample_linear(person, x, y, channel)
                colors[row, column, channel] = behind + above / total * (colors[row, column, channel] - behind)
            alpha[row, column] = total


@kernel(fastmath={"contract"})
def compose_opaque(
    region: np.ndarray, colors: np.ndarray, alpha: np.ndarray, rim: np.ndarray, rest_share: float
) -> None:
    """Lay colors over a part of an opaque frame, in place.

    Args:
        region: (h, w, 3) uint8.
        colors: (h, w, 3) float32, 0 to 255.
        alpha: (h, w) float32, 0 to 1.
        rim: (h, w, 3) int16, what to add to the composition.
        rest_share: Factor on `rim`; 0 to ignore it.
    """
    height, width = alpha.shape
    half, zero, most = np.float32(0.5), np.float32(0), np.float32(255)
    for row in range(height):
        for column in range(width):
            opacity = alpha[row, column]
            if opacity <= 0 and rest_share <= 0:
                continue
            for channel in range(3):
                under = np.float32(region[row, column, channel])
                value = under + opacity * (colors[row, column, channel] - under)
                if rest_share > 0:
                    value += np.float32(rest_share) * np.float32(rim[row, column, channel])
                region[row, column, channel] = np.uint8(min(max(value + half, zero), most))
