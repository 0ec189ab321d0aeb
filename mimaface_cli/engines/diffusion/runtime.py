"""Device, precision and memory of the networks, and the fallbacks when memory or precision do not suffice."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings
from mimaface_cli.engines.diffusion.ica import ClipWindow
from mimaface_cli.engines.diffusion.pipeline import DiffusionNetworks, MemoryPlan, VideoInputs, denoise_clip
from mimaface_cli.errors import InputError, MimafaceError, WeightsError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MEMORY_LEVELS = ("high", "low", "minimal")  # in the order in which they are tried
_MEMORY_PLANS = {
    "high": MemoryPlan(),
    "low": MemoryPlan(batched=False, chunk=1),
    "minimal": MemoryPlan(batched=False, chunk=1),
}
# Bytes that a level needs beyond the weights, for each frame of a clip at 512² in 16-bit precision.
_WORKING_BYTES = {"high": 700e6, "low": 250e6}


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
        device: "auto" (CUDA), "cuda", "cuda:N" or "cpu".
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
    torch_device = _parse_device(device)
    if dtype != "auto":
        precision = DTYPES[dtype]
    elif exact or torch_device.type == "cpu":
        precision = torch.float32
    else:
        precision = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    level = vram
    if vram == "auto":
        level = "high"
        if torch_device.type == "cuda":
            free = torch.cuda.mem_get_info(torch_device)[0]
            needed = {name: precision.itemsize * (weights + frames * size / 2) for name, size in _WORKING_BYTES.items()}
            level = next((name for name in ("high", "low") if free >= needed[name]), "minimal")
    return Runtime(torch_device, precision, level, compile)


def _parse_device(name: str) -> torch.device:
    try:
        device = torch.device("cuda" if name == "auto" else name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cuda", "cpu"):
        raise InputError(f"unknown device {name!r}. Choose auto, cuda, cuda:N or cpu.", field="device")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise WeightsError(
            f"there is no CUDA device {name!r}. Set `device=cpu` to run on the CPU (minutes to hours for a second of "
            "video), or `engine=mesh`, which needs no device.",
            field="device",
        )
    return device


def place_networks(networks: DiffusionNetworks, runtime: Runtime, settings: DenoiseSettings) -> None:
    """Move networks to their device and precision, in place; compile them where requested."""
    device = runtime.device
    layout = torch.channels_last if device.type == "cuda" else torch.preserve_format
    networks.mia.to(device, torch.float32)  # small, and its softmax over raw coefficients needs the range
    _cast(networks, runtime.dtype)
    modules: tuple[Any, ...] = (networks.vae, networks.unet)  # Any: `to` has no overload for a layout alone
    for module in modules:
        module.to(memory_format=layout)
    networks.vae.to(device)
    if runtime.level == "minimal":
        offload_unet(networks, device)
    else:
        networks.unet.to(device)
    if runtime.compile:
        networks.unet.compile_layers(attentions=settings.token_reuse == 1)


def _cast(networks: DiffusionNetworks, dtype: torch.dtype) -> None:
    modules: tuple[nn.Module, ...] = (networks.unet, networks.vae)
    for module in modules:
        nn.Module.to(module, dtype)  # not diffusers' own `to`, which prints warnings


def offload_unet(networks: DiffusionNetworks, device: torch.device) -> None:
    """Keep the UNet's weights in main memory and move each layer's to the device while it runs."""
    from diffusers.hooks import apply_group_offloading

    # By single layers: the video UNet calls the layers of its blocks, never a block as a whole.
    apply_group_offloading(
        networks.unet.to("cpu"), device, torch.device("cpu"), "leaf_level", use_stream=device.type == "cuda"
    )


@dataclass
class FallbackDenoiser:
    """Denoises clips, and repeats a clip with less memory or higher precision where it needs that.

    Attributes:
        runtime: Device, precision and initial memory level.
        on_step: Called with the number of finished steps of the current clip.
        notes: Messages for the user about fallbacks.
        stop: Set it to end a running clip soon with `DenoisingCancelledError`.
    """

    runtime: Runtime
    on_step: Callable[[int], None] = lambda steps: None
    notes: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.level = self.runtime.level

    @property
    def memory(self) -> MemoryPlan:
        """The memory plan of the current level."""
        return _MEMORY_PLANS[self.level]

    def __call__(
        self,
        networks: DiffusionNetworks,
        inputs: VideoInputs,
        clip: ClipWindow,
        carried: Tensor | None,
        settings: DenoiseSettings,
    ) -> Tensor:
        """Denoise one clip, see `pipeline.denoise_clip`.

        Raises:
            WeightsError: If memory does not suffice at the lowest level.
            MimafaceError: If the latents are not finite even in fp32.
            DenoisingCancelledError: If `stop` is set.
        """

        def run() -> Tensor:
            return self._denoise(networks, inputs, clip, carried, settings)

        while True:
            try:
                return self._denoise_finite(networks, run)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            self._lower_level(networks)

    def _denoise_finite(self, networks: DiffusionNetworks, run: Callable[[], Tensor]) -> Tensor:
        """Run a clip, and once more in fp32 if its latents contain NaN or Inf."""
        latents = run()
        if latents.isfinite().all():
            return latents
        if networks.dtype == torch.float32 or self.level == "minimal":
            advice = "Set `dtype=fp32`." if networks.dtype != torch.float32 else "Run mimaface weights verify."
            raise MimafaceError(f"the frames contain NaN or Inf with these weights. {advice}")
        self.notes.append(f"a clip contained NaN or Inf in {self.runtime.name} and was denoised again in fp32")
        try:
            _cast(networks, torch.float32)
            latents = run()
        finally:
            _cast(networks, self.runtime.dtype)
        if not latents.isfinite().all():
            raise MimafaceError("the frames contain NaN or Inf even in fp32. Run mimaface weights verify.")
        return latents

    def _denoise(
        self,
        networks: DiffusionNetworks,
        inputs: VideoInputs,
        clip: ClipWindow,
        carried: Tensor | None,
        settings: DenoiseSettings,
    ) -> Tensor:
        handles = [layer.register_forward_pre_hook(self._check_stop) for layer in _cancellation_points(networks)]
        try:
            return denoise_clip(networks, inputs, clip, carried, settings, self.memory, self.on_step)
        finally:
            for handle in handles:
                handle.remove()

    def _check_stop(self, *_: object) -> None:
        if self.stop.is_set():
            raise DenoisingCancelledError

    def _lower_level(self, networks: DiffusionNetworks) -> None:
        """Trade speed for memory."""
        index = MEMORY_LEVELS.index(self.level) + 1
        device = self.runtime.device
        if index == len(MEMORY_LEVELS) or (MEMORY_LEVELS[index] == "minimal" and device.type == "cpu"):
            raise WeightsError(
                f"{device}: out of memory even with `vram={self.level}`. Set a shorter `length` such as 8, "
                "`dtype=bf16`, another `device`, or `engine=mesh`."
            )
        self.level = MEMORY_LEVELS[index]
        self.notes.append(f"out of memory: continued in the {self.level} memory mode")
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if self.level == "minimal":
            offload_unet(networks, device)


class DenoisingCancelledError(Exception):
    """The running clip is no longer needed."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether a device, or the CPU, has run out of memory."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _cancellation_points(networks: DiffusionNetworks) -> list[nn.Module]:
    """Layers spread over the UNet that are never compiled, so that a cancellation is noticed soon."""
    unet = networks.unet
    samplers = [block.downsamplers for block in unet.down_blocks] + [block.upsamplers for block in unet.up_blocks]
    return [unet.conv_in, *(layer for layers in samplers for layer in layers or ()), unet.conv_out]
