"""Photometric augmentation of the source image for the identity contrastive loss."""

import torch
from torch import Tensor
from torch.nn import functional

from mimaface_cli.engines.diffusion.device import send

_GRAY_WEIGHTS = (0.299, 0.587, 0.114)


def augment_photometric(images: Tensor, generator: torch.Generator) -> Tensor:
    """Change the appearance of images, but not their geometry.

    Each change of the paper's list (colors, gray, contrast, edges, blur, sharpening, illumination, vignette, noise)
    applies to a random part of the batch.

    Args:
        images: (B, 3, H, W) in [-1, 1].
        generator: Source of randomness.

    Returns:
        Augmented images of the same shape, range, dtype and device.

    Source: paper, section 3.2 and figure 4.
    """

    def select(share: float) -> Tensor:
        values = torch.rand(len(images), 1, 1, 1, generator=generator, device=generator.device)
        return (values < share).to(images.device)

    def uniform(low: float, high: float, channels: int = 1) -> Tensor:
        values = torch.rand(len(images), channels, 1, 1, generator=generator, device=generator.device)
        return low + (high - low) * values.to(images.device)

    def blend(other: Tensor, share: float, low: float, high: float) -> Tensor:
        return x + select(share) * uniform(low, high) * (other - x)

    x = images.float() * 0.5 + 0.5
    x = x * (1 + select(0.7) * (uniform(0.7, 1.3, 3) - 1)) + select(0.5) * uniform(-0.1, 0.1, 3)
    gray = (x * send(torch.tensor(_GRAY_WEIGHTS), x.device)[:, None, None]).sum(1, keepdim=True)
    x = blend(gray.expand_as(x), 0.2, 1, 1)  # After the colors, which would tint it.
    x = blend(x.mean((1, 2, 3), keepdim=True).expand_as(x), 0.5, -0.4, 0.4)  # Contrast.
    x = x + select(0.3) * uniform(0, 0.5) * _laplacian(x)  # Edge enhancement.
    x = blend(_blur(_blur(x)), 0.3, 0.5, 1)
    x = blend(_blur(x), 0.3, -1, -0.2)  # Sharpening: away from the blurred image.
    horizontal = torch.linspace(-1, 1, x.shape[3], device=x.device)
    vertical = torch.linspace(-1, 1, x.shape[2], device=x.device)[:, None]
    x = x * (1 + select(0.5) * (uniform(-0.35, 0.35) * horizontal + uniform(-0.35, 0.35) * vertical))  # Side light.
    x = x * (1 - select(0.3) * uniform(0, 0.5) * (horizontal**2 + vertical**2) / 2)  # Vignette.
    noise = torch.randn(x.shape, generator=generator, device=generator.device).to(x.device)
    x = x + select(0.4) * uniform(0, 0.06) * noise
    return (x.clamp(0, 1) * 2 - 1).to(images.dtype)


def _blur(images: Tensor) -> Tensor:
    """Return the mean of each pixel's 3×3 neighborhood."""
    return functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)


def _laplacian(images: Tensor) -> Tensor:
    """Return four times each pixel minus its four neighbors."""
    kernel = send(torch.tensor([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]]), images.device).expand(3, 1, 3, 3)
    return functional.conv2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
