"""Compiled inner loops of `person_render` and `renderer` that blend layers: second textures, light, hidden surfaces.

They touch only the pixels that a surface covers, and release the GIL.
"""

import numpy as np

from mimaface_cli.engines.mesh.render_kernels import Box, Raster, reflect_index, sample_linear
from mimaface_cli.face.kernels import kernel


@kernel(fastmath={"contract"})
def _interpolate(raster: Raster, row: int, column: int, values: np.ndarray) -> np.float32:
    """Interpolate values (V,) of the vertices at a covered pixel."""
    index, weights, triangles = raster
    triangle = index[row, column]
    return (
        weights[row, column, 0] * values[triangles[triangle, 0]]
        + weights[row, column, 1] * values[triangles[triangle, 1]]
        + weights[row, column, 2] * values[triangles[triangle, 2]]
    )


@kernel(fastmath={"contract"})
def blend_texture(
    raster: Raster,
    is_selected: np.ndarray,
    attributes: np.ndarray,
    image: np.ndarray,
    colors: np.ndarray,
    alpha: np.ndarray,
    is_opaque: bool,
    box: Box,
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
        box: The pixels that these triangles may cover.
    """
    index, weights, triangles = raster
    left, top, right, bottom = box
    for row in range(top, bottom):
        for column in range(left, right):
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
                value = gain * sample_linear(image, x, y, channel)
                colors[row, column, channel] += share * (value - colors[row, column, channel])
            if is_opaque:
                alpha[row, column] += share * (np.float32(1) - alpha[row, column])


@kernel(fastmath={"contract"})
def multiply_colors(raster: Raster, factors: np.ndarray, colors: np.ndarray, alpha: np.ndarray) -> None:
    """Multiply the visible colors of a surface by factors of its vertices, in place.

    Args:
        raster: Raster.
        factors: (V,) float32.
        colors: (h, w, 3) float32.
        alpha: (h, w) float32; where it is 0, colors stay.
    """
    index = raster[0]
    height, width = index.shape
    for row in range(height):
        for column in range(width):
            if index[row, column] >= 0 and alpha[row, column] > 0:
                factor = _interpolate(raster, row, column, factors)
                for channel in range(3):
                    colors[row, column, channel] *= factor


@kernel(fastmath={"contract"})
def fade_alpha(
    raster: Raster,
    fade: np.ndarray,
    is_fading: np.ndarray,
    share: float,
    alpha: np.ndarray,
    box: Box,
) -> None:
    """Multiply alpha (h, w) float32 by a share of the interpolated opacity (V,) of fading triangles (T,), in place.

    `box` holds the pixels that these triangles may cover.
    """
    index = raster[0]
    left, top, right, bottom = box
    for row in range(top, bottom):
        for column in range(left, right):
            triangle = index[row, column]
            if triangle >= 0 and is_fading[triangle]:
                opacity = _interpolate(raster, row, column, fade)
                alpha[row, column] *= np.float32(1) - np.float32(share) * (np.float32(1) - opacity)


@kernel
def _measure_coverage(index: np.ndarray, row: int, column: int, weights: np.ndarray) -> np.float32:
    """Return the weighted share of pixels around one that a surface covers; weights: along each axis, sum 1."""
    height, width = index.shape
    radius, total = len(weights) // 2, np.float32(0)
    for down in range(-radius, radius + 1):
        other = reflect_index(row + down, height)
        for across in range(-radius, radius + 1):
            if index[other, reflect_index(column + across, width)] >= 0:
                total += weights[down + radius] * weights[across + radius]
    return total


@kernel(fastmath={"contract"})
def underlay_texture(
    raster: Raster,
    attributes: np.ndarray,
    person: np.ndarray,
    is_inner: np.ndarray,
    blur: np.ndarray,
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
        is_inner: (h, w) uint8, 1 where the surface covers all pixels within the reach of `blur`.
        blur: (2R + 1,) float32, weights along each axis by which the edge of the surface is softened; their sum is 1.
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
            edge = one
            if not is_inner[row, column]:
                edge = min(max(2 * _measure_coverage(index, row, column, blur) - one, zero), one)
            opacity = max(least, sample_linear(person, x, y, 3) / np.float32(255)) * fade * edge * np.float32(share)
            total = above + (one - above) * opacity
            if total <= 0:
                continue
            for channel in range(3):
                behind = factor * sample_linear(person, x, y, channel)
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
            if opacity >= 1 and rest_share <= 0:
                for channel in range(3):
                    region[row, column, channel] = np.uint8(min(max(colors[row, column, channel] + half, zero), most))
                continue
            for channel in range(3):
                under = np.float32(region[row, column, channel])
                value = under + opacity * (colors[row, column, channel] - under)
                if rest_share > 0:
                    value += np.float32(rest_share) * np.float32(rim[row, column, channel])
                region[row, column, channel] = np.uint8(min(max(value + half, zero), most))
