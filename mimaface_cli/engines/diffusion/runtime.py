"""Device, precision and memory level of the networks."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings
from mimaface_cli.engines.diffusion.device import (
    free_memory,
    is_out_of_memory,
    release_memory,
    resolve_device,
    supports_bfloat16,
)
from mimaface_cli.engines.diffusion.pipeline import DiffusionNetworks, MemoryPlan
from mimaface_cli.errors import InputError, WeightsError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MEMORY_LEVELS = ("high", "low", "minimal")  # in the order in which they are tried
MEMORY_PLANS = {
    "high": MemoryPlan(),
    "low": MemoryPlan(batched=False, chunk=1),
    "minimal": MemoryPlan(batched=False, chunk=1),
}
OFFLOADING_DEVICES = ("cuda", "xpu")  # devices with a memory of their own
# Bytes that a level needs beyond the UNet's weights at 512² in 16-bit precision: for each frame of a clip, and for the
# other networks and decoding. From `python -m tests.benchmarks.gpu_memory`.
_FRAME_BYTES = {"high": 180e6, "low": 90e6}
_FIXED_BYTES = {"high": 2.0e9, "low": 0.8e9}
_MEMORY_MARGIN = 1.1  # for workspaces and what the allocator cannot use; a wrong guess costs one repeated clip
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Runtime:
    """Where and how the networks run.

    Attributes:
        device: Device of the networks.
        dtype: Precision of UNet and VAE.
        level: Memory level. "high" keeps all networks on the device and runs both guidance halves as one batch; "low"
            runs them one after the other, and the VAE image by image; "minimal" also loads each layer's weights only
            while it runs.
        compile: Whether torch.compile compiles the UNet's layers.
    """

    device: torch.device
    dtype: torch.dtype
    level: str = "high"
    compile: bool = False

    @property
    def name(self) -> str:
        """Device and precision, such as `cuda bf16`."""
        return f"{self.device.type} {next(name for name, dtype in DTYPES.items() if dtype == self.dtype)}"


def choose_runtime(
    device: str = "auto",
    dtype: str = "auto",
    vram: str = "auto",
    compile: bool = False,
    *,
    exact: bool = False,
    weights: int = 0,
    frames: int = 12,
) -> Runtime:
    """Choose device, precision and memory level.

    Args:
        device: "auto" (the accelerator), "cuda", "cuda:N", "mps", "xpu" or "cpu".
        dtype: "fp32", "bf16", "fp16", or "auto": fp32 for exact results and on the CPU, else bf16 on GPUs that support
            it and fp16 on older ones.
        vram: A memory level, or "auto": the highest one that fits into the free memory.
        compile: Whether to compile the UNet's layers.
        exact: Whether the release's results are requested.
        weights: Number of parameters of the networks.
        frames: Frames of a clip.

    Raises:
        InputError: For unknown values.
        WeightsError: If there is no such device.
    """
    if vram not in ("auto", *MEMORY_LEVELS):
        raise InputError(f"unknown mode {vram!r}. Choose auto, {', '.join(MEMORY_LEVELS)}.", field="vram")
    if dtype not in ("auto", *DTYPES):
        raise InputError(f"unknown precision {dtype!r}. Choose auto, {', '.join(DTYPES)}.", field="dtype")
    torch_device = resolve_device(device)
    if dtype != "auto":
        precision = DTYPES[dtype]
    elif exact or torch_device.type == "cpu":
        precision = torch.float32
    else:
        precision = torch.bfloat16 if supports_bfloat16(torch_device) else torch.float16
    level = vram
    if vram == "auto":
        free = free_memory(torch_device)
        levels = (
            name for name in _FRAME_BYTES if free is None or free >= _estimate_memory(name, precision, weights, frames)
        )
        level = next(levels, "minimal")
    elif vram == "minimal" and torch_device.type not in OFFLOADING_DEVICES:
        level = "low"  # the CPU and Apple's GPU have one memory, so that nothing is saved
    return Runtime(torch_device, precision, level, compile)


def _estimate_memory(level: str, dtype: torch.dtype, weights: int, frames: int) -> float:
    """Return the bytes that a memory level needs on a device."""
    sixteen_bit = 2 * weights + frames * _FRAME_BYTES[level] + _FIXED_BYTES[level]
    return _MEMORY_MARGIN * dtype.itemsize / 2 * sixteen_bit


def place_networks(networks: DiffusionNetworks, runtime: Runtime, settings: DenoiseSettings) -> Runtime:
    """Move networks to their device and precision, in place; compile them where requested.

    Returns:
        The runtime with the memory level that the networks fit in.

    Raises:
        WeightsError: If not even the layers of "minimal" fit into the device's memory.
    """
    device = runtime.device
    level = runtime.level
    while True:
        try:
            _place(networks, runtime, level)
            break
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if level == "minimal" or device.type not in OFFLOADING_DEVICES:
                raise out_of_memory_error(device, level) from error
        level = "minimal"  # "low" needs the memory of all weights too
        networks.unet.to(_CPU)
        release_memory(device)
    if runtime.compile:
        networks.unet.compile_layers(attentions=settings.token_reuse == 1)
    return replace(runtime, level=level)


def _place(networks: DiffusionNetworks, runtime: Runtime, level: str) -> None:
    device, dtype = runtime.device, runtime.dtype
    layout = torch.channels_last if device.type == "cuda" else None
    move(networks.mia, device, torch.float32)  # small, and its softmax over raw coefficients needs the range
    move(networks.vae, device, dtype, layout)
    move(networks.unet, _CPU if level == "minimal" else device, dtype, layout)
    if level == "minimal":
        offload_unet(networks, device)


def move(
    module: nn.Module, device: torch.device, dtype: torch.dtype, layout: torch.memory_format | None = None
) -> None:
    """Move a module to a device, then to a precision and a layout, tensor by tensor; no second copy is in memory."""

    def convert(tensor: Tensor) -> Tensor:
        moved = tensor.to(device)
        if moved.is_floating_point():
            moved = moved.to(dtype)
        return moved.contiguous(memory_format=layout) if layout is not None and moved.dim() == 4 else moved

    module._apply(convert)  # not `to`, which casts on the CPU before it moves, and prints warnings in diffusers


def offload_unet(networks: DiffusionNetworks, device: torch.device) -> None:
    """Keep the UNet's weights in main memory and move each layer's to the device while it runs."""
    from diffusers.hooks import apply_group_offloading

    # By single layers: the video UNet calls the layers of its blocks, never a block as a whole.
    has_streams = device.type in OFFLOADING_DEVICES
    apply_group_offloading(
        networks.unet.to(_CPU), device, _CPU, "leaf_level", use_stream=has_streams, record_stream=has_streams
    )


def out_of_memory_error(device: torch.device, level: str) -> WeightsError:
    """Return the error for memory that does not suffice at the lowest level."""
    return WeightsError(
        f"{device}: out of memory even with `vram={level}`. Set a shorter `length` such as 8, `dtype=bf16`, another "
        "`device`, or `engine=mesh`."
    )
