"""The engine on a fake CUDA card: every tensor is on the right device, and no step makes the host wait."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers.hooks import group_offloading
from torch._subclasses.fake_tensor import unset_fake_temporarily

from mimaface_cli.engines.diffusion import fallback, ica, pipeline
from mimaface_cli.engines.diffusion.denoise_settings import PRESETS, DenoiseSettings
from mimaface_cli.engines.diffusion.fallback import FallbackDecoder, FallbackDenoiser
from mimaface_cli.engines.diffusion.pipeline import Appearance, DiffusionNetworks, VideoInputs, denoise_clip
from mimaface_cli.engines.diffusion.runtime import MEMORY_LEVELS, Runtime, offload_unet, place_networks
from mimaface_cli.engines.diffusion.samplers import Sampler, create_sampler
from mimaface_cli.face.curricularface import CurricularFace
from mimaface_cli.face.d3dfr import COEFFICIENT_COUNT, CoefficientNet
from tests.engines.diffusion.toy_networks import build_toy_networks
from tests.fake_device import CARD, Traffic, fake_card

FRAMES, SIDE = 4, 16
SETTINGS = DenoiseSettings(length=FRAMES, overlap=1, steps=3, guided=(0.0, 0.5))


@pytest.fixture(autouse=True)
def offloading_backend(monkeypatch):
    """Let diffusers' offloading run without a build with CUDA: its streams do nothing."""
    stream = SimpleNamespace(synchronize=lambda: None, wait_stream=lambda other: None)
    backend = SimpleNamespace(Stream=lambda: stream, stream=lambda s: nullcontext(), current_stream=lambda: stream)
    monkeypatch.setattr(group_offloading, "TorchDeviceBackend", lambda device: backend)


@pytest.fixture
def card(monkeypatch):
    """A fake card; reading a flag or an image, which the host waits for, is counted and gives True or a blank."""
    with fake_card() as traffic, torch.no_grad():
        monkeypatch.setattr(fallback, "is_true", lambda flag: traffic.waits.append("flag") or flag.device == CARD)
        monkeypatch.setattr(fallback, "to_array", lambda images: np.zeros(images.shape, np.uint8))
        monkeypatch.setattr(fallback, "release_memory", lambda device: None)
        monkeypatch.setattr(fallback, "synchronize", lambda device: None)
        monkeypatch.setattr(fallback, "side_stream", lambda device: nullcontext())
        monkeypatch.setattr(pipeline, "create_sampler", create_real_sampler)
        yield traffic


def create_real_sampler(*arguments) -> Sampler:
    """Create a sampler, whose tables are on the host, with values."""
    with unset_fake_temporarily():
        return create_sampler(*arguments)


def make_inputs() -> VideoInputs:
    """Make the inputs of a video on the host, as the engine has them."""
    renders = torch.zeros(2 * FRAMES, 3, SIDE, SIDE)
    appearance = Appearance(torch.randn(1, 5, 10), torch.randn(1, 6))
    coefficients = np.zeros((2 * FRAMES, COEFFICIENT_COUNT), np.float32)
    load = lambda frames: renders[: len(frames)]  # noqa: E731  (short)
    return VideoInputs(appearance, coefficients, load, load)


def place(level: str = "high", dtype: torch.dtype = torch.bfloat16, tokens: str = "release") -> DiffusionNetworks:
    networks = build_toy_networks(tokens)
    place_networks(networks, Runtime(CARD, dtype, level), SETTINGS)
    return networks


