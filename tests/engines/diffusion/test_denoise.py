"""Clips, conditioning, schedule and steps."""

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, EulerDiscreteScheduler, UniPCMultistepScheduler
from hypothesis import given
from hypothesis import strategies as st

from mimaface_cli.engines.diffusion.denoise import ClipConditions, denoise, predict_with_guidance
from mimaface_cli.engines.diffusion.denoise_settings import PRESETS, SAMPLERS, DenoiseSettings, build_settings
from mimaface_cli.engines.diffusion.ica import build_ica_channels, plan_clips, sample_noise
from mimaface_cli.engines.diffusion.samplers import (
    SD15_SCHEDULE,
    EulerSampler,
    build_euler_schedule,
    compute_training_sigmas,
    create_sampler,
)
from mimaface_cli.errors import InputError
from mimaface_cli.weights.small_model import PREDICTIONS

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
    channels = build_ica_channels(carried, 7, torch.zeros(1, 4, 7, 2, 5))
    assert channels.shape == (1, 5, 7, 2, 5)
    torch.testing.assert_close(channels[:, :4, :3], carried)
    assert (channels[:, 4, :3] == 1).all() and (channels[:, :, 3:] == 0).all()
    assert (build_ica_channels(None, 7, torch.zeros(1, 4, 7, 2, 5)) == 0).all()


def test_the_noise_is_the_seeds_and_nobody_elses():
    torch.manual_seed(5)
    first = sample_noise(3, 4, 5)
    torch.manual_seed(6)
    torch.testing.assert_close(sample_noise(3, 4, 5), first, rtol=0, atol=0)
    assert not torch.equal(sample_noise(3, 4, 5, seed=1), first)


@pytest.mark.parametrize("steps", [1, 2, 25, 50])
@pytest.mark.parametrize("betas", ["scaled_linear", "linear"])
def test_the_schedule_is_diffusers_euler(steps, betas):
    config = {**SD15_SCHEDULE, "beta_schedule": betas}
    theirs = EulerDiscreteScheduler(**config)
    theirs.set_timesteps(steps)
    ours = build_euler_schedule(steps, config)
    np.testing.assert_allclose(ours.timesteps, theirs.timesteps.numpy(), atol=1e-3)
    np.testing.assert_allclose(ours.sigmas, theirs.sigmas.numpy(), rtol=1e-5)


def test_a_step_is_diffusers_euler_step():
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


def test_a_schedule_from_given_betas_and_unknown_ones():
    betas = np.linspace(1e-4, 0.02, 10).tolist()
    given_betas = compute_training_sigmas({**SD15_SCHEDULE, "trained_betas": betas})
    alphas = np.cumprod(1 - np.array(betas))
    np.testing.assert_allclose(given_betas, np.sqrt((1 - alphas) / alphas), rtol=1e-3)
    with pytest.raises(ValueError, match="cosine"):
        compute_training_sigmas({**SD15_SCHEDULE, "beta_schedule": "cosine"})
    with pytest.raises(ValueError, match="one denoising step"):
        build_euler_schedule(0)


def _unet(sample, timestep, tokens, reuse=None):
    """Noise that tells the halves apart: the latents plus each batch item's token mean."""
    return sample[:, :4] + tokens.flatten(1).mean(1)[:, None, None, None, None]


@pytest.mark.parametrize("batched", [True, False])
def test_guidance_moves_away_from_empty_tokens(batched):
    sample, tokens = torch.randn(1, 13, 2, 3, 3), torch.full((1, 5, 6), 0.25)
    guided = lambda tokens, scale: predict_with_guidance(_unet, sample, 9, tokens, scale, batched=batched)  # noqa: E731
    torch.testing.assert_close(guided(tokens, 5.0), sample[:, :4] + 5 * 0.25)
    torch.testing.assert_close(guided(tokens, 1), sample[:, :4] + 0.25)
    per_frame = tokens[:, None].expand(-1, 2, -1, -1)
    torch.testing.assert_close(guided(per_frame, 5.0), sample[:, :4] + 5 * 0.25)


LATENTS = (1, 4, 2, 3, 3)
NO_CONDITIONS = ClipConditions(torch.zeros(LATENTS), torch.zeros(1, 5, 2, 3, 3), torch.zeros(1, 2, 3))


def oracle(clean, prediction="epsilon"):
    """A perfect model of one clip: the noise, v or latents at the level the timestep stands for."""
    alphas = 1 / (1 + torch.from_numpy(compute_training_sigmas()).double() ** 2)

    def unet(sample, timestep, tokens, reuse=None):
        alpha = np.interp(float(timestep), np.arange(1000), alphas)
        noise = (sample[:, :4] - alpha**0.5 * clean) / (1 - alpha) ** 0.5
        return {"epsilon": noise, "v": alpha**0.5 * noise - (1 - alpha) ** 0.5 * clean, "sample": clean}[prediction]

    return unet


