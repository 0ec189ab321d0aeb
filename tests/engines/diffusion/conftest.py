"""Run on one thread, which is fastest for tiny networks, above all on busy cores."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from mimaface_cli.engines.diffusion import device as devices
from mimaface_cli.face.d3dfr import COEFFICIENT_COUNT
from tests.engines.diffusion.clips import SETTINGS


@pytest.fixture(autouse=True, scope="module")
def single_torch_thread() -> Iterator[None]:
    """Limit PyTorch to one thread; the number of threads is restored, because results of other tests depend on it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def accelerator(monkeypatch) -> Callable[..., None]:
    """Pretend that PyTorch has an accelerator of a kind: how many devices, what they can do, and their free bytes."""

    def pretend(kind: str, count: int = 1, capability=None, free: float | None = None) -> None:
        monkeypatch.setattr(devices, "_check_device", lambda device: None)
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(kind))
        monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: 0)
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
        monkeypatch.setattr(torch.accelerator, "get_memory_info", lambda device: (int(free or 8e9), int(8e9)))
        ask = capability if callable(capability) else lambda device: capability
        monkeypatch.setattr(torch.cuda, "get_device_capability", ask)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 24e9))

    return pretend


@pytest.fixture
def networks(installed_tiny_weights):
    """The networks of the tiny release, on the CPU in fp32."""
    from mimaface_cli.engines.diffusion import checkpoint
    from mimaface_cli.engines.diffusion.runtime import Runtime, place_networks

    networks = checkpoint.load_networks()
    place_networks(networks, Runtime(torch.device("cpu"), torch.float32), SETTINGS)
    return networks


@pytest.fixture
def clip_arguments():
    """Arguments of a denoiser for the first clip of a video: inputs, clip, carried latents, settings."""
    from mimaface_cli.engines.diffusion import ica
    from mimaface_cli.engines.diffusion.pipeline import Appearance, VideoInputs

    torch.manual_seed(0)
    renders = torch.rand(3, 3, 64, 64) * 2 - 1
    appearance = Appearance(torch.randn(1, 17, 32), torch.randn(1, 16 * 7 * 7))
    inputs = VideoInputs(appearance, np.zeros((3, COEFFICIENT_COUNT), np.float32), lambda frames: renders[frames])
    return inputs, next(ica.plan_clips(3, 3, 1)), None, SETTINGS
