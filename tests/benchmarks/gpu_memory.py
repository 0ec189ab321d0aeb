"""Estimate the memory that the full-size engine takes on a card, without a card: tensors without data are counted.

    python -m tests.benchmarks.gpu_memory [PRESET,DTYPE,LEVEL,SIDE ...]

The estimate is the largest sum of all tensors on the card at one time. It leaves out workspaces of convolutions, what
the allocator cannot use, and the context of CUDA: together some hundred MB to one GB. Attention is counted as fused,
without its matrix of weights.
"""

import sys
from contextlib import nullcontext
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from diffusers.hooks import group_offloading
from torch import Tensor
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mimaface_cli.engines.diffusion import ica, pipeline
from mimaface_cli.engines.diffusion.denoise_settings import PRESETS
from mimaface_cli.engines.diffusion.latents import decode_clip
from mimaface_cli.engines.diffusion.runtime import DTYPES, MEMORY_PLANS, Runtime, place_networks
from mimaface_cli.engines.diffusion.samplers import Sampler, create_sampler
from tests.benchmarks import diffusers_floor
from tests.benchmarks.animate import make_inputs
from tests.fake_device import CARD, fake_card

ALL = [
    "release,fp32,high,512",
    "release,fp32,low,512",
    "release,bf16,high,512",
    "release,bf16,low,512",
    "release,bf16,minimal,512",
    "balanced,bf16,high,512",
    "fast,bf16,high,512",
    "fast,bf16,low,512",
    "balanced,bf16,high,768",
]
STEPS = 2  # the later steps of a clip take the memory of the second one


@dataclass(frozen=True)
class MemoryEstimate:
    """Estimated memory in bytes: of the weights, and the peaks of denoising and decoding with the weights."""

    weights: int
    denoising: int
    decoding: int


class MemoryCounter(TorchDispatchMode):
    """Counts the bytes of all tensors on the card.

    Attributes:
        peak: Largest number of bytes since it was last set to 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._bytes = 0
        self._storages: dict[int, tuple[StorageWeakRef, int]] = {}

    def count(self) -> int:
        """Return the bytes of the tensors that exist."""
        for key in [key for key, (storage, _) in self._storages.items() if storage.expired()]:
            self._bytes -= self._storages.pop(key)[1]
        return self._bytes

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.device == CARD:
                self._add(tensor.untyped_storage())
        if self._bytes > self.peak:
            self.peak = max(self.peak, self.count())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        known = self._storages.get(storage._cdata)
        if known is not None and not known[0].expired():
            return
        if known is not None:  # another tensor was at this address
            self._bytes -= known[1]
        self._storages[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._bytes += storage.nbytes()


class _FusedAttention(TorchFunctionMode):
    """Attention without its matrix of weights, as a card computes it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.scaled_dot_product_attention:
            query, _, value = args[:3]
            return query.new_empty(*query.shape[:-1], value.shape[-1])
        return func(*args, **(kwargs or {}))


def estimate_memory(preset: str, dtype: torch.dtype, level: str, side: int) -> MemoryEstimate:
    """Estimate the memory of a clip.

    Args:
        preset: Name of the preset.
        dtype: Precision of the networks.
        level: Memory level.
        side: Side of the frames in pixels.
    """
    settings = replace(PRESETS[preset], steps=STEPS)
    memory, stream = MEMORY_PLANS[level], SimpleNamespace(synchronize=lambda: None)
    backend = SimpleNamespace(Stream=lambda: stream, stream=lambda stream: nullcontext(), current_stream=lambda: stream)
    clip = ica.ClipWindow(tuple(range(settings.length)), settings.overlap, settings.length)
    carried = torch.zeros(1, 4, settings.overlap, side // 8, side // 8)
    with (
        mock.patch.object(group_offloading, "TorchDeviceBackend", lambda device: backend),
        mock.patch.object(pipeline, "create_sampler", _create_sampler),
        fake_card(),
        torch.no_grad(),
    ):
        networks = diffusers_floor.build_networks("cpu", dtype)
        with MemoryCounter() as counter, _FusedAttention():
            place_networks(networks, Runtime(CARD, dtype, level), settings)
            weights, counter.peak = counter.count(), 0
            inputs = make_inputs(settings.length, side, "cpu")
            latents = pipeline.denoise_clip(networks, inputs, clip, carried, settings, memory)
            denoising, counter.peak = counter.peak, 0
            counter.count()
            decode_clip(networks.vae, latents[:, :, clip.new], memory.chunk)
    return MemoryEstimate(weights, denoising, counter.peak)


def _create_sampler(*arguments: Any) -> Sampler:
    """Create a sampler, whose tables are on the host, with values."""
    with unset_fake_temporarily():
        return create_sampler(*arguments)


def main(choices: list[str]) -> None:
    """Print a row for each choice of preset, precision, memory level and side."""
    diffusers_floor.sizes.append((diffusers_floor.FULL, diffusers_floor.FULL_VAE))
    print(f"{'preset,dtype,level,side':28} weights  denoising  decoding (GB)")
    for choice in choices or ALL:
        preset, dtype, level, side = choice.split(",")
        estimate = estimate_memory(preset, DTYPES[dtype], level, int(side))
        values = (estimate.weights, estimate.denoising, estimate.decoding)
        print(f"{choice:28} {values[0] / 1e9:7.2f} {values[1] / 1e9:10.2f} {values[2] / 1e9:9.2f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
