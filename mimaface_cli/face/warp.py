"""Moving pictures by a (2, 3) transform, bit for bit as the released models saw them.

Transforms map input pixels to output pixels; a pixel's center has integer coordinates; outside the input is 0.
"""

from typing import TYPE_CHECKING

import numpy as np

from mimaface_cli.errors import InputError
from mimaface_cli.face.alignment import invert
from mimaface_cli.face.kernels import kernel

if TYPE_CHECKING:
    from torch import Tensor


@kernel
def _warp(image, inverse, out):
    # The fixed-point arithmetic of OpenCV 4: positions in 1/32 pixel (from 1/1024), weights with 10 bits.
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
                total = 0
                for dy in range(2):
                    if 0 <= y + dy < height:
                        wy = fy if dy else 32 - fy
                        for dx in range(2):
                            if 0 <= x + dx < width:
                                total += np.int64(image[y + dy, x + dx, channel]) * wy * (fx if dx else 32 - fx)
                out[row, column, channel] = (total + 512) >> 10


def warp(image: np.ndarray, matrix: np.ndarray, size: int | tuple[int, int]) -> np.ndarray:
    """Bilinear warp of an image (H, W, C) uint8 onto a canvas of `size` (a side, or (width, height)).

    Equal to cv2.warpAffine of OpenCV 4, whatever OpenCV is installed (5 rounds differently).
    Raises InputError for another dtype or shape.
    """
    if image.dtype != np.uint8 or image.ndim != 3:
        raise InputError(f"warp takes an H×W×C uint8 image, got {image.dtype} {image.shape}")
    width, height = (size, size) if isinstance(size, int) else size
    # Far-off positions are outside anyhow; the limit keeps the fixed-point numbers in range.
    inverse = np.clip(invert(matrix), -1e9, 1e9)
    out = np.empty((height, width, image.shape[2]), np.uint8)
    _warp(np.ascontiguousarray(image), inverse, out)
    return out


def image_tensor(images: np.ndarray) -> "Tensor":
    """Pictures (B, H, W, C) in 0..255, of any dtype -> (B, C, H, W) float32 in [-1, 1]."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255 * 2 - 1


def warp_tensor(images: "Tensor", matrices: np.ndarray, size: int) -> "Tensor":
    """Bilinear warp of float images (B, C, H, W) by matrices (B, 2, 3) onto square canvases: (B, C, size, size).

    Positions are rounded as in the recorded release numbers (kornia's float32 chain, fused multiply-adds), because
    at the border of the input the last bit of a position shows.
    """
    import torch
    import torch.nn.functional as F

    to_unit = [_to_unit(*shape) for shape in (images.shape[-2:], (size, size))]
    axis = torch.linspace(-1, 1, size).numpy()
    grids = np.empty((len(matrices), size, size, 2), np.float32)
    for grid, matrix in zip(grids, np.asarray(matrices, np.float32), strict=True):
        homogeneous = torch.from_numpy(np.vstack([matrix, np.float32([0, 0, 1])]))
        theta = torch.linalg.inv(to_unit[1] @ (homogeneous @ torch.linalg.inv(to_unit[0]))).numpy()
        for i in range(2):
            along = (axis * theta[i, 0]).astype(np.float64)[None, :]
            across = axis.astype(np.float64)[:, None] * theta[i, 1]
            grid[..., i] = (along + across).astype(np.float32) + theta[i, 2]
    grid = torch.from_numpy(grids).to(images.device)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def _to_unit(height: int, width: int) -> "Tensor":
    """Pixel positions to coordinates where the outermost pixel centers lie at -1 and 1, 3×3 float32."""
    import torch

    return torch.tensor([[2 / (width - 1), 0, -1], [0, 2 / (height - 1), -1], [0, 0, 1]])
