"""From noise to latents: the release's Euler steps, and multistep solvers that need fewer of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings

# Stable Diffusion 1.5's noise schedule.
SD15_SCHEDULE: Mapping[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}
_PREDICTION_TYPES = {"epsilon": "epsilon", "v": "v_prediction", "sample": "sample"}  # ours to diffusers'


class Sampler(Protocol):
    """One clip's way from noise to latents. timesteps: what the UNet is told at each step, from noisy to clean."""

    timesteps: tuple[float, ...]

    def begin(self, noise: Tensor, clean: Tensor | None = None) -> Tensor:
        """Latents of the first step from standard normal noise, or from clean latents with noise of that step's level."""

    def scaled(self, latents: Tensor, step: int) -> Tensor:
        """The latents as the UNet takes them."""

    def step(self, latents: Tensor, predicted: Tensor, step: int) -> Tensor:
        """Latents of the next step from these and what the UNet predicted."""


@dataclass(frozen=True)
class NoiseSchedule:
    """timesteps (S,), fractional, from noisy to clean; sigmas (S + 1,), the last 0."""

    timesteps: tuple[float, ...]
    sigmas: tuple[float, ...]


def compute_training_sigmas(config: Mapping[str, Any] = SD15_SCHEDULE) -> np.ndarray:
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


def build_euler_schedule(steps: int = 25, config: Mapping[str, Any] = SD15_SCHEDULE) -> NoiseSchedule:
    """`steps` timesteps spread evenly from the last to 0, with interpolated sigmas."""
    if steps < 1:
        raise ValueError("at least one denoising step is needed")
    sigmas = compute_training_sigmas(config)
    timesteps = np.linspace(0, len(sigmas) - 1, steps, dtype=np.float32)[::-1]
    levels = np.interp(timesteps, np.arange(len(sigmas)), sigmas).astype(np.float32)
    return NoiseSchedule(tuple(timesteps.tolist()), (*levels.tolist(), 0.0))


class EulerSampler:
    """The release's sampler: latents at the noise level sigma, one straight step from each level to the next.
    prediction: what the UNet gives: epsilon, v or sample.
    """

    def __init__(self, schedule: NoiseSchedule, first: int = 0, prediction: str = "epsilon") -> None:
        self.prediction = prediction
        self.timesteps, self.sigmas = schedule.timesteps[first:], schedule.sigmas[first:]

    def begin(self, noise: Tensor, clean: Tensor | None = None) -> Tensor:
        noise = noise * max(self.sigmas)
        return noise if clean is None else clean + noise

    def scaled(self, latents: Tensor, step: int) -> Tensor:
        return latents / (self.sigmas[step] ** 2 + 1) ** 0.5

    def step(self, latents: Tensor, predicted: Tensor, step: int) -> Tensor:
        return latents + self._noise(latents, predicted, step) * (self.sigmas[step + 1] - self.sigmas[step])

    def _noise(self, latents: Tensor, predicted: Tensor, step: int) -> Tensor:
        """Of latents at level sigma; v is sqrt(alpha) noise - sqrt(1 - alpha) clean with alpha = 1 / (1 + sigma^2)."""
        sigma = self.sigmas[step]
        if self.prediction == "epsilon":
            return predicted
        if self.prediction == "sample":
            return (latents - predicted) / sigma
        return (predicted * (sigma**2 + 1) ** 0.5 + latents * sigma) / (sigma**2 + 1)


class MultistepSampler:
    """diffusers' DPM-Solver++ (2M) or UniPC on the same noise schedule; one for each clip, as they remember steps."""

    def __init__(
        self,
        name: str,
        steps: int,
        first: int = 0,
        prediction: str = "epsilon",
        config: Mapping[str, Any] = SD15_SCHEDULE,
    ) -> None:
        from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler

        kind = {"dpm++": DPMSolverMultistepScheduler, "unipc": UniPCMultistepScheduler}[name]
        # Spaced by even steps of log-SNR (Karras' levels): few steps are then best placed where faces take shape.
        options = {**config, "prediction_type": _PREDICTION_TYPES[prediction], "use_karras_sigmas": True}
        self._solver = kind(**options, solver_order=2)
        self._solver.set_timesteps(steps)
        self._solver.set_begin_index(first)
        self._given = self._solver.timesteps[first:]
        self.timesteps = tuple(self._given.tolist())

    def begin(self, noise: Tensor, clean: Tensor | None = None) -> Tensor:
        if clean is None:
            return noise * self._solver.init_noise_sigma
        return self._solver.add_noise(clean, noise, self._given[:1])

    def scaled(self, latents: Tensor, step: int) -> Tensor:
        return self._solver.scale_model_input(latents, self._given[step])

    def step(self, latents: Tensor, predicted: Tensor, step: int) -> Tensor:
        return self._solver.step(predicted, self._given[step], latents).prev_sample


def create_sampler(settings: DenoiseSettings, prediction: str = "epsilon") -> Sampler:
    """A fresh sampler for one clip and a UNet that predicts epsilon, v or sample."""
    if settings.sampler == "euler":
        return EulerSampler(build_euler_schedule(settings.steps), settings.first_step, prediction)
    return MultistepSampler(settings.sampler, settings.steps, settings.first_step, prediction)