@pytest.mark.parametrize("warm", [0.0, 0.5])
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_denoising_with_a_perfect_model_finds_the_clean_latents(sampler, warm, prediction):
    torch.manual_seed(0)
    clean, start, elsewhere = torch.randn(LATENTS), torch.randn(LATENTS), torch.randn(LATENTS)
    settings = DenoiseSettings(sampler=sampler, steps=8, guidance=1, warm_start=warm)
    rough = elsewhere if warm else None
    model, steps_of = oracle(clean, prediction), create_sampler(settings, prediction)
    steps = list(denoise(model, steps_of, start, NO_CONDITIONS, settings, start=rough))
    assert len(steps) == (4 if warm else 8)
    # Timesteps of Karras' levels are whole numbers: the model is told a level a little off.
    exact = sampler == "euler" or prediction == "sample"
    torch.testing.assert_close(steps[-1], clean, atol=1e-3 if exact else 0.03, rtol=0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_model_takes_the_same_way_whatever_it_predicts(sampler):
    torch.manual_seed(0)
    sample, start = torch.randn(LATENTS), torch.randn(LATENTS)
    settings = DenoiseSettings(sampler=sampler, steps=6, guidance=3)
    ways = {}
    for prediction in PREDICTIONS:
        way = create_sampler(settings, prediction)
        levels = iter(way.sigmas) if sampler == "euler" else iter(way._solver.sigmas.tolist())

        def unet(x, timestep, tokens, reuse=None):
            """Noise that depends on latents and tokens, said in the asked way at the solver's own level."""
            x, alpha = x[:, :4], 1 / (1 + next(levels) ** 2)
            noise = torch.sin(x) + tokens.mean((1, 2)).reshape(-1, 1, 1, 1, 1)
            clean = (x - (1 - alpha) ** 0.5 * noise) / alpha**0.5
            return {"epsilon": noise, "v": alpha**0.5 * noise - (1 - alpha) ** 0.5 * clean, "sample": clean}[prediction]

        conditions = ClipConditions(sample, torch.zeros(1, 5, *LATENTS[2:]), torch.full((1, 2, 3), 0.2))
        ways[prediction] = list(denoise(unet, way, start, conditions, settings))[-1]
    for prediction in PREDICTIONS:
        torch.testing.assert_close(ways[prediction], ways["epsilon"], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("name", "kind"), [("dpm++", DPMSolverMultistepScheduler), ("unipc", UniPCMultistepScheduler)])
def test_multistep_samplers_are_diffusers_own_loop(name, kind):
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
def test_a_warm_start_begins_at_the_noise_of_its_step(sampler):
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


def test_guidance_runs_in_its_share_of_the_steps_only():
    calls = []

    def unet(sample, timestep, tokens, reuse=None):
        calls.append(len(sample))
        return sample[:, :4]

    settings = DenoiseSettings(steps=10, guided=(0.2, 0.5))
    list(denoise(unet, create_sampler(settings), torch.randn(LATENTS), NO_CONDITIONS, settings))
    assert calls == [1, 1, 2, 2, 2, 1, 1, 1, 1, 1]


def test_presets_are_the_release_and_less():
    release = build_settings("release")
    assert release == DenoiseSettings() == PRESETS["release"]
    assert (release.length, release.overlap, release.steps, release.guidance) == (12, 3, 25, 5.0)
    cost = {name: p.steps * (1 + p.guided[1] - p.guided[0]) / (p.length - p.overlap) for name, p in PRESETS.items()}
    assert cost["release"] > 2 * cost["balanced"] > 4 * cost["fast"]
    assert build_settings("fast", steps=12, seed=None) == DenoiseSettings(**{**vars(PRESETS["fast"]), "steps": 12})
    with pytest.raises(InputError, match="preset: unknown preset .best.. Choose release, balanced, fast"):
        build_settings("best")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("length", 0),
        ("overlap", 12),
        ("sampler", "ddim"),
        ("steps", 0),
        ("guidance", 0.5),
        ("guidance", float("nan")),
        ("guided", (0.5, 0.2)),
        ("token_reuse", 0.0),
        ("deep_reuse", 0),
        ("warm_start", 1.5),
        ("seed", -1),
    ],
)
def test_settings_out_of_range_are_refused_with_their_field(name, value):
    with pytest.raises(InputError, match=f"^{name}: .*(out of range|unknown value)"):
        DenoiseSettings(**{name: value})
