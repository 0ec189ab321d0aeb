"""The photometric view of a source picture for the identity contrastive loss (paper, section 3.2, figure 4)."""

import torch
import torch.nn.functional as F
from torch import Tensor

_GRAY = (0.299, 0.587, 0.114)


def photometric(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures (B, 3, H, W) in [-1, 1] seen otherwise, on their own device: the paper's list (gray, colors, contrast,
    edges, blur, sharpening, light, vignette, noise), each on a random part of the batch. Geometry stays.
    """

    def share(part: float) -> Tensor:
        return (torch.rand(len(pictures), 1, 1, 1, generator=generator, device=generator.device) < part).to(
            pictures.device
        )

    def uniform(low: float, high: float, channels: int = 1) -> Tensor:
        drawn = torch.rand(len(pictures), channels, 1, 1, generator=generator, device=generator.device)
        return low + (high - low) * drawn.to(pictures.device)

    def blend(other: Tensor, part: float, low: float, high: float) -> Tensor:
        return x + share(part) * uniform(low, high) * (other - x)

    x = pictures.float() * 0.5 + 0.5
    x = x * (1 + share(0.7) * (uniform(0.7, 1.3, 3) - 1)) + share(0.5) * uniform(-0.1, 0.1, 3)
    gray = (x * x.new_tensor(_GRAY)[:, None, None]).sum(1, keepdim=True)
    x = blend(gray.expand_as(x), 0.2, 1, 1)  # after the colors, which would tint it
    x = blend(x.mean((1, 2, 3), keepdim=True).expand_as(x), 0.5, -0.4, 0.4)  # contrast
    x = x + share(0.3) * uniform(0, 0.5) * _laplacian(x)  # edge enhancement
    x = blend(_soft(_soft(x)), 0.3, 0.5, 1)
    x = blend(_soft(x), 0.3, -1, -0.2)  # sharpening: away from the soft picture
    across = torch.linspace(-1, 1, x.shape[3], device=x.device)
    down = torch.linspace(-1, 1, x.shape[2], device=x.device)[:, None]
    x = x * (1 + share(0.5) * (uniform(-0.35, 0.35) * across + uniform(-0.35, 0.35) * down))  # light from a side
    x = x * (1 - share(0.3) * uniform(0, 0.5) * (across**2 + down**2) / 2)  # vignette
    grain = torch.randn(x.shape, generator=generator, device=generator.device).to(x.device)
    x = x + share(0.4) * uniform(0, 0.06) * grain
    return (x.clamp(0, 1) * 2 - 1).to(pictures.dtype)


def _soft(pictures: Tensor) -> Tensor:
    """The mean of each pixel's 3×3 neighborhood."""
    return F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)


def _laplacian(pictures: Tensor) -> Tensor:
    """Each pixel against its four neighbors."""
    kernel = pictures.new_tensor([[0, -1, 0], [-1, 4, -1], [0, -1, 0]]).expand(3, 1, 3, 3)
    return F.conv2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
