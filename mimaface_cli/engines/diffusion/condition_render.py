"""From pictures and coefficients to the render that drives the UNet, with the release's conventions."""

import numpy as np
import torch
from torch import Tensor

from mimaface_cli.face.bfm import Bfm09, Camera
from mimaface_cli.face.bfm_render import Render, render_face
from mimaface_cli.face.d3dfr import split_coefficients
from mimaface_cli.face.warp import images_to_tensor, warp_tensor


def convert_render(drawn: Render) -> tuple[Tensor, Tensor]:
    """A render -> (3, H, W) in [-1, 1], background -1, and its mask (1, H, W) of 0 and 1."""
    return images_to_tensor(drawn.rgb[None])[0], torch.from_numpy(drawn.mask)[None].float()


def warp_render(rgb: Tensor, mask: Tensor, inverse: np.ndarray, size: int) -> tuple[Tensor, Tensor]:
    """Carry a crop's render (3, 256, 256) and mask (1, 256, 256) back into the picture: (3 and 1, size, size).

    Both are warped; the rim is darkened once by the warp and once by the mask, as the released models saw it.
    """
    warped = warp_tensor(torch.cat([rgb, mask])[None], inverse[None], size)[0]
    rgb, mask = warped[:3], warped[3:]
    return rgb * mask - (1 - mask), mask


def render_condition(
    model: Bfm09, coefficients: np.ndarray, inverse: np.ndarray, size: int, camera: Camera = Camera()
) -> Tensor:
    """One frame's mixed coefficients (261) and crop-to-picture matrix (2, 3) -> the render (3, size, size)."""
    drawn = render_face(model, model.face(split_coefficients(coefficients)), camera)
    return warp_render(*convert_render(drawn), inverse, size)[0]
