"""Samplers: the release's Euler steps, and multistep solvers that need fewer steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings

SD15_SCHEDULE: Mapping[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}
"""The noise schedule of Stable Diffusion 1.5."""

_PREDICTION_TYPES = {"epsilon": "epsilon", "v": "v_prediction", "sample": "sample"}  # our names to diffusers'


class Sampler(Protocol):
    """Computes the latents of one clip from noise, step by step.

    Attributes:
        timesteps: The UNet's timestep of each step, from noisy to clean.
    """

    timesteps: tuple[float, ...]

    def begin(self, noise: Tensor, clean: Tensor | None = None) -> Tensor:
        """Return the latents of the first step: scaled noise, or clean latents with noise of that step's level."""
        ...

    def scaled(self, latents: Tensor, step: int) -> Tensor:
        """Return the latents scaled as the UNet expects them."""
        ...

    def step(self, latents: Tensor, predicted: Tensor, step: int) -> Tensor:
        """Return the latents of the next step from the current ones and the UNet's prediction."""
        ...


@dataclass(frozen=True)
class NoiseSchedule:
    """Noise levels of the steps.

    Attributes:
        timesteps: (S,) fractional timesteps, from noisy to clean.
        sigmas: (S + 1,) noise levels; the last is 0.
    """

    timesteps: tuple[float, ...]
    sigmas: tuple[float, ...]


def compute_training_sigmas(config: Mapping[str, Any] = SD15_SCHEDULE) -> np.ndarray:
    """Compute the noise level sqrt((1 - alpha) / alpha) of every training timestep, float32.

    Raises:
        ValueError: For an unknown schedule.
    """
    steps, start, end = config["num_train_timesteps"], config["beta_start"], config["beta_end"]
    if config.get("trained_betas"):
        betas = torch.tensor(config["trained_betas"], dtype=torch.float32)
    elif config["beta_schedule"] == "scaled_linear":
        betas = torch.linspace(start**0.5, end**0.5, steps) ** 2
    elif config["beta_schedule"] == "linear":
        betas = torch.linspace(start, end, steps)
    else:
        raise ValueError(f"unknown noise schedule {config['beta_schedule']}")
    alphas = (1 - betas).cumprod(0)
    return ((1 - alphas) / alphas).sqrt().numpy()


def build_euler_schedule(steps: int = 25, config: Mapping[str, Any] = SD15_SCHEDULE) -> NoiseSchedule:
    """Spread timesteps evenly from the last one to 0, with interpolated sigmas.

    Raises:
        ValueError: For less than one step.
    """
    if steps < 1:
        raise ValueError("at least one denoising step is needed")
    sigmas = compute_training_sigmas(config)
    timesteps = np.linspace(0, len(sigmas) - 1, steps, dtype=np.float32)[::-1]
    levels = np.interp(timesteps, np.arange(len(sigmas)), sigmas).astype(np.float32)
    return NoiseSchedule(tuple(timesteps.tolist()), (*levels.tolist(), 0.0))


class EulerSampler:
    """The release's sampler: latents at noise level sigma, one straight step from each level to the next.

    Args:
        schedule: Timesteps and noise levels.
        first: Index of the first step, for a warm start.
        prediction: Output of the UNet: "epsilon", "v" or "sample".

    Source: T. Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022.
    """

    def __init__(self, schedule: NoiseSchedule, first: int = 0, prediction: str = "epsilon") -> None:
        self.prediction = prediction
        self.timesteps, self.sigmas = schedule.timesteps[first:], schedule.sigmas[first:]

    def begin(self, noise: Tensor, clean: Tensor | None = None) -> Tensor:
        """Return the latents of the first step."""
        noise = noise * max(self.sigmas)
        return noise if clean is None else clean + noise

    def scaled(self, latents: Tensor, step: int) -> Tensor:
        """Return latents of unit variance."""
        return latents / (self.sigmas[step] ** 2 + 1) ** 0.5

    def step(self, latents: Tensor, predicted: Tensor, step: int) -> Tensor:
        """Return the latents of the next step."""
        return latents + self._to_noise(latents, predicted, step) * (self.sigmas[step + 1] - self.sigmas[step])

    def _to_noise(self, latents: Tensor, predicted: Tensor, step: int) -> Tensor:
        """Convert the prediction to noise; v is sqrt(alpha) noise - sqrt(1 - alpha) clean, alpha = 1 / (1 + sigma²)."""
        sigma = self.sigmas[step]
        if self.prediction == "epsilon":
            return predicted
        if self.prediction == "sample":
            return (latents - predicted) / sigma
        return (predicted * (sigma**2 + 1) ** 0.5 + latents * sigma) / (sigma**2 + 1)


class MultistepSampler:
    """DPM-Solver++ (2M) or UniPC of diffusers on the same noise schedule.

    The solvers remember earlier steps: create one for each clip.

    Args:
        name: "dpm++" or "unipc".
        steps: Number of steps.
        first: Index of the first step, for a warm start.
        prediction: Output of the UNet: "epsilon", "v" or "sample".
        config: The noise schedule.
    """

    def __init__(
        self,
        name: str,
        steps: int,
        first: int = 0,
        prediction: str = "epsilon",
        config: Mapping[str, Any] = SD15_SCHEDULE,
    ) -> None:
        from diffusers import DPMSolverMultistepScheduler

        from mimaface_cli.engines.diffusion.unipc import UniPCScheduler

        kinds: dict[str, Any] = {"dpm++": DPMSolverMultistepScheduler, "unipc": UniPCScheduler}
        # Levels after Karras et al.: few steps are then spent where faces take shape.
        options = {**config, "prediction_type": _PREDICTION_TYPES[prediction], "use_karras_sigmas": True}
        self._solver = kinds[name](**options, solver_order=2)
        self._solver.set_timesteps(steps)
        self._solver.set_begin_index(first)
        self._first = first
        self._solver_timesteps = self._solver.timesteps[first:]
        self.timesteps: tuple[float, ...] = tuple(self._solver_timesteps.tolist())

    def begin(self, noise: Tensor, clean: Tensor | None = None) -> Tensor:
        """Return the latents of the first step."""
        if clean is None:
            return noise * self._solver.init_noise_sigma
        # As the solver's `add_noise`, without copies of its tables to the device.
        alpha, sigma = self._solver._sigma_to_alpha_sigma_t(self._solver.sigmas[self._first])
        return alpha * clean + sigma * noise

    def scaled(self, latents: Tensor, step: int) -> Tensor:
        """Return the latents scaled as the UNet expects them."""
        return self._solver.scale_model_input(latents, self._solver_timesteps[step])

    def step(self, latents: Tensor, predicted: Tensor, step: int) -> Tensor:
        """Return the latents of the next step."""
        return self._solver.step(predicted, self._solver_timesteps[step], latents).prev_sample


def create_sampler(settings: DenoiseSettings, prediction: str = "epsilon") -> Sampler:
    """Create a sampler for one clip.

    Args:
        settings: Sampler name, steps and warm start.
        prediction: Output of the UNet: "epsilon", "v" or "sample".
    """
    if settings.sampler == "euler":
        return EulerSampler(build_euler_schedule(settings.steps), settings.first_step, prediction)
    return MultistepSampler(settings.sampler, settings.steps, settings.first_step, prediction)
