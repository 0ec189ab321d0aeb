"""Clips, conditioning, schedule and steps."""

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st

from mimaface_cli.diffusion.denoise import (
    SD15_SCHEDULE,
    denoise,
    euler_schedule,
    euler_step,
    guided_noise,
    training_sigmas,
    unet_input,
)
from mimaface_cli.diffusion.ica import condition, noise, plan_clips


pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # diffusers' own


@given(st.integers(1, 200), st.integers(1, 32), st.integers(0, 31))
def test_clips_give_every_frame_once_and_follow_on(count, length, overlap):
    if overlap >= length:
        with pytest.raises(ValueError, match="cannot cover"):
            list(plan_clips(count, length, overlap))
        return
    clips = list(plan_clips(count, length, overlap))
    assert [frame for clip in clips for frame in clip.frames[clip.new]] == list(range(count))
    for before, clip in zip(clips, clips[1:]):
        assert before.frames[length - overlap :] == clip.frames[:overlap] and before.end == length
    for clip in clips:
        assert len(clip.frames) == length and clip.end > clip.carried
        assert set(clip.frames[clip.end :]) <= {count - 1}
    assert clips[0].carried == 0 and all(clip.carried == overlap for clip in clips[1:])


def test_conditioning_holds_the_carried_latents_and_their_mask():
    carried = torch.randn(1, 4, 3, 2, 5)
    channels = condition(carried, 7, torch.zeros(1, 4, 7, 2, 5))
    assert channels.shape == (1, 5, 7, 2, 5)
    torch.testing.assert_close(channels[:, :4, :3], carried)
    assert (channels[:, 4, :3] == 1).all() and (channels[:, :, 3:] == 0).all()
    assert (condition(None, 7, torch.zeros(1, 4, 7, 2, 5)) == 0).all()


def test_the_noise_is_the_seeds_and_nobody_elses():
    torch.manual_seed(5)
    first = noise(3, 4, 5)
    torch.manual_seed(6)
    torch.testing.assert_close(noise(3, 4, 5), first, rtol=0, atol=0)
    assert not torch.equal(noise(3, 4, 5, seed=1), first)


@pytest.mark.parametrize("steps", [1, 2, 25, 50])
@pytest.mark.parametrize("betas", ["scaled_linear", "linear"])
def test_the_schedule_is_diffusers_euler(steps, betas):
    config = {**SD15_SCHEDULE, "beta_schedule": betas}
    theirs = EulerDiscreteScheduler(**config)
    theirs.set_timesteps(steps)
    ours = euler_schedule(steps, config)
    np.testing.assert_allclose(ours.timesteps, theirs.timesteps.numpy(), atol=1e-3)
    np.testing.assert_allclose(ours.sigmas, theirs.sigmas.numpy(), rtol=1e-5)


def test_a_step_is_diffusers_euler_step():
    theirs = EulerDiscreteScheduler(**SD15_SCHEDULE)
    theirs.set_timesteps(4)
    schedule, latents = euler_schedule(4), torch.randn(1, 4, 2, 3, 3)
    for i, timestep in enumerate(theirs.timesteps):
        predicted = torch.randn_like(latents)
        scaled = theirs.scale_model_input(latents, timestep)
        torch.testing.assert_close(unet_input(latents, schedule.sigmas[i], latents)[:, :4], scaled)
        expected = theirs.step(predicted, timestep, latents).prev_sample
        latents = euler_step(latents, predicted, *schedule.sigmas[i : i + 2])
        torch.testing.assert_close(latents, expected, atol=1e-5, rtol=1e-4)


def test_a_schedule_from_given_betas_and_unknown_ones():
    betas = np.linspace(1e-4, 0.02, 10).tolist()
    given_betas = training_sigmas({**SD15_SCHEDULE, "trained_betas": betas})
    alphas = np.cumprod(1 - np.array(betas))
    np.testing.assert_allclose(given_betas, np.sqrt((1 - alphas) / alphas), rtol=1e-3)
    with pytest.raises(ValueError, match="cosine"):
        training_sigmas({**SD15_SCHEDULE, "beta_schedule": "cosine"})
    with pytest.raises(ValueError, match="one denoising step"):
        euler_schedule(0)


def _unet(sample, timestep, tokens):
    """Noise that tells the halves apart: the latents plus each batch item's token mean."""
    return sample[:, :4] + tokens.flatten(1).mean(1)[:, None, None, None, None]


def test_guidance_moves_away_from_empty_tokens():
    sample, tokens = torch.randn(1, 13, 2, 3, 3), torch.full((1, 5, 6), 0.25)
    torch.testing.assert_close(guided_noise(_unet, sample, 9, tokens, 5.0), sample[:, :4] + 5 * 0.25)
    torch.testing.assert_close(guided_noise(_unet, sample, 9, tokens, 1), sample[:, :4] + 0.25)
    per_frame = tokens[:, None].expand(-1, 2, -1, -1)
    torch.testing.assert_close(guided_noise(_unet, sample, 9, per_frame, 5.0), sample[:, :4] + 5 * 0.25)


def test_denoising_with_a_perfect_model_finds_the_clean_latents():
    clean, start = torch.randn(1, 4, 2, 3, 3), torch.randn(1, 4, 2, 3, 3)
    schedule = euler_schedule(6)
    sigma_of = dict(zip(schedule.timesteps, schedule.sigmas))

    def oracle(sample, timestep, tokens):
        sigma = sigma_of[timestep]
        return (sample[:, :4] * (sigma**2 + 1) ** 0.5 - clean) / sigma

    render, ica = torch.zeros(1, 4, 2, 3, 3), torch.zeros(1, 5, 2, 3, 3)
    steps = list(denoise(oracle, start, render, ica, torch.zeros(1, 2, 3), schedule))
    assert len(steps) == 6
    torch.testing.assert_close(steps[-1], clean, atol=1e-4, rtol=1e-4)
