"""The render of mixed coefficients that drives the UNet, with the release's conventions."""

import numpy as np
import torch
from torch import Tensor

from mimaface_cli.face.bfm import Bfm09, Camera
from mimaface_cli.face.bfm_render import Render, render_face
from mimaface_cli.face.d3dfr import split_coefficients
from mimaface_cli.face.warp import images_to_tensor, warp_tensor


def convert_render(render: Render) -> tuple[Tensor, Tensor]:
    """Convert a render to tensors.

    Returns:
        Colors (3, H, W) in [-1, 1] with background -1, and the mask (1, H, W) of 0 and 1.
    """
    return images_to_tensor(render.rgb[None])[0], torch.from_numpy(render.mask)[None].float()


def warp_render(rgb: Tensor, mask: Tensor, inverse: np.ndarray, size: int) -> tuple[Tensor, Tensor]:
    """Warp the render of a crop into the square image.

    Both tensors are warped. The rim is darkened twice, by the warp and by the mask, as in the released models'
    training.

    Args:
        rgb: (3, 256, 256) colors in [-1, 1].
        mask: (1, 256, 256).
        inverse: (2, 3) transform from the crop to the image.
        size: Side of the image in pixels.

    Returns:
        Colors (3, size, size) and mask (1, size, size).
    """
    warped = warp_tensor(torch.cat([rgb, mask])[None], inverse[None], size)[0]
    rgb, mask = warped[:3], warped[3:]
    return rgb * mask - (1 - mask), mask


def render_condition(model: Bfm09, coefficients: np.ndarray, inverse: np.ndarray, size: int) -> Tensor:
    """Render the condition of one frame.

    Args:
        model: The face model.
        coefficients: (261,) mixed coefficients in the order of D3DFR.
        inverse: (2, 3) transform from the 256 crop to the image.
        size: Side of the image in pixels.

    Returns:
        (3, size, size) in [-1, 1], background -1.
    """
    render = render_face(model, model.face(split_coefficients(coefficients)), Camera())
    return warp_render(*convert_render(render), inverse, size)[0]