def run_clip(networks: DiffusionNetworks, settings: DenoiseSettings = SETTINGS, **memory) -> torch.Tensor:
    clip = ica.ClipWindow(tuple(range(FRAMES)), 1, FRAMES)
    return denoise_clip(networks, make_inputs(), clip, torch.zeros(1, 4, 1, SIDE // 2, SIDE // 2), settings, **memory)


def record_steps(networks: DiffusionNetworks, settings: DenoiseSettings, traffic: Traffic) -> list[list[str]]:
    """Denoise a clip and return what the host waited for in each step after the first."""
    waits: list[list[str]] = []

    def end_step(count: int) -> None:
        if count > 1:
            waits.append(list(traffic.waits))
        traffic.clear()

    clip = ica.ClipWindow(tuple(range(FRAMES)), 0, FRAMES)
    denoise_clip(networks, make_inputs(), clip, None, settings, on_step=end_step)
    return waits


@pytest.mark.parametrize(
    ("level", "dtype"),
    [("high", torch.float32), ("high", torch.float16), *((level, torch.bfloat16) for level in MEMORY_LEVELS)],
    ids=str,
)
def test_clip_is_denoised_and_decoded_on_the_card_in_every_memory_mode(card, level, dtype):
    networks = place(level, dtype)
    denoiser = FallbackDenoiser(Runtime(CARD, dtype, level))
    clip = ica.ClipWindow(tuple(range(FRAMES)), 0, FRAMES)
    latents = denoiser(networks, make_inputs(), clip, None, SETTINGS)
    assert (latents.device, latents.dtype) == (CARD, torch.float32)
    carried = latents[:, :, -1:]
    denoiser(networks, make_inputs(), ica.ClipWindow(tuple(range(FRAMES)), 1, FRAMES), carried, SETTINGS)
    frames = list(FallbackDecoder(networks, denoiser)(clip, latents))
    assert len(frames) == FRAMES and frames[0].shape == (SIDE, SIDE, 3)
    assert denoiser.notes == []


def test_minimal_level_keeps_the_weights_of_the_unet_on_the_host(card):
    networks = place("minimal")
    run_clip(networks)
    assert {parameter.device.type for parameter in networks.unet.parameters()} == {"cpu"}
    assert {parameter.device for parameter in networks.vae.parameters()} == {CARD}


def test_networks_are_placed_in_16_bits_and_channels_last_but_tokens_in_fp32(card):
    """The softmax over raw coefficients needs the range of fp32."""
    networks = place("high", torch.bfloat16)
    assert {value.dtype for value in networks.mia.parameters()} == {torch.float32}
    for network in (networks.unet, networks.vae):
        assert {value.dtype for value in network.parameters()} == {torch.bfloat16}
        kernels = [value for value in network.parameters() if value.dim() == 4]
        assert kernels and all(value.is_contiguous(memory_format=torch.channels_last) for value in kernels)


def test_resumed_clip_conditions_the_next_one_from_the_host(card):
    assert run_clip(place()).device == CARD  # the carried latents come from the disk


@pytest.mark.parametrize("tokens", ["release", "paper"])
@pytest.mark.parametrize("per_frame", [False, True])
def test_condition_tokens_take_features_from_the_host(card, tokens, per_frame):
    """As the small model has them, whose encoder runs on the CPU."""
    assert run_clip(place(tokens=tokens), replace(SETTINGS, per_frame_tokens=per_frame)).device == CARD


@pytest.mark.parametrize(
    "changes",
    [
        {"sampler": "euler"},
        {"sampler": "dpm++"},
        {"sampler": "unipc"},
        {"deep_reuse": 2},
        {"token_reuse": 0.5},
        {"token_reuse": 0.5, "deep_reuse": 2, "sampler": "unipc"},
        {"guidance": 1.0},
        {"warm_start": 0.75, "sampler": "euler"},
        {"warm_start": 0.75, "sampler": "dpm++"},
        {"warm_start": 0.75, "sampler": "unipc"},
    ],
    ids=str,
)
def test_host_waits_for_the_card_in_no_step(card, changes):
    steps = record_steps(place(), replace(SETTINGS, **{"steps": 4} | changes), card)
    assert len(steps) >= 2
    assert all(waits == [] for waits in steps), steps


@pytest.mark.parametrize(("preset", "prediction"), [("release", "v"), ("balanced", "epsilon"), ("fast", "sample")])
def test_presets_run_with_every_prediction_without_a_wait(card, preset, prediction):
    networks = place()
    networks.prediction = prediction
    steps = record_steps(networks, replace(PRESETS[preset], length=FRAMES, steps=3, overlap=1), card)
    assert all(waits == [] for waits in steps), steps


def test_host_waits_once_for_a_clip_and_once_for_its_frames(card):
    networks, clip = place(), ica.ClipWindow(tuple(range(FRAMES)), 0, FRAMES)
    denoiser = FallbackDenoiser(Runtime(CARD, torch.bfloat16))
    inputs = make_inputs()
    inputs = replace(inputs, appearance=inputs.appearance.to(CARD))
    card.clear()
    latents = denoiser(networks, inputs, clip, None, SETTINGS)
    assert card.waits == ["flag"], card.waits
    assert len(card.copies) >= 3  # coefficients, renders and noise are copied without a wait
    card.clear()
    list(FallbackDecoder(networks, denoiser)(clip, latents))
    assert card.waits == ["flag"], card.waits


def test_noise_is_copied_to_the_card_once_for_all_clips(card):
    networks, inputs = place(), make_inputs()
    for first in (True, False):
        card.clear()
        denoise_clip(networks, inputs, ica.ClipWindow(tuple(range(FRAMES)), 0, FRAMES), None, SETTINGS)
        noises = [copy for copy in card.copies if "cpu to cuda" in copy]
        assert len(noises) == (5 if first else 4)


def test_offloading_moves_a_placed_unet_back(card):
    networks = place("low")
    offload_unet(networks, CARD)
    assert run_clip(networks).device == CARD


def test_face_networks_run_on_the_card(card):
    coefficients = CoefficientNet(width=4, depths=(1, 1, 1, 1)).eval().to(CARD)
    assert coefficients(torch.zeros(2, 3, 256, 256, device=CARD)).shape == (2, COEFFICIENT_COUNT)
    identity = CurricularFace((4, 8), (1, 1), embedding=6, side=28).eval().to(CARD)
    embedding, features = identity(torch.zeros(2, 3, 112, 112, device=CARD))
    assert (embedding.device, features.shape) == (CARD, (2, 8 * 28 * 28))
