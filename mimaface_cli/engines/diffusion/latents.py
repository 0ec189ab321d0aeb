"""Images to scaled VAE latents and back, in chunks so that memory does not grow with the clip."""

from collections.abc import Iterator

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor


def encode_latents(
    vae: AutoencoderKL, images: Tensor, chunk: int = 4, generator: torch.Generator | None = None
) -> Tensor:
    """Encode images.

    Args:
        vae: The autoencoder.
        images: (F, 3, H, W) in [-1, 1].
        chunk: Number of images that are encoded together.
        generator: Source of randomness for a sample of the distribution (as the release does); None for its mode (as
            in training).

    Returns:
        (1, 4, F, H/8, W/8) scaled latents.
    """
    parts = []
    for part in images.split(chunk):
        distribution = vae.encode(part.to(vae.device, vae.dtype)).latent_dist
        parts.append(distribution.mode() if generator is None else distribution.sample(generator))
    return (torch.cat(parts) * vae.config.scaling_factor).transpose(0, 1)[None]


def decode_latents(vae: AutoencoderKL, latents: Tensor, chunk: int = 4) -> Iterator[np.ndarray]:
    """Decode latents.

    Args:
        vae: The autoencoder.
        latents: (1, 4, F, h, w) scaled latents.
        chunk: Number of images that are decoded together.

    Yields:
        F images (8h, 8w, 3) uint8 RGB, one by one; values are truncated as in the release, not rounded.
    """
    for part in latents[0].transpose(0, 1).split(chunk):
        images = vae.decode((part / vae.config.scaling_factor).to(vae.device, vae.dtype)).sample
        images = ((images.float() / 2 + 0.5).clamp(0, 1) * 255).to(torch.uint8)
        yield from images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
