"""The photometric view of a source picture for the identity contrastive loss (paper, section 3.2, figure 4).

Only pixel values change, never geometry. kornia draws and applies each change per picture on the pictures' own device;
it comes with `pip install mimaface[train]` and is needed by training alone.
"""

from functools import cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from kornia.augmentation import ImageSequential


def photometric(pictures: Tensor, seed: int) -> Tensor:
    """pictures (B, 3, H, W) in [-1, 1] seen otherwise: the paper's list, each change on a random part of the batch.

    The same seed gives the same view on one device; PyTorch's own random state stays as it was.
    """
    devices = [pictures.device] if pictures.is_cuda else []
    with torch.random.fork_rng(devices), torch.no_grad():
        torch.manual_seed(seed)
        view = _changes()(pictures.float() * 0.5 + 0.5)
        view = _vignette(_edges(view)).clamp(0, 1)
    return (view * 2 - 1).to(pictures.dtype)


@cache
def _changes() -> "ImageSequential":
    """Those of the paper's list that kornia has: grey, colour, blur, sharpening, lighting, noise, contrast."""
    from kornia import augmentation as kornia

    return kornia.ImageSequential(
        kornia.ColorJiggle(brightness=0.2, saturation=0.3, hue=0.05, p=0.7),
        kornia.RandomGrayscale(p=0.2),
        kornia.RandomContrast((0.6, 1.4), p=0.5),
        kornia.RandomLinearIllumination((0.05, 0.3), p=0.4),
        kornia.RandomGaussianIllumination((0.05, 0.25), p=0.3),
        kornia.RandomGaussianBlur((5, 5), (0.3, 1.5), p=0.3),
        kornia.RandomSharpness((0.2, 1.0), p=0.3),
        kornia.RandomGaussianNoise(std=0.04, p=0.4),
    )


def _drawn(pictures: Tensor, share: float, most: float) -> Tensor:
    """(B, 1, 1, 1) strengths, uniform in [0, most] for a share of the batch and zero for the rest."""
    size = (len(pictures), 1, 1, 1)
    strength = torch.rand(size, device=pictures.device) * most
    return strength * (torch.rand(size, device=pictures.device) < share)


def _edges(pictures: Tensor) -> Tensor:
    """Edges enhanced: the picture's own Laplacian, taken off."""
    kernel = pictures.new_tensor([[0, -1, 0], [-1, 4, -1], [0, -1, 0]]).expand(3, 1, 3, 3)
    laplacian = F.conv2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
    return pictures + _drawn(pictures, 0.3, 0.7) * laplacian


def _vignette(pictures: Tensor) -> Tensor:
    """Darker to the corners, by up to a half there."""
    height, width = pictures.shape[-2:]
    down = torch.linspace(-1, 1, height, device=pictures.device)[:, None]
    across = torch.linspace(-1, 1, width, device=pictures.device)[None]
    return pictures * (1 - _drawn(pictures, 0.3, 0.5) * (down.square() + across.square()) / 2)
