"""Pictures to scaled VAE latents and back, in chunks so that memory does not grow with the clip."""

from collections.abc import Iterator

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor


def encode_latents(
    vae: AutoencoderKL, images: Tensor, chunk: int = 4, generator: torch.Generator | None = None
) -> Tensor:
    """Pictures (F, 3, H, W) in [-1, 1] -> scaled latents (1, 4, F, H/8, W/8).

    The distribution's mode, as in training, or a sample of it where a generator is given (the release samples).
    """
    parts = []
    for part in images.split(chunk):
        distribution = vae.encode(part.to(vae.device, vae.dtype)).latent_dist
        parts.append(distribution.mode() if generator is None else distribution.sample(generator))
    return (torch.cat(parts) * vae.config.scaling_factor).transpose(0, 1)[None]


def decode_latents(vae: AutoencoderKL, latents: Tensor, chunk: int = 4) -> Iterator[np.ndarray]:
    """Scaled latents (1, 4, F, h, w) -> F pictures (8h, 8w, 3) uint8 RGB, one by one; values truncated as released."""
    for part in latents[0].transpose(0, 1).split(chunk):
        images = vae.decode((part / vae.config.scaling_factor).to(vae.device, vae.dtype)).sample
        images = ((images.float() / 2 + 0.5).clamp(0, 1) * 255).to(torch.uint8)
        yield from images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
