"""Device, precision and memory; fallbacks for memory and NaN; cancellation."""

import numpy as np
import pytest
import torch

from mimaface_cli.engines.diffusion import checkpoint, ica, runtime
from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings
from mimaface_cli.engines.diffusion.pipeline import Appearance, MemoryPlan, VideoInputs, denoise_clip
from mimaface_cli.engines.diffusion.runtime import (
    DenoisingCancelledError,
    FallbackDenoiser,
    Runtime,
    choose_runtime,
    offload_unet,
    place_networks,
)
from mimaface_cli.errors import InputError, MimafaceError, WeightsError
from mimaface_cli.face.d3dfr import COEFFICIENT_COUNT

SETTINGS = DenoiseSettings(length=3, overlap=1, steps=2)
CPU = Runtime(torch.device("cpu"), torch.float32)


@pytest.fixture
def networks(installed_tiny_weights):
    networks = checkpoint.load_networks()
    place_networks(networks, CPU, SETTINGS)
    return networks


@pytest.fixture
def clip_arguments():
    torch.manual_seed(0)
    renders = torch.rand(3, 3, 64, 64) * 2 - 1
    appearance = Appearance(torch.randn(1, 17, 32), torch.randn(1, 16 * 7 * 7))
    inputs = VideoInputs(appearance, np.zeros((3, COEFFICIENT_COUNT), np.float32), lambda frames: renders[frames])
    return inputs, next(ica.plan_clips(3, 3, 1)), None, SETTINGS


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


def test_cpu_runs_in_fp32_unless_requested_otherwise():
    assert choose_runtime("cpu") == CPU
    assert choose_runtime("cpu", "bf16", "low").dtype == torch.bfloat16
    assert choose_runtime("cpu", "fp16").name == "cpu fp16"


@pytest.mark.parametrize(
    ("kind", "bf16", "exact", "number"),
    [
        ("cuda", True, False, torch.bfloat16),
        ("cuda", False, False, torch.float16),
        ("cuda", True, True, torch.float32),
    ],
)
def test_gpu_precision_follows_its_support_and_exactness(monkeypatch, kind, bf16, exact, number):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (80e9, 80e9))
    chosen = choose_runtime("auto", exact=exact, weights=1_300_000_000)
    assert (chosen.device.type, chosen.dtype, chosen.level) == (kind, number, "high")


@pytest.mark.parametrize(("free", "level"), [(24e9, "high"), (6e9, "low"), (3e9, "minimal")])
def test_free_memory_determines_the_memory_level(monkeypatch, free, level):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 24e9))
    assert choose_runtime("cuda:0", weights=1_300_000_000).level == level
    assert choose_runtime("cuda", vram="high", weights=1_300_000_000).level == "high"


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        ({"device": "tpu"}, InputError, "device: unknown device 'tpu'. Choose auto"),
        ({"device": "mps"}, InputError, "device: unknown device 'mps'. Choose auto"),
        ({"device": "cuda:99"}, WeightsError, "device: there is no CUDA device 'cuda:99'. Set `device=cpu`"),
        ({"device": "cpu", "dtype": "int8"}, InputError, "dtype: unknown precision 'int8'. Choose auto"),
        ({"device": "cpu", "vram": "none"}, InputError, "vram: unknown mode 'none'. Choose auto"),
    ],
)
def test_choose_runtime_refuses_unknown_values(words, error, text):
    with pytest.raises(error, match=text):
        choose_runtime(**words)


def test_denoiser_lowers_the_memory_level_when_out_of_memory(monkeypatch, networks, clip_arguments):
    failing = Failing(torch.OutOfMemoryError("CUDA out of memory"))
    monkeypatch.setattr(runtime, "denoise_clip", failing)
    denoiser = FallbackDenoiser(CPU)
    assert denoiser(networks, *clip_arguments).sum() > 0
    assert [memory for memory, _ in failing.calls] == [MemoryPlan(), MemoryPlan(batched=False, chunk=1)]
    assert denoiser.notes == ["out of memory: continued in the low memory mode"]
    denoiser(networks, *clip_arguments)  # the level stays low
    assert failing.calls[-1][0] == MemoryPlan(batched=False, chunk=1)


def test_denoiser_reports_memory_that_never_suffices(monkeypatch, networks, clip_arguments):
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
    monkeypatch.setattr(runtime, "denoise_clip", Failing(error, error))
    with pytest.raises(WeightsError, match=r"out of memory even with `vram=low`\. Set a shorter `length`"):
        FallbackDenoiser(CPU)(networks, *clip_arguments)


def test_denoiser_passes_other_errors_on(monkeypatch, networks, clip_arguments):
    monkeypatch.setattr(runtime, "denoise_clip", Failing(RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        FallbackDenoiser(CPU)(networks, *clip_arguments)


def test_denoiser_repeats_a_clip_with_nan_in_fp32(monkeypatch, networks, clip_arguments):
    half = Runtime(torch.device("cpu"), torch.float16)
    place_networks(networks, half, SETTINGS)
    failing = Failing("nan")
    monkeypatch.setattr(runtime, "denoise_clip", failing)
    denoiser = FallbackDenoiser(half)
    assert denoiser(networks, *clip_arguments).isfinite().all()
    assert [dtype for _, dtype in failing.calls] == [torch.float16, torch.float32]
    assert networks.dtype == torch.float16
    assert denoiser.notes == ["a clip contained NaN or Inf in cpu fp16 and was denoised again in fp32"]
    monkeypatch.setattr(runtime, "denoise_clip", Failing("nan", "nan"))
    with pytest.raises(MimafaceError, match="even in fp32"):
        denoiser(networks, *clip_arguments)
    assert networks.dtype == torch.float16


def test_denoiser_reports_nan_in_fp32_as_damaged_weights(monkeypatch, networks, clip_arguments):
    monkeypatch.setattr(runtime, "denoise_clip", Failing("nan"))
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


def test_offloaded_weights_give_the_same_clip(networks, clip_arguments):
    expected = denoise_clip(networks, *clip_arguments)
    offload_unet(networks, torch.device("cpu"))
    torch.testing.assert_close(denoise_clip(networks, *clip_arguments), expected, rtol=0, atol=0)
