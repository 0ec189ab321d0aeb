"""The denoising loop of one clip as pure functions: UNet input, guidance, a sampler's steps."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings
from mimaface_cli.engines.diffusion.samplers import Sampler
from mimaface_cli.engines.diffusion.unet import FeatureCache

DenoisingNetwork = Callable[..., Tensor]  # called like `VideoUNet.forward`


@dataclass(frozen=True)
class ClipConditions:
    """The UNet's conditions for one clip. All tensors share the UNet's dtype and device.

    Attributes:
        render: (1, 4, F, h, w) latents of the driving render.
        ica: (1, 5, F, h, w) conditioning latents and mask, see `ica.build_ica_channels`.
        tokens: (1, T, C) condition tokens of the clip, or (1, F, T, C) per frame.
    """

    render: Tensor
    ica: Tensor
    tokens: Tensor


def denoise(
    unet: DenoisingNetwork,
    sampler: Sampler,
    noise: Tensor,
    conditions: ClipConditions,
    settings: DenoiseSettings,
    *,
    start: Tensor | None = None,
    batched: bool = True,
) -> Iterator[Tensor]:
    """Denoise a clip.

    Args:
        unet: The UNet.
        sampler: A fresh sampler; it defines the steps.
        noise: (1, 4, F, h, w) standard normal noise.
        conditions: The clip's conditions.
        settings: Guidance and feature reuse.
        start: Clean latents to start from (noise is added to them), or None to start from noise alone.
        batched: Whether both guidance halves run as one batch.

    Yields:
        Latents (1, 4, F, h, w) float32 after every step; the last ones are the clip.
    """
    context = torch.cat([conditions.render, conditions.ica], 1)
    noise = noise.to(context.device, torch.float32)
    latents = sampler.begin(noise, None if start is None else start.to(noise))
    caches = (FeatureCache(), FeatureCache()) if settings.deep_reuse > 1 or settings.token_reuse < 1 else None
    first = settings.steps - len(sampler.timesteps)
    for step, timestep in enumerate(sampler.timesteps):
        for cache in caches or ():
            cache.use_deep = step % settings.deep_reuse != 0
            cache.use_tokens = step > 0 and first + step >= settings.token_reuse * settings.steps
        sample = torch.cat([sampler.scaled(latents, step).to(context.dtype), context], 1)
        scale = settings.guidance_at(first + step)
        predicted = predict_with_guidance(
            unet, sample, timestep, conditions.tokens, scale, batched=batched, caches=caches
        )
        latents = sampler.step(latents, predicted.float(), step)
        yield latents


def predict_with_guidance(
    unet: DenoisingNetwork,
    sample: Tensor,
    timestep: float,
    tokens: Tensor,
    guidance: float,
    *,
    batched: bool = True,
    caches: tuple[FeatureCache, FeatureCache] | None = None,
) -> Tensor:
    """Compute the UNet's prediction under classifier-free guidance.

    Noise, v and clean latents differ by a map that is affine at a given sample, so guidance on any of them is guidance
    on all. The unconditional half has all-zero tokens and the same render, conditioning latents and mask.

    Args:
        unet: The UNet.
        sample: (1, 13, F, h, w) input of the UNet.
        timestep: The step's timestep, fractional.
        tokens: (1, T, C) or (1, F, T, C) condition tokens.
        guidance: Guidance scale; 1 needs no unconditional half.
        batched: Whether both halves run as one batch, or one after the other where memory is short.
        caches: Feature caches of the conditional half (or of the batch of both) and of the unconditional half.

    Returns:
        (1, 4, F, h, w) prediction.
    """
    conditional_cache, unconditional_cache = caches or (None, None)
    if guidance == 1:
        return unet(sample, timestep, tokens, conditional_cache)
    if batched:
        both = sample.expand(2, -1, -1, -1, -1)
        predicted = unet(both, timestep, torch.cat([torch.zeros_like(tokens), tokens]), conditional_cache)
        unconditional, conditional = predicted.chunk(2)
    else:
        unconditional = unet(sample, timestep, torch.zeros_like(tokens), unconditional_cache)
        conditional = unet(sample, timestep, tokens, conditional_cache)
    # In float32: guidance multiplies the rounding errors of 16-bit numbers.
    unconditional, conditional = unconditional.float(), conditional.float()
    return unconditional + guidance * (conditional - unconditional)
