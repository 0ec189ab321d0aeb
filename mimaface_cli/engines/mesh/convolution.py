"""3×3 convolutions for a small network that runs once per frame on the CPU.

An image plane is split by the parity of its rows and columns. All values that an output needs then lie at fixed offsets
in flat arrays, so every inner loop runs over contiguous memory. With stride 1, the minimal filtering algorithm
F(2×2, 3×3) needs 16 multiplications for 4 pixels instead of 36.

The kernels release the GIL, so several threads can run networks at once. They do not use BLAS, whose threads would
compete with those of the frames.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016, sections 4.1 and 5.
"""

import threading
from dataclasses import dataclass

import numpy as np

from mimaface_cli.face.kernels import kernel as compiled

_STRIP = 256  # pixels of a plane that are multiplied at once, so that all their sums stay in the cache
_PITCH = _STRIP + 16  # distance of rows in scratch memory; a power of two would map all rows to the same cache lines
_OUTPUTS, _INPUTS = 8, 4  # channels that the inner loop multiplies at once
_TILE = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])  # the matrix G of the paper

_workspace = threading.local()


@dataclass(frozen=True)
class PackedKernel:
    """Weights of a 3×3 convolution in the order that the inner loop reads them.

    Attributes:
        weights: (16 or 1, output blocks, input blocks, 4, 8) float32.
        outputs: Number of output channels O.
        inputs: Number of input channels C.
        stride: 1 or 2.
    """

    weights: np.ndarray
    outputs: int
    inputs: int
    stride: int


