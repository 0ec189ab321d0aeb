"""Fallbacks for memory and NaN while clips are denoised and decoded, and cancellation."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mimaface_cli.engines.diffusion import fallback, ica, portrait_features
from mimaface_cli.engines.diffusion.device import CPUFallback
from mimaface_cli.engines.diffusion.fallback import DenoisingCancelledError, FallbackDecoder, FallbackDenoiser
from mimaface_cli.engines.diffusion.latents import decode_clip
from mimaface_cli.engines.diffusion.pipeline import MemoryPlan, decode_new_frames, denoise_clip
from mimaface_cli.engines.diffusion.runtime import Runtime, place_networks
from mimaface_cli.errors import MimafaceError, WeightsError
from tests.engines.diffusion.clips import SETTINGS

CPU = Runtime(torch.device("cpu"), torch.float32)
HALF = Runtime(torch.device("cpu"), torch.float16)
CLIP = ica.ClipWindow((0, 1, 2), 1, 3)
LATENTS = torch.zeros(1, 4, 3, 8, 8)
OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory")


class Failing:
    """Replaces `denoise_clip`: fails as listed, then works; records memory plans and precisions."""

    def __init__(self, *failures):
        self.failures, self.calls = list(failures), []

    def __call__(self, networks, inputs, clip, carried, settings, memory, on_step):
        self.calls.append((memory, networks.dtype))
        failure = self.failures.pop(0) if self.failures else None
        if isinstance(failure, Exception):
            raise failure
        return torch.full((1, 4, 3, 8, 8), float("nan") if failure == "nan" else 1.0)


def test_denoiser_lowers_the_memory_level_when_out_of_memory(monkeypatch, networks, clip_arguments):
    failing = Failing(torch.OutOfMemoryError("CUDA out of memory"))
    monkeypatch.setattr(fallback, "denoise_clip", failing)
    denoiser = FallbackDenoiser(CPU)
    assert denoiser(networks, *clip_arguments).sum() > 0
    assert [memory for memory, _ in failing.calls] == [MemoryPlan(), MemoryPlan(batched=False, chunk=1)]
    assert denoiser.notes == ["out of memory: continued in the low memory mode"]
    denoiser(networks, *clip_arguments)  # the level stays low
    assert failing.calls[-1][0] == MemoryPlan(batched=False, chunk=1)


def test_denoiser_reports_memory_that_never_suffices(monkeypatch, networks, clip_arguments):
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
    monkeypatch.setattr(fallback, "denoise_clip", Failing(error, error))
    with pytest.raises(WeightsError, match=r"out of memory even with `vram=low`\. Set a shorter `length`"):
        FallbackDenoiser(CPU)(networks, *clip_arguments)


def test_denoiser_passes_other_errors_on(monkeypatch, networks, clip_arguments):
    monkeypatch.setattr(fallback, "denoise_clip", Failing(RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        FallbackDenoiser(CPU)(networks, *clip_arguments)


def test_denoiser_repeats_a_clip_with_nan_in_fp32(monkeypatch, networks, clip_arguments):
    place_networks(networks, HALF, SETTINGS)
    failing = Failing("nan")
    monkeypatch.setattr(fallback, "denoise_clip", failing)
    denoiser = FallbackDenoiser(HALF)
    assert denoiser(networks, *clip_arguments).isfinite().all()
    assert [dtype for _, dtype in failing.calls] == [torch.float16, torch.float32]
    assert networks.dtype == torch.float16
    assert denoiser.notes == ["a clip contained NaN or Inf in cpu fp16 and was denoised again in fp32"]
    monkeypatch.setattr(fallback, "denoise_clip", Failing("nan", "nan"))
    with pytest.raises(MimafaceError, match="even in fp32"):
        denoiser(networks, *clip_arguments)
    assert networks.dtype == torch.float16


def test_denoiser_reports_nan_in_fp32_as_damaged_weights(monkeypatch, networks, clip_arguments):
    monkeypatch.setattr(fallback, "denoise_clip", Failing("nan"))
    with pytest.raises(MimafaceError, match="mimaface weights verify"):
        FallbackDenoiser(CPU)(networks, *clip_arguments)


def test_denoiser_recovers_from_a_real_fp16_overflow(networks, clip_arguments):
    """The network exceeds fp16's limit of 65,504 inside and returns below it."""
    with torch.no_grad():
        networks.unet.conv_norm_out.weight *= 3e4
        networks.unet.conv_out.weight /= 3e4
    expected = denoise_clip(networks, *clip_arguments)
    place_networks(networks, Runtime(torch.device("cpu"), torch.float16), SETTINGS)
    denoiser = FallbackDenoiser(Runtime(torch.device("cpu"), torch.float16))
    recovered = denoiser(networks, *clip_arguments)
    assert len(denoiser.notes) == 1
    assert np.corrcoef(recovered.flatten(), expected.flatten())[0, 1] > 0.98  # small weights lose digits in fp16


def test_denoiser_stops_a_cancelled_clip(networks, clip_arguments):
    denoiser = FallbackDenoiser(CPU)
    denoiser.stop.set()
    with pytest.raises(DenoisingCancelledError):
        denoiser(networks, *clip_arguments)
    denoiser.stop.clear()
    assert denoiser(networks, *clip_arguments).isfinite().all()


