"""Images to scaled VAE latents and back, in chunks so that memory does not grow with the clip."""

from collections.abc import Iterator

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from mimaface_cli.engines.diffusion.device import receive, send


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
        distribution = vae.encode(send(part, vae.device, vae.dtype)).latent_dist
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
    for part in _split_frames(latents, chunk):
        yield from _quantize(_decode(vae, part)).cpu().numpy()


def decode_clip(vae: AutoencoderKL, latents: Tensor, chunk: int = 4) -> tuple[Tensor, Tensor]:
    """Decode the latents of a clip at once, without waiting for the device.

    Args:
        vae: The autoencoder.
        latents: (1, 4, F, h, w) scaled latents.
        chunk: Number of images that are decoded together.

    Returns:
        Images (F, 8h, 8w, 3) uint8 RGB on the host, as from `decode_latents`, and a flag on the device that says
        whether all values were finite. Read the flag before the images: it waits for them.
    """
    device = vae.device
    finite: list[Tensor] = []
    quantized: list[Tensor] = []
    for part in _split_frames(latents, chunk):
        images = _decode(vae, part)
        finite.append(images.isfinite().all())
        quantized.append(_quantize(images))
    shape = (latents.shape[2], *quantized[0].shape[1:])
    batch = receive(iter(quantized), shape, torch.uint8, device)
    return batch, torch.stack(finite).all()


def _split_frames(latents: Tensor, chunk: int) -> tuple[Tensor, ...]:
    return latents[0].transpose(0, 1).split(chunk)


def _decode(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Decode scaled latents (N, 4, h, w) to images (N, 3, 8h, 8w) in [-1, 1]."""
    return vae.decode(send(latents / vae.config.scaling_factor, vae.device, vae.dtype)).sample


def _quantize(images: Tensor) -> Tensor:
    """Convert images (N, 3, H, W) in [-1, 1] to (N, H, W, 3) uint8."""
    images = ((images.float() / 2 + 0.5).clamp(0, 1) * 255).to(torch.uint8)
    return images.permute(0, 2, 3, 1).contiguous()
