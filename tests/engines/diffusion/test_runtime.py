"""Choice of device, precision and memory level, and the placement of the networks."""

import pytest
import torch

from mimaface_cli.engines.diffusion import runtime
from mimaface_cli.engines.diffusion.pipeline import denoise_clip
from mimaface_cli.engines.diffusion.runtime import Runtime, choose_runtime, offload_unet, place_networks
from mimaface_cli.errors import InputError, WeightsError
from tests.engines.diffusion.clips import SETTINGS

CPU = Runtime(torch.device("cpu"), torch.float32)


def test_cpu_runs_in_fp32_unless_requested_otherwise():
    assert choose_runtime("cpu") == CPU
    assert choose_runtime("cpu", "bf16", "low").dtype == torch.bfloat16
    assert choose_runtime("cpu", "fp16").name == "cpu fp16"


@pytest.mark.parametrize(
    ("kind", "capability", "exact", "dtype"),
    [
        ("cuda", (8, 6), False, torch.bfloat16),
        ("cuda", (7, 5), False, torch.float16),
        ("cuda", (8, 6), True, torch.float32),
        ("xpu", None, False, torch.bfloat16),
        ("mps", None, False, torch.float16),
        ("mps", None, True, torch.float32),
    ],
)
def test_gpu_precision_follows_its_support_and_exactness(accelerator, kind, capability, exact, dtype):
    accelerator(kind, capability=capability, free=80e9)
    chosen = choose_runtime("auto", exact=exact, weights=1_300_000_000)
    assert (chosen.device, chosen.dtype, chosen.level) == (torch.device(kind, 0), dtype, "high")


def test_precision_follows_the_chosen_card_not_the_current_one(accelerator):
    capabilities = [(9, 0), (7, 0)]
    accelerator("cuda", count=2, capability=lambda device: capabilities[device.index], free=80e9)
    assert choose_runtime("cuda:0").dtype == torch.bfloat16
    assert choose_runtime("cuda:1").dtype == torch.float16


@pytest.mark.parametrize(("free", "level"), [(24e9, "high"), (6e9, "low"), (3e9, "minimal")])
def test_free_memory_determines_the_memory_level(accelerator, free, level):
    accelerator("cuda", capability=(8, 0), free=free)
    assert choose_runtime("cuda:0", weights=1_300_000_000).level == level
    assert choose_runtime("cuda", vram="high", weights=1_300_000_000).level == "high"


@pytest.mark.parametrize(
    ("free", "exact", "frames", "level"),
    [
        (7.6e9, False, 12, "high"),  # an 8 GB card, `release --dtype bf16`: estimated at 6.3 GB
        (5.5e9, False, 16, "low"),  # a 6 GB card, `balanced`: estimated at 4.1 GB
        (11.3e9, True, 12, "low"),  # a 12 GB card, `release`: estimated at 7.4 GB
        (23e9, True, 12, "high"),
    ],
)
def test_memory_level_uses_what_common_cards_have(accelerator, free, exact, frames, level):
    accelerator("cuda", capability=(8, 6), free=free)
    assert choose_runtime(exact=exact, weights=1_280_000_000, frames=frames).level == level


def test_minimal_level_is_for_devices_with_their_own_memory(accelerator):
    assert choose_runtime("cpu", vram="minimal").level == "low"
    accelerator("mps")
    assert choose_runtime("mps", vram="minimal").level == "low"


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        ({"device": "tpu"}, InputError, "device: unknown device 'tpu'. Choose auto"),
        ({"device": "meta"}, InputError, "device: unknown device 'meta'. Choose auto"),
        ({"device": "mps"}, WeightsError, "device: there is no device 'mps'. Set `device=cpu`"),
        ({"device": "cuda:99"}, WeightsError, "device: there is no device 'cuda:99'. Set `device=cpu`"),
        ({"device": "cpu", "dtype": "int8"}, InputError, "dtype: unknown precision 'int8'. Choose auto"),
        ({"device": "cpu", "vram": "none"}, InputError, "vram: unknown mode 'none'. Choose auto"),
    ],
)
def test_choose_runtime_refuses_unknown_values(words, error, text):
    with pytest.raises(error, match=text):
        choose_runtime(**words)


def test_offloaded_weights_give_the_same_clip(networks, clip_arguments):
    expected = denoise_clip(networks, *clip_arguments)
    offload_unet(networks, torch.device("cpu"))
    torch.testing.assert_close(denoise_clip(networks, *clip_arguments), expected, rtol=0, atol=0)


def test_networks_too_large_for_the_card_are_placed_layer_by_layer(monkeypatch, networks):
    levels = []

    def place(networks, runtime, level):
        levels.append(level)
        if level != "minimal":
            raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(runtime, "_place", place)
    monkeypatch.setattr(runtime, "release_memory", lambda device: None)
    card = Runtime(torch.device("cuda", 0), torch.float16, "low")
    assert place_networks(networks, card, SETTINGS).level == "minimal"
    assert levels == ["low", "minimal"]


@pytest.mark.parametrize(("device", "level"), [("cpu", "low"), ("mps", "high"), ("cuda:0", "minimal")])
def test_networks_that_never_fit_are_a_one_line_error(monkeypatch, networks, device, level):
    def fail(networks, runtime, level):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(runtime, "_place", fail)
    with pytest.raises(WeightsError, match=rf"{device}: out of memory even with `vram={level}`\. Set a shorter"):
        place_networks(networks, Runtime(torch.device(device), torch.float16, level), SETTINGS)
