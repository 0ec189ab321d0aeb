"""Whole videos with tiny random networks: latents and clips."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mimaface_cli.engines.diffusion import ica, latents
from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings
from mimaface_cli.engines.diffusion.pipeline import (
    Appearance,
    MemoryPlan,
    VideoInputs,
    decode_new_frames,
    denoise_clip,
    denoise_clips,
)
from mimaface_cli.face.d3dfr import COEFFICIENT_COUNT
from tests.engines.diffusion.toy_networks import build_toy_networks, randomize_motion

FRAMES, SIDE = 9, 32


SETTINGS = DenoiseSettings(length=5, overlap=2, steps=2, guidance=3.0)


@pytest.fixture(scope="module")
def by_tokens():
    """Toy networks by their condition tokens."""
    networks = {}
    for tokens in ("release", "paper"):
        torch.manual_seed(0)
        networks[tokens] = build_toy_networks(tokens)
        randomize_motion(networks[tokens].unet)
    return networks


@pytest.fixture(scope="module")
def vae(by_tokens):
    return by_tokens["release"].vae


@pytest.fixture(params=["release", "paper"])
def networks(by_tokens, request):
    return by_tokens[request.param]


@pytest.fixture
def released(by_tokens):
    return by_tokens["release"]


@pytest.fixture
def inputs():
    torch.manual_seed(1)
    renders = torch.rand(FRAMES, 3, SIDE, SIDE) * 2 - 1
    coefficients = np.random.default_rng(0).normal(size=(FRAMES, COEFFICIENT_COUNT)).astype(np.float32)
    appearance = Appearance(torch.randn(1, 5, 10), torch.randn(1, 6))
    return VideoInputs(appearance, coefficients, lambda frames: renders[frames], lambda frames: -renders[frames])


def compute_latents(networks, inputs, settings=SETTINGS, **more):
    return [final for _, final in denoise_clips(networks, inputs, settings, **more)]


def test_denoise_clips_covers_every_frame_once(networks, inputs):
    clips = list(denoise_clips(networks, inputs, SETTINGS))
    frames = [frame for clip, final in clips for frame in decode_new_frames(networks.vae, clip, final)]
    assert [len(range(*c.new.indices(5))) for c, _ in clips] == [5, 3, 1]
    assert len(frames) == FRAMES
    assert all(frame.shape == (SIDE, SIDE, 3) and frame.dtype == np.uint8 for frame in frames)


@pytest.mark.parametrize(
    "change",
    [
        {"per_frame_tokens": True},
        {"guidance": 4.0},
        {"guided": (0.0, 0.5)},
        {"seed": 1},
        {"warm_start": 0.5},
        {"sampler": "dpm++"},
        {"deep_reuse": 2},
        {"token_reuse": 0.5},
    ],
    ids=str,
)
def test_denoise_clips_changes_with_every_setting(released, inputs, change):
    original, changed = (compute_latents(released, inputs, replace(SETTINGS, **c))[0] for c in ({}, change))
    assert (original - changed).abs().max() > 1e-5


def test_denoise_clips_conditions_each_clip_on_the_one_before(released, inputs):
    clips = compute_latents(released, inputs)
    shifted = compute_latents(released, inputs, load_clip=lambda i: clips[0] + 1 if i == 0 else None)
    assert (shifted[1] - clips[1]).abs().max() > 1e-4


def test_denoise_clips_resumes_with_the_same_latents(released, inputs):
    clips = compute_latents(released, inputs)

    def refuse(frames):
        assert min(frames) >= 3, "the first clip is known already"
        return inputs.render(frames)

    again = compute_latents(released, replace(inputs, render=refuse), load_clip=lambda i: clips[0] if i == 0 else None)
    for final, expected in zip(again, clips, strict=True):
        torch.testing.assert_close(final, expected, rtol=0, atol=0)


def test_denoise_clip_is_independent_of_the_memory_plan(released, inputs):
    clip = next(ica.plan_clips(FRAMES, 5, 2))
    rich, poor = (denoise_clip(released, inputs, clip, None, SETTINGS, e) for e in (MemoryPlan(), MemoryPlan(False, 1)))
    torch.testing.assert_close(rich, poor, atol=5e-4, rtol=1e-4)


@torch.no_grad()
def test_latents_are_independent_of_the_chunk_size(vae):
    images = torch.rand(5, 3, SIDE, SIDE) * 2 - 1
    whole = latents.encode_latents(vae, images, chunk=5)
    assert whole.shape == (1, 4, 5, SIDE // 2, SIDE // 2)
    torch.testing.assert_close(latents.encode_latents(vae, images, chunk=2), whole, atol=1e-5, rtol=1e-5)
    mean = vae.encode(images).latent_dist.mean * vae.config.scaling_factor
    torch.testing.assert_close(whole[0].transpose(0, 1), mean, atol=1e-5, rtol=1e-5)
    sampled = [latents.encode_latents(vae, images, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    torch.testing.assert_close(*sampled, rtol=0, atol=0)
    assert (sampled[0] - whole).abs().max() > 1e-4

    frames = list(latents.decode_latents(vae, whole, chunk=2))
    expected = (vae.decode(mean / vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1) * 255
    assert len(frames) == 5
    expected = expected.permute(0, 2, 3, 1).numpy()
    assert np.abs(np.stack(frames) + 0.5 - expected).max() < 0.51  # truncated, not rounded


def test_denoise_clip_refuses_a_warm_start_without_initial_frames(released, inputs):
    clip = next(ica.plan_clips(FRAMES, 5, 2))
    with pytest.raises(ValueError, match="needs initial frames"):
        denoise_clip(released, replace(inputs, initial=None), clip, None, replace(SETTINGS, warm_start=0.5))
