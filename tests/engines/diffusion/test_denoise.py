"""The denoising loop: guidance, steps, and exactness with a perfect model."""

import numpy as np
import pytest
import torch

from mimaface_cli.engines.diffusion.denoise import ClipConditions, denoise, predict_with_guidance
from mimaface_cli.engines.diffusion.denoise_settings import SAMPLERS, DenoiseSettings
from mimaface_cli.engines.diffusion.samplers import (
    EulerSampler,
    compute_training_sigmas,
    create_sampler,
)
from mimaface_cli.weights.small_model import PREDICTIONS

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # diffusers' own


LATENTS = (1, 4, 2, 3, 3)


NO_CONDITIONS = ClipConditions(torch.zeros(LATENTS), torch.zeros(1, 5, 2, 3, 3), torch.zeros(1, 2, 3))


def _unet(sample, timestep, tokens, cache=None):
    """Predict noise that differs between the halves: the latents plus each batch item's token mean."""
    return sample[:, :4] + tokens.flatten(1).mean(1)[:, None, None, None, None]


def oracle(clean, prediction="epsilon"):
    """Return a perfect model of one clip: it predicts noise, v or clean latents at the timestep's noise level."""
    alphas = 1 / (1 + torch.from_numpy(compute_training_sigmas()).double() ** 2)

    def unet(sample, timestep, tokens, cache=None):
        alpha = np.interp(float(timestep), np.arange(1000), alphas)
        noise = (sample[:, :4] - alpha**0.5 * clean) / (1 - alpha) ** 0.5
        return {"epsilon": noise, "v": alpha**0.5 * noise - (1 - alpha) ** 0.5 * clean, "sample": clean}[prediction]

    return unet


@pytest.mark.parametrize("batched", [True, False])
def test_guidance_extrapolates_from_the_unconditional_prediction(batched):
    sample, tokens = torch.randn(1, 13, 2, 3, 3), torch.full((1, 5, 6), 0.25)

    def guided(tokens, scale):
        return predict_with_guidance(_unet, sample, 9, tokens, scale, batched=batched)

    torch.testing.assert_close(guided(tokens, 5.0), sample[:, :4] + 5 * 0.25)
    torch.testing.assert_close(guided(tokens, 1), sample[:, :4] + 0.25)
    per_frame = tokens[:, None].expand(-1, 2, -1, -1)
    torch.testing.assert_close(guided(per_frame, 5.0), sample[:, :4] + 5 * 0.25)


@pytest.mark.parametrize("warm", [0.0, 0.5])
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_denoise_with_a_perfect_model_returns_the_clean_latents(sampler, warm, prediction):
    torch.manual_seed(0)
    clean, start, elsewhere = torch.randn(LATENTS), torch.randn(LATENTS), torch.randn(LATENTS)
    settings = DenoiseSettings(sampler=sampler, steps=8, guidance=1, warm_start=warm)
    rough = elsewhere if warm else None
    model, steps_of = oracle(clean, prediction), create_sampler(settings, prediction)
    steps = list(denoise(model, steps_of, start, NO_CONDITIONS, settings, start=rough))
    assert len(steps) == (4 if warm else 8)
    # Timesteps of Karras' levels are rounded to integers: the model sees a slightly different level.
    exact = sampler == "euler" or prediction == "sample"
    torch.testing.assert_close(steps[-1], clean, atol=1e-3 if exact else 0.03, rtol=0)


def predict_in_terms_of(prediction, sampler):
    """Return a UNet whose noise depends on latents and tokens, and which predicts noise, v or clean latents."""
    sigmas = iter(sampler.sigmas if isinstance(sampler, EulerSampler) else sampler._solver.sigmas.tolist())

    def unet(x, timestep, tokens, cache=None):
        x, alpha = x[:, :4], 1 / (1 + next(sigmas) ** 2)  # the solver's own noise level
        noise = torch.sin(x) + tokens.mean((1, 2)).reshape(-1, 1, 1, 1, 1)
        clean = (x - (1 - alpha) ** 0.5 * noise) / alpha**0.5
        return {"epsilon": noise, "v": alpha**0.5 * noise - (1 - alpha) ** 0.5 * clean, "sample": clean}[prediction]

    return unet


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_denoise_is_independent_of_the_prediction_type(sampler):
    torch.manual_seed(0)
    render, noise = torch.randn(LATENTS), torch.randn(LATENTS)
    settings = DenoiseSettings(sampler=sampler, steps=6, guidance=3)
    conditions = ClipConditions(render, torch.zeros(1, 5, *LATENTS[2:]), torch.full((1, 2, 3), 0.2))
    results = {}
    for prediction in PREDICTIONS:
        clip_sampler = create_sampler(settings, prediction)
        unet = predict_in_terms_of(prediction, clip_sampler)
        results[prediction] = list(denoise(unet, clip_sampler, noise, conditions, settings))[-1]
    for prediction in PREDICTIONS:
        torch.testing.assert_close(results[prediction], results["epsilon"], atol=1e-3, rtol=1e-3)


def test_guidance_runs_only_in_its_fraction_of_the_steps():
    calls = []

    def unet(sample, timestep, tokens, cache=None):
        calls.append(len(sample))
        return sample[:, :4]

    settings = DenoiseSettings(steps=10, guided=(0.2, 0.5))
    list(denoise(unet, create_sampler(settings), torch.randn(LATENTS), NO_CONDITIONS, settings))
    assert calls == [1, 1, 2, 2, 2, 1, 1, 1, 1, 1]
