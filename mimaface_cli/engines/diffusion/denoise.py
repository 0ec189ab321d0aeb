"""The denoising of one clip as pure functions: UNet input, guidance, the loop over a sampler's steps."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings
from mimaface_cli.engines.diffusion.samplers import Sampler
from mimaface_cli.engines.diffusion.unet import FeatureCache


def predict_with_guidance(
    unet: Callable[..., Tensor],
    sample: Tensor,
    timestep: float,
    tokens: Tensor,
    guidance: float,
    *,
    batched: bool = True,
    reuse: tuple[FeatureCache, FeatureCache] | None = None,
) -> Tensor:
    """The UNet's prediction for sample (1, 13, F, h, w) under tokens (1, [F,] T, C), guided. Noise, v and clean latents
    differ by a map that is affine at a given sample, so guidance on any of them is guidance on all.

    The unconditional half has all-zero tokens and the same render, conditioning latents and mask. Both halves run as
    one batch, or one after the other where memory is short. A guidance of 1 needs no such half. reuse: what the
    conditional (or both) and the unconditional half keep between steps.
    """
    kept, other = reuse or (None, None)
    if guidance == 1:
        return unet(sample, timestep, tokens, kept)
    if batched:
        both = sample.expand(2, -1, -1, -1, -1)
        noise = unet(both, timestep, torch.cat([torch.zeros_like(tokens), tokens]), kept)
        unconditional, conditional = noise.chunk(2)
    else:
        unconditional = unet(sample, timestep, torch.zeros_like(tokens), other)
        conditional = unet(sample, timestep, tokens, kept)
    return unconditional + guidance * (conditional - unconditional)


def denoise(
    unet: Callable[..., Tensor],
    sampler: Sampler,
    noise: Tensor,
    render: Tensor,
    ica: Tensor,
    tokens: Tensor,
    settings: DenoiseSettings = DenoiseSettings(),
    *,
    clean: Tensor | None = None,
    batched: bool = True,
) -> Iterator[Tensor]:
    """Yield a clip's latents (1, 4, F, h, w) after every step, float32; the last ones are the clip.

    noise: standard normal, like the result; render: its latents; ica: `ica.condition`; tokens (1, [F,] T, C); clean:
    latents to start from with noise on them, None for noise alone. render, ica and tokens share the UNet's dtype and
    device. Of the settings guidance and reuse count here; the sampler has the steps.
    """
    conditions = torch.cat([render, ica], 1)
    noise = noise.to(conditions.device, torch.float32)
    latents = sampler.begin(noise, None if clean is None else clean.to(noise))
    reuse = (FeatureCache(), FeatureCache()) if settings.deep_reuse > 1 or settings.token_reuse < 1 else None
    first = settings.steps - len(sampler.timesteps)
    for step, timestep in enumerate(sampler.timesteps):
        for kept in reuse or ():
            kept.take_deep = step % settings.deep_reuse != 0
            kept.take_tokens = step > 0 and first + step >= settings.token_reuse * settings.steps
        sample = torch.cat([sampler.scaled(latents, step).to(conditions.dtype), conditions], 1)
        scale = settings.guidance_at(first + step)
        predicted = predict_with_guidance(unet, sample, timestep, tokens, scale, batched=batched, reuse=reuse)
        latents = sampler.step(latents, predicted.float(), step)
        yield latents