def pack_kernel(kernel: np.ndarray, stride: int = 1) -> PackedKernel:
    """Arrange the weights of a convolution for `convolve`.

    Args:
        kernel: (O, C, 3, 3) weights.
        stride: 1 or 2.
    """
    outputs, inputs = kernel.shape[:2]
    if kernel.shape[2:] != (3, 3) or stride not in (1, 2):
        raise ValueError(f"no 3×3 kernel of stride 1 or 2: shape {kernel.shape}, stride {stride}")
    if stride == 1:
        planes = np.einsum("ai,bj,ocij->aboc", _TILE, _TILE, kernel, optimize=True).reshape(16, outputs, inputs)
    else:
        planes = kernel.reshape(1, outputs, 9 * inputs)
    padding = ((0, 0), (0, -planes.shape[1] % _OUTPUTS), (0, -planes.shape[2] % _INPUTS))
    planes = np.pad(planes, padding).transpose(0, 2, 1)
    blocks = planes.reshape(len(planes), planes.shape[1] // _INPUTS, _INPUTS, planes.shape[2] // _OUTPUTS, _OUTPUTS)
    weights = np.ascontiguousarray(blocks.transpose(0, 3, 1, 2, 4), np.float32)
    return PackedKernel(weights, outputs, inputs, stride)


def convolve(
    values: np.ndarray,
    kernel: np.ndarray | PackedKernel,
    bias: np.ndarray,
    *,
    stride: int = 1,
    slope: float | None = None,
    doubled: int = 0,
) -> np.ndarray:
    """Convolve an image with 3×3 kernels and a zero border of one pixel, as `torch.nn.functional.conv2d` does.

    Args:
        values: (C, H, W) float32.
        kernel: (O, C, 3, 3) weights, or the result of `pack_kernel`, which is much faster in repeated calls.
        bias: (O,) float32.
        stride: 1 or 2. The stride of a packed kernel must be the same.
        slope: Slope of a leaky ReLU for negative results. None applies no activation.
        doubled: Number of leading channels that `join` doubled. Seven of their sixteen products per tile are 0, and are
            skipped. H and W must be even then, and the stride 1.

    Returns:
        (O, ceil(H / stride), ceil(W / stride)) float32.
    """
    packed = kernel if isinstance(kernel, PackedKernel) else pack_kernel(kernel, stride)
    values, bias = np.ascontiguousarray(values, np.float32), np.ascontiguousarray(bias, np.float32)
    if packed.stride != stride or values.shape[0] != packed.inputs or bias.shape != (packed.outputs,):
        raise ValueError(
            f"the kernel of stride {packed.stride} from {packed.inputs} to {packed.outputs} channels does not fit "
            f"values {values.shape}, bias {bias.shape} and stride {stride}"
        )
    _, height, width = values.shape
    if doubled and (stride != 1 or height % 2 or width % 2):
        raise ValueError(f"no doubled image: shape {values.shape}, stride {stride}")
    result = np.empty((packed.outputs, -(-height // stride), -(-width // stride)), np.float32)
    factor, scratch = np.float32(1 if slope is None else slope), _scratch(packed, height, width)
    if stride == 1:
        _convolve_tiles(values, packed.weights, bias, factor, doubled // _INPUTS, result, scratch)
    else:
        _convolve_strided(values, packed.weights, bias, factor, result, scratch)
    return result


def join(low: np.ndarray, link: np.ndarray) -> np.ndarray:
    """Double the size of an image by repeating its pixels, and append the channels of another image.

    Args:
        low: (A, h, w) float32.
        link: (B, 2h, 2w) float32.

    Returns:
        (A + B, 2h, 2w) float32.
    """
    result = np.empty((len(low) + len(link), *link.shape[1:]), np.float32)
    _repeat_pixels(np.ascontiguousarray(low, np.float32), result)
    result[len(low) :] = link
    return result


def _scratch(packed: PackedKernel, height: int, width: int) -> np.ndarray:
    """Return scratch memory of the calling thread; fresh memory would cost more time than its use."""
    planes = 4 * packed.inputs * (height // 2 + 2) * (width // 2 + 2) + width + 2 * _STRIP
    rows = 4 * packed.inputs + 16 * (packed.outputs + _OUTPUTS) + 8
    size = planes + rows * _PITCH + 16 * (packed.inputs + packed.outputs + _OUTPUTS) + _OUTPUTS * _STRIP
    memory = getattr(_workspace, "memory", None)
    if memory is None or len(memory) < size:
        memory = _workspace.memory = np.zeros(size, np.float32)
    return memory


@compiled
def _repeat_pixels(low: np.ndarray, result: np.ndarray) -> None:
    channels, height, width = low.shape
    for channel in range(channels):
        for row in range(height):
            source, target = low[channel, row], result[channel, 2 * row]
            for column in range(width):
                target[2 * column] = source[column]
                target[2 * column + 1] = source[column]
            result[channel, 2 * row + 1] = target


@compiled
def _split_planes(values: np.ndarray, pitch: int, size: int, planes: np.ndarray) -> None:
    """Split each channel with its border into 4 planes of even or odd rows and columns, `size` pixels each."""
    channels, height, width = values.shape
    for channel in range(channels):
        start = 4 * channel * size
        for plane in range(4):
            first = start + plane * size
            planes[first : first + pitch] = 0
            planes[first + size - pitch : first + size] = 0
        for row in range(height):
            source = values[channel, row]
            first = start + 2 * ((row + 1) % 2) * size + (row + 1) // 2 * pitch
            even, odd = planes[first : first + pitch], planes[first + size : first + size + pitch]
            even[0] = even[pitch - 1] = odd[pitch - 1] = 0
            for column in range(width // 2):
                odd[column] = source[2 * column]
                even[column + 1] = source[2 * column + 1]
            if width % 2:
                odd[width // 2] = source[width - 1]


@compiled(fastmath={"contract"})
def _add_products(values: np.ndarray, offsets: np.ndarray, weights: np.ndarray, count: int, sums: np.ndarray) -> None:
    """Add 4 rows of values, times weights (4, 8), to 8 rows of sums.

    The weights are named one by one: they stay in registers, and the loop becomes vector instructions.
    """
    a, b, c, d = weights[0], weights[1], weights[2], weights[3]
    a0, a1, a2, a3, a4, a5, a6, a7 = a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]
    b0, b1, b2, b3, b4, b5, b6, b7 = b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]
    c0, c1, c2, c3, c4, c5, c6, c7 = c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]
    d0, d1, d2, d3, d4, d5, d6, d7 = d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]
    first, second, third, fourth = (
        values[offsets[0] :],
        values[offsets[1] :],
        values[offsets[2] :],
        values[offsets[3] :],
    )
    for k in range(count):
        v, w, x, y = first[k], second[k], third[k], fourth[k]
        sums[k] += v * a0 + w * b0 + x * c0 + y * d0
        sums[k + _STRIP] += v * a1 + w * b1 + x * c1 + y * d1
        sums[k + 2 * _STRIP] += v * a2 + w * b2 + x * c2 + y * d2
        sums[k + 3 * _STRIP] += v * a3 + w * b3 + x * c3 + y * d3
        sums[k + 4 * _STRIP] += v * a4 + w * b4 + x * c4 + y * d4
        sums[k + 5 * _STRIP] += v * a5 + w * b5 + x * c5 + y * d5
        sums[k + 6 * _STRIP] += v * a6 + w * b6 + x * c6 + y * d6
        sums[k + 7 * _STRIP] += v * a7 + w * b7 + x * c7 + y * d7


@compiled
def _multiply(
    values: np.ndarray,
    offsets: np.ndarray,
    weights: np.ndarray,
    skipped: int,
    count: int,
    sums: np.ndarray,
    target: np.ndarray,
    step: int,
) -> None:
    """Multiply rows of values by a matrix of weights (output blocks, input blocks, 4, 8).

    Input row j begins at `offsets[j]` of `values`, output row i at `i * step` of `target`. The values of the
    first `skipped` input blocks count as 0.
    """
    for block in range(weights.shape[0]):
        sums[:] = 0
        for inputs in range(skipped, weights.shape[1]):
            _add_products(values, offsets[_INPUTS * inputs :], weights[block, inputs], count, sums)
        for output in range(_OUTPUTS):
            row = (_OUTPUTS * block + output) * step
            target[row : row + count] = sums[_STRIP * output : _STRIP * output + count]


@compiled(fastmath={"contract"})
def _transform_rows(
    planes: np.ndarray, first: int, second: int, sign: np.float32, size: int, count: int, target: np.ndarray
) -> None:
    """Compute one row of the transformed 4×4 tiles: Bᵀ d B of the paper."""
    even, next_even = planes[first : first + count + 1], planes[second : second + count + 1]
    odd, next_odd = planes[first + size :], planes[second + size :]
    for k in range(count):
        a, b = even[k] + sign * next_even[k], odd[k] + sign * next_odd[k]
        c, d = even[k + 1] + sign * next_even[k + 1], odd[k + 1] + sign * next_odd[k + 1]
        target[k] = a - c
        target[k + _PITCH] = b + c
        target[k + 2 * _PITCH] = c - b
        target[k + 3 * _PITCH] = b - d


@compiled(fastmath={"contract"})
def _transform_back(tiles: np.ndarray, count: int, bias: np.float32, slope: np.float32, pixels: np.ndarray) -> None:
    """Compute the 2×2 pixels of tiles, Aᵀ m A of the paper, with bias and activation.

    Even rows are written to rows 0 and 1 of `pixels`, odd rows to rows 4 and 5: even columns first.
    """
    for k in range(count):
        for column in range(4):
            a, b = tiles[k + (4 + column) * _PITCH], tiles[k + (8 + column) * _PITCH]
            pixels[k + column * _PITCH] = tiles[k + column * _PITCH] + a + b
            pixels[k + (4 + column) * _PITCH] = a - b - tiles[k + (12 + column) * _PITCH]
    for k in range(count):
        for row in range(2):
            a, b = pixels[k + (4 * row + 1) * _PITCH], pixels[k + (4 * row + 2) * _PITCH]
            even = pixels[k + 4 * row * _PITCH] + a + b + bias
            odd = a - b - pixels[k + (4 * row + 3) * _PITCH] + bias
            pixels[k + 4 * row * _PITCH] = even if even > 0 else even * slope
            pixels[k + (4 * row + 1) * _PITCH] = odd if odd > 0 else odd * slope


@compiled
def _store_pixels(pixels: np.ndarray, start: int, count: int, pitch: int, result: np.ndarray) -> None:
    """Store `count` tiles from `start` on as 2×2 pixels of one channel (H, W)."""
    height, width = result.shape
    for tile_row in range(start // pitch, (start + count - 1) // pitch + 1):
        begin = max(0, start - tile_row * pitch)
        end = min((width + 1) // 2, start + count - tile_row * pitch)
        for odd in range(2):
            if begin < end and 2 * tile_row + odd < height:
                row = result[2 * tile_row + odd]
                source = pixels[4 * odd * _PITCH + tile_row * pitch + begin - start :]
                target = row[2 * begin :]
                pairs = min(end, width // 2) - begin
                for k in range(pairs):
                    target[2 * k] = source[k]
                    target[2 * k + 1] = source[k + _PITCH]
                if end > width // 2:
                    row[width - 1] = source[pairs]


@compiled
def _strip_length(total: int) -> int:
    """Return the length of a strip, a multiple of 16: the fewest strips cover all pixels, and all are equally long."""
    strips = (total + _STRIP - 1) // _STRIP
    return ((total + strips - 1) // strips + 15) // 16 * 16


@compiled
def _convolve_tiles(
    values: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray,
    slope: np.float32,
    doubled: int,
    result: np.ndarray,
    scratch: np.ndarray,
) -> None:
    """Convolve with stride 1, by tiles of 2×2 results.

    In the first `doubled` input blocks, both middle rows of each 4×4 tile are equal, and both middle columns: the third
    row and the third column of the transformed tile, their differences, are 0.
    """
    channels, height, width = values.shape
    pitch = (width + 1) // 2 + 1
    total = (height + 1) // 2 * pitch
    size = total + pitch
    step, tile_step = 4 * _PITCH + 16, 16 * _PITCH + 16
    transformed = scratch[4 * channels * size + pitch + 2 * _STRIP :]
    tiles = transformed[channels * step :]
    pixels = tiles[weights.shape[1] * _OUTPUTS * tile_step :]
    sums = pixels[8 * _PITCH : 8 * _PITCH + _OUTPUTS * _STRIP]
    _split_planes(values, pitch, size, scratch)
    offsets = np.zeros(weights.shape[2] * _INPUTS, np.int64)
    offsets[:channels] = np.arange(channels) * step
    length = _strip_length(total)
    one = np.float32(1)
    for start in range(0, total, length):
        for row in range(4):
            first = (0, 2 * size, pitch, 2 * size)[row]
            second = (pitch, pitch, 2 * size, 2 * size + pitch)[row]
            sign = one if row == 1 else -one
            for channel in range(doubled * _INPUTS if row == 2 else 0, channels):
                place = 4 * channel * size + start
                target = transformed[channel * step :]
                _transform_rows(scratch, place + first, place + second, sign, size, length, target)
            for column in range(4):
                k = 4 * row + column
                target = tiles[k * _PITCH :]
                skipped = doubled if row == 2 or column == 2 else 0
                _multiply(transformed[column * _PITCH :], offsets, weights[k], skipped, length, sums, target, tile_step)
        for output in range(len(result)):
            _transform_back(tiles[output * tile_step :], length, bias[output], slope, pixels)
            _store_pixels(pixels, start, min(length, total - start), pitch, result[output])


@compiled
def _convolve_strided(
    values: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray,
    slope: np.float32,
    result: np.ndarray,
    scratch: np.ndarray,
) -> None:
    """Convolve with stride 2: the 9 values of each result lie at fixed offsets in the planes."""
    channels, height, width = values.shape
    pitch = (width + 1) // 2 + 1
    total = (height + 1) // 2 * pitch
    size = total + pitch
    rows = scratch[4 * channels * size + pitch + 2 * _STRIP :]
    sums = rows[weights.shape[1] * _OUTPUTS * _PITCH :][: _OUTPUTS * _STRIP]
    _split_planes(values, pitch, size, scratch)
    offsets = np.zeros(weights.shape[2] * _INPUTS, np.int64)
    for channel in range(channels):
        for k in range(9):
            i, j = k // 3, k % 3
            offsets[9 * channel + k] = (4 * channel + 2 * (i % 2) + j % 2) * size + i // 2 * pitch + j // 2
    length = _strip_length(total)
    for start in range(0, total, length):
        _multiply(scratch[start:], offsets, weights[0], 0, length, sums, rows, _PITCH)
        stop = min(start + length, total)
        for output in range(len(result)):
            for row in range(start // pitch, (stop - 1) // pitch + 1):
                begin, end = max(0, start - row * pitch), min(pitch - 1, stop - row * pitch)
                if begin < end:
                    source = rows[output * _PITCH + row * pitch + begin - start :]
                    target = result[output, row, begin:end]
                    for k in range(end - begin):
                        value = source[k] + bias[output]
                        target[k] = value if value > 0 else value * slope
