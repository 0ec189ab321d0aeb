"""Affine image warps that reproduce the inputs of the released models bit for bit.

A transform is a (2, 3) matrix that maps input pixels to output pixels. Pixel centers have integer coordinates. The
area outside the input is 0.
"""

from typing import TYPE_CHECKING

import numpy as np

from mimaface_cli.errors import InputError
from mimaface_cli.face.alignment import invert
from mimaface_cli.face.kernels import kernel

if TYPE_CHECKING:
    from torch import Tensor


@kernel
def _warp(image: np.ndarray, inverse: np.ndarray, out: np.ndarray) -> None:
    # The fixed-point arithmetic of OpenCV 4: positions in 1/32 pixel (rounded from 1/1024), weights with 10 bits.
    height, width, channels = image.shape
    for row in range(out.shape[0]):
        x0 = np.int64(np.rint((inverse[0, 1] * row + inverse[0, 2]) * 1024.0)) + 16
        y0 = np.int64(np.rint((inverse[1, 1] * row + inverse[1, 2]) * 1024.0)) + 16
        for column in range(out.shape[1]):
            x = (x0 + np.int64(np.rint(inverse[0, 0] * column * 1024.0))) >> 5
            y = (y0 + np.int64(np.rint(inverse[1, 0] * column * 1024.0))) >> 5
            fx, fy = x & 31, y & 31
            x, y = x >> 5, y >> 5
            for channel in range(channels):
                total = np.int64(0)
                for dy in range(2):
                    if 0 <= y + dy < height:
                        wy = fy if dy else 32 - fy
                        for dx in range(2):
                            if 0 <= x + dx < width:
                                wx = fx if dx else 32 - fx
                                total += np.int64(image[y + dy, x + dx, channel]) * wy * wx
                out[row, column, channel] = (total + 512) >> 10


def warp_image(image: np.ndarray, matrix: np.ndarray, size: int | tuple[int, int]) -> np.ndarray:
    """Warp an 8-bit image bilinearly, as cv2.warpAffine of OpenCV 4 does.

    The result does not depend on the installed OpenCV; OpenCV 5 rounds differently.

    Args:
        image: (H, W, C) uint8.
        matrix: (2, 3) transform from input to output pixels.
        size: Side of the output, or (width, height).

    Returns:
        (height, width, C) uint8.

    Raises:
        InputError: For another dtype or number of dimensions.
    """
    if image.dtype != np.uint8 or image.ndim != 3:
        raise InputError(
            f"Warping needs an H×W×C uint8 image, not {image.dtype} {image.shape}. Convert it to uint8 RGB."
        )
    width, height = (size, size) if isinstance(size, int) else size
    # Positions far away are outside in any case; the limit keeps the fixed-point numbers in range.
    inverse = np.clip(invert(matrix), -1e9, 1e9)
    out = np.empty((height, width, image.shape[2]), np.uint8)
    _warp(np.ascontiguousarray(image), inverse, out)
    return out


def images_to_tensor(images: np.ndarray) -> "Tensor":
    """Convert images to a tensor for the networks.

    Args:
        images: (B, H, W, C) in 0..255, any dtype.

    Returns:
        (B, C, H, W) float32 in [-1, 1].
    """
    import torch

    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255 * 2 - 1


def warp_tensor(images: "Tensor", matrices: np.ndarray, size: int) -> "Tensor":
    """Warp float images bilinearly onto square canvases.

    Positions are rounded as in the release's recorded values (kornia's float32 chain with fused multiply-adds), because
    the last bit of a position is visible at the border of the input.

    Args:
        images: (B, C, H, W) float.
        matrices: (B, 2, 3) transforms from input to output pixels.
        size: Side of the canvas.

    Returns:
        (B, C, size, size).
    """
    import torch
    import torch.nn.functional as F  # noqa: N812  (PyTorch's usual name for it)

    input_to_unit, output_to_unit = _to_unit(*images.shape[-2:]), _to_unit(size, size)
    axis = torch.linspace(-1, 1, size).numpy()
    grids = np.empty((len(matrices), size, size, 2), np.float32)
    last_row = np.array([0, 0, 1], np.float32)
    for grid, matrix in zip(grids, np.asarray(matrices, np.float32), strict=True):
        homogeneous = torch.from_numpy(np.vstack([matrix, last_row]))
        theta = torch.linalg.inv(output_to_unit @ (homogeneous @ torch.linalg.inv(input_to_unit))).numpy()
        for i in range(2):
            along = (axis * theta[i, 0]).astype(np.float64)[None, :]
            across = axis.astype(np.float64)[:, None] * theta[i, 1]
            grid[..., i] = (along + across).astype(np.float32) + theta[i, 2]
    positions = torch.from_numpy(grids).to(images.device)
    return F.grid_sample(images, positions, mode="bilinear", padding_mode="zeros", align_corners=True)


def _to_unit(height: int, width: int) -> "Tensor":
    """Return the (3, 3) float32 map of pixels to coordinates with the outermost pixel centers at -1 and 1."""
    import torch

    return torch.tensor([[2 / (width - 1), 0, -1], [0, 2 / (height - 1), -1], [0, 0, 1]])