def test_nobody_else_uses_the_autoencoder_while_a_clip_runs_in_fp32(monkeypatch, networks, clip_arguments):
    """The other thread decodes the clip before; it would meet weights and latents of two precisions."""
    place_networks(networks, HALF, SETTINGS)
    was_free = []

    def denoise(networks, *arguments):
        with ThreadPoolExecutor(1) as other:
            is_free = other.submit(networks.vae_lock.acquire, blocking=False).result()
            if is_free:
                other.submit(networks.vae_lock.release).result()
        was_free.append((is_free, networks.vae.dtype))
        return torch.full((1,), float("nan") if len(was_free) == 1 else 1.0)

    monkeypatch.setattr(fallback, "denoise_clip", denoise)
    FallbackDenoiser(HALF)(networks, *clip_arguments)
    assert was_free == [(True, torch.float16), (False, torch.float32)]
    assert networks.vae.dtype == torch.float16


def decode(networks, runtime: Runtime = CPU) -> tuple[np.ndarray, list[str]]:
    """Decode a clip and return its new frames and the notes."""
    denoiser = FallbackDenoiser(runtime)
    return np.stack(list(FallbackDecoder(networks, denoiser)(CLIP, LATENTS))), denoiser.notes


def test_decoder_decodes_the_new_frames_of_a_clip(networks):
    frames, notes = decode(networks)
    assert (frames == np.stack(list(decode_new_frames(networks.vae, CLIP, LATENTS)))).all()
    assert len(frames) == 2 and notes == []


def test_decoder_repeats_frames_with_nan_in_fp32(networks):
    """An overflow in 16 bits would give black frames."""
    place_networks(networks, HALF, SETTINGS)
    with torch.no_grad():
        networks.vae.decoder.conv_norm_out.weight.fill_(6e4)
        networks.vae.decoder.conv_norm_out.bias.fill_(6e4)
    assert not decode_clip(networks.vae, LATENTS)[1]
    frames, notes = decode(networks, HALF)
    assert notes == ["decoded frames contained NaN or Inf in cpu fp16, and were decoded in fp32"]
    assert networks.vae.dtype == torch.float32 and networks.dtype == torch.float16
    assert (frames == np.stack(list(decode_new_frames(networks.vae, CLIP, LATENTS)))).all()


def test_decoder_reports_nan_in_fp32_as_damaged_weights(networks):
    with torch.no_grad():
        networks.vae.decoder.conv_out.bias.fill_(float("nan"))
    with pytest.raises(MimafaceError, match=r"decoded frames contain NaN or Inf even in fp32\. Run mimaface weights"):
        decode(networks)


def fail_to_decode(monkeypatch, *failures: Exception | None) -> list[int]:
    """Let decoding fail as listed, then work; return the numbers of images that it decodes at once."""
    remaining, chunks = list(failures), []

    def decode_or_fail(vae, latents, chunk):
        chunks.append(chunk)
        if remaining and (failure := remaining.pop(0)):
            raise failure
        return decode_clip(vae, latents, chunk)

    monkeypatch.setattr(fallback, "decode_clip", decode_or_fail)
    return chunks


def test_decoder_decodes_frames_one_by_one_when_out_of_memory(monkeypatch, networks):
    chunks = fail_to_decode(monkeypatch, RuntimeError("CUDA error: out of memory"))
    frames, notes = decode(networks)
    assert chunks == [4, 1] and len(frames) == 2
    assert notes == ["out of memory: frames are decoded one by one"]


def test_decoder_without_memory_waits_for_the_clip_that_is_denoised(monkeypatch, networks):
    chunks = fail_to_decode(monkeypatch, OUT_OF_MEMORY, OUT_OF_MEMORY)
    denoiser = FallbackDenoiser(CPU)
    decoder = FallbackDecoder(networks, denoiser)
    denoiser.turn.acquire()
    threading.Timer(0.05, denoiser.turn.release).start()
    assert len(list(decoder(CLIP, LATENTS))) == 2 and not denoiser.turn.locked()
    assert denoiser.notes[-1] == "out of memory: frames are decoded one by one, between clips"
    assert len(list(decoder(CLIP, LATENTS))) == 2 and chunks == [4, 1, 1, 1]


def test_decoder_reports_memory_that_never_suffices(monkeypatch, networks):
    fail_to_decode(monkeypatch, *[OUT_OF_MEMORY] * 3)
    with pytest.raises(WeightsError, match=r"out of memory even with `vram=high`\. Set a shorter `length`"):
        decode(networks)


def test_decoder_passes_other_errors_on(monkeypatch, networks):
    fail_to_decode(monkeypatch, RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        decode(networks)


def test_features_of_the_photo_are_extracted_on_the_cpu_when_out_of_memory(monkeypatch):
    moves, results = [], [OUT_OF_MEMORY, "features"]
    module = SimpleNamespace(to=lambda device: moves.append(str(device)))

    def extract(face, networks):
        if isinstance(result := results.pop(0), Exception):
            raise result
        return result

    monkeypatch.setattr(portrait_features, "_extract_features", extract)
    monkeypatch.setattr(portrait_features, "align_face", lambda image, face: None)
    monkeypatch.setattr(portrait_features, "release_memory", lambda device: None)
    networks = portrait_features.PortraitNetworks(module, module, None)
    card = torch.device("cuda", 0)
    assert portrait_features.extract_portrait_features(None, None, networks, card) == "features"
    assert moves == ["cuda:0", "cuda:0", "cpu", "cpu"]


def test_driver_is_read_on_the_cpu_when_out_of_memory():
    class Full(torch.nn.Linear):
        def forward(self, x):
            if x.device.type != "cpu":
                raise RuntimeError("CUDNN_STATUS_ALLOC_FAILED")
            return x + 1

    network = CPUFallback(Full(1, 1), torch.device("cpu"))
    assert network(torch.zeros(1)) == 1
    outside = SimpleNamespace(device=torch.device("meta"), cpu=lambda: torch.zeros(1))
    assert network(outside) == 1
