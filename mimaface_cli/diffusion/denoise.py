"""The denoising of one clip as pure functions: schedule, UNet input, guidance, Euler step."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Stable Diffusion 1.5's noise schedule.
SD15_SCHEDULE: Mapping[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}


@dataclass(frozen=True)
class Schedule:
    """timesteps (S,), fractional, from noisy to clean; sigmas (S + 1,), the last 0."""

    timesteps: tuple[float, ...]
    sigmas: tuple[float, ...]


def training_sigmas(config: Mapping[str, Any] = SD15_SCHEDULE) -> np.ndarray:
    """Noise level of every training timestep, sqrt((1 - alpha) / alpha), float32."""
    steps, start, end = config["num_train_timesteps"], config["beta_start"], config["beta_end"]
    if config.get("trained_betas"):
        betas = torch.tensor(config["trained_betas"], dtype=torch.float32)
    elif config["beta_schedule"] == "scaled_linear":
        betas = torch.linspace(start**0.5, end**0.5, steps) ** 2
    elif config["beta_schedule"] == "linear":
        betas = torch.linspace(start, end, steps)
    else:
        raise ValueError(f"noise schedule {config['beta_schedule']} is not known")
    alphas = (1 - betas).cumprod(0)
    return ((1 - alphas) / alphas).sqrt().numpy()


def euler_schedule(steps: int = 25, config: Mapping[str, Any] = SD15_SCHEDULE) -> Schedule:
    """`steps` timesteps spread evenly from the last to 0, with interpolated sigmas."""
    if steps < 1:
        raise ValueError("at least one denoising step is needed")
    sigmas = training_sigmas(config)
    timesteps = np.linspace(0, len(sigmas) - 1, steps, dtype=np.float32)[::-1]
    levels = np.interp(timesteps, np.arange(len(sigmas)), sigmas).astype(np.float32)
    return Schedule(tuple(timesteps.tolist()), (*levels.tolist(), 0.0))


def unet_input(latents: Tensor, sigma: float, conditions: Tensor) -> Tensor:
    """Noisy latents (B, 4, F, h, w) and conditions (B, 9, ...) -> (B, 13, ...); only the latents are rescaled."""
    return torch.cat([latents / (sigma**2 + 1) ** 0.5, conditions], 1)


def guided_noise(
    unet: Callable[..., Tensor], sample: Tensor, timestep: float, tokens: Tensor, guidance: float
) -> Tensor:
    """Noise for sample (1, 13, F, h, w) under tokens (1, [F,] T, C); both guidance halves run as one batch.

    The unconditional half has all-zero tokens and the same render, conditioning latents and mask. A guidance of 1
    needs no such half.
    """
    if guidance == 1:
        return unet(sample, timestep, tokens)
    both = unet(sample.expand(2, -1, -1, -1, -1), timestep, torch.cat([torch.zeros_like(tokens), tokens]))
    unconditional, conditional = both.chunk(2)
    return unconditional + guidance * (conditional - unconditional)


def euler_step(latents: Tensor, predicted: Tensor, sigma: float, following: float) -> Tensor:
    """Move the latents along the predicted noise from one noise level to the next."""
    return latents + predicted * (following - sigma)


def denoise(
    unet: Callable[..., Tensor],
    noise: Tensor,
    render: Tensor,
    ica: Tensor,
    tokens: Tensor,
    schedule: Schedule,
    guidance: float = 5.0,
) -> Iterator[Tensor]:
    """Yield a clip's latents (1, 4, F, h, w) after every step, float32; the last ones are the clip.

    noise: standard normal, like the result; render: its latents; ica: `ica.condition`; tokens (1, [F,] T, C).
    render, ica and tokens share the UNet's dtype and device.
    """
    conditions = torch.cat([render, ica], 1)
    latents = noise.to(conditions.device, torch.float32) * max(schedule.sigmas)
    for i, timestep in enumerate(schedule.timesteps):
        sigma, following = schedule.sigmas[i : i + 2]
        sample = unet_input(latents, sigma, conditions.float()).to(conditions.dtype)
        predicted = guided_noise(unet, sample, timestep, tokens, guidance)
        latents = euler_step(latents, predicted.float(), sigma, following)
        yield latents
