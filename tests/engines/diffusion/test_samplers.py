"""Samplers: equal to those of diffusers."""

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, EulerDiscreteScheduler, UniPCMultistepScheduler

from mimaface_cli.engines.diffusion.denoise_settings import SAMPLERS, DenoiseSettings
from mimaface_cli.engines.diffusion.samplers import (
    SD15_SCHEDULE,
    EulerSampler,
    build_euler_schedule,
    compute_training_sigmas,
    create_sampler,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # diffusers' own


LATENTS = (1, 4, 2, 3, 3)


@pytest.mark.parametrize("steps", [1, 2, 25, 50])
@pytest.mark.parametrize("betas", ["scaled_linear", "linear"])
def test_euler_schedule_equals_diffusers(steps, betas):
    config = {**SD15_SCHEDULE, "beta_schedule": betas}
    theirs = EulerDiscreteScheduler(**config)
    theirs.set_timesteps(steps)
    ours = build_euler_schedule(steps, config)
    np.testing.assert_allclose(ours.timesteps, theirs.timesteps.numpy(), atol=1e-3)
    np.testing.assert_allclose(ours.sigmas, theirs.sigmas.numpy(), rtol=1e-5)


def test_euler_step_equals_diffusers():
    theirs = EulerDiscreteScheduler(**SD15_SCHEDULE)
    theirs.set_timesteps(4)
    ours, latents = EulerSampler(build_euler_schedule(4)), torch.randn(1, 4, 2, 3, 3)
    for i, timestep in enumerate(theirs.timesteps):
        predicted = torch.randn_like(latents)
        scaled = theirs.scale_model_input(latents, timestep)
        torch.testing.assert_close(ours.scaled(latents, i), scaled)
        expected = theirs.step(predicted, timestep, latents).prev_sample
        latents = ours.step(latents, predicted, i)
        torch.testing.assert_close(latents, expected, atol=1e-5, rtol=1e-4)


def test_training_sigmas_from_betas_and_for_unknown_schedules():
    betas = np.linspace(1e-4, 0.02, 10).tolist()
    given_betas = compute_training_sigmas({**SD15_SCHEDULE, "trained_betas": betas})
    alphas = np.cumprod(1 - np.array(betas))
    np.testing.assert_allclose(given_betas, np.sqrt((1 - alphas) / alphas), rtol=1e-3)
    with pytest.raises(ValueError, match="cosine"):
        compute_training_sigmas({**SD15_SCHEDULE, "beta_schedule": "cosine"})
    with pytest.raises(ValueError, match="one denoising step"):
        build_euler_schedule(0)


@pytest.mark.parametrize(("name", "kind"), [("dpm++", DPMSolverMultistepScheduler), ("unipc", UniPCMultistepScheduler)])
def test_multistep_samplers_equal_diffusers(name, kind):
    torch.manual_seed(1)
    noises, latents = torch.randn(6, *LATENTS), torch.randn(LATENTS)
    theirs = kind(**SD15_SCHEDULE, use_karras_sigmas=True, solver_order=2)
    theirs.set_timesteps(6)
    ours = create_sampler(DenoiseSettings(sampler=name, steps=6))
    mine = ours.begin(latents)
    for step, (timestep, predicted) in enumerate(zip(theirs.timesteps, noises, strict=True)):
        assert ours.timesteps[step] == timestep
        mine, latents = ours.step(mine, predicted, step), theirs.step(predicted, timestep, latents).prev_sample
        torch.testing.assert_close(mine, latents, rtol=0, atol=0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_warm_start_begins_at_the_noise_level_of_its_step(sampler):
    settings = DenoiseSettings(sampler=sampler, steps=10, warm_start=0.3)
    warm, whole = create_sampler(settings), create_sampler(DenoiseSettings(sampler=sampler, steps=10))
    assert warm.timesteps == whole.timesteps[7:]
    clean, start = torch.full(LATENTS, 3.0), torch.randn(LATENTS)
    torch.testing.assert_close(
        warm.scaled(warm.begin(start, clean), 0) - warm.scaled(warm.begin(start, 0 * clean), 0),
        clean / (1 + np.interp(warm.timesteps[0], np.arange(1000), compute_training_sigmas()) ** 2) ** 0.5,
        atol=0.05,
        rtol=0.02,
    )
