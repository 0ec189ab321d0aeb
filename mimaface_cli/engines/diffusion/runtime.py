"""Where and how the networks run: device, number format, memory; and what is done when they do not fit."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings
from mimaface_cli.engines.diffusion.ica import ClipWindow
from mimaface_cli.engines.diffusion.pipeline import DiffusionNetworks, MemoryPlan, VideoInputs, denoise_clip
from mimaface_cli.errors import InputError, MimafaceError, WeightsError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MEMORY_LEVELS = ("high", "low", "minimal")  # of memory, in the order in which they are tried
_ECONOMIES = {
    "high": MemoryPlan(),
    "low": MemoryPlan(batched=False, chunk=1),
    "minimal": MemoryPlan(batched=False, chunk=1),
}
# Bytes a level wants beyond the weights, for each frame of a clip at 512², number format of two bytes.
_WORKING = {"high": 700e6, "low": 250e6}


@dataclass(frozen=True)
class Runtime:
    """level: high keeps all networks on the device and runs both guidance halves as one batch; low runs them one after
    the other and the VAE picture by picture; minimal also fetches each layer's weights only when it runs.
    """

    device: torch.device
    dtype: torch.dtype
    level: str = "high"
    compile: bool = False

    @property
    def name(self) -> str:
        """Device and format in words, such as `cuda bf16`."""
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
    """What to run on. device: auto (CUDA), cuda[:N] or cpu. dtype: fp32, bf16, fp16 or auto: fp32 where the release's
    numbers are wanted (exact) and on the CPU, else bf16 on cards that have it and fp16 on older ones. vram: auto, or a
    level. weights: how many numbers the networks hold; frames: of a clip. Raises InputError, or WeightsError when there
    is no such device.
    """
    if vram not in ("auto", *MEMORY_LEVELS):
        raise InputError(f"--vram {vram}: choose auto, {', '.join(MEMORY_LEVELS)}")
    if dtype not in ("auto", *DTYPES):
        raise InputError(f"--dtype {dtype}: choose auto, {', '.join(DTYPES)}")
    chosen = _device(device)
    if dtype != "auto":
        number = DTYPES[dtype]
    elif exact or chosen.type == "cpu":
        number = torch.float32
    else:
        number = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    level = vram
    if vram == "auto":
        level = "high"
        if chosen.type == "cuda":
            free = torch.cuda.mem_get_info(chosen)[0]
            wanted = {key: number.itemsize * (weights + frames * value / 2) for key, value in _WORKING.items()}
            level = next((key for key in ("high", "low") if free >= wanted[key]), "minimal")
    return Runtime(chosen, number, level, compile)


def _device(name: str) -> torch.device:
    try:
        chosen = torch.device("cuda" if name == "auto" else name)
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in ("cuda", "cpu"):
        raise InputError(f"--device {name}: choose auto, cuda, cuda:N or cpu")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise WeightsError(
            f"--device {name}: no such CUDA device here; --device cpu runs the diffusion engine on the CPU (minutes to "
            "hours for a second of video), --engine mesh needs no device"
        )
    return chosen


def place_networks(networks: DiffusionNetworks, runtime: Runtime, settings: DenoiseSettings) -> None:
    """Move networks to where they run, in place."""
    device, layout = runtime.device, torch.channels_last if runtime.device.type == "cuda" else torch.preserve_format
    networks.mia.to(device, torch.float32)  # small, and its softmax over raw coefficients wants the range
    _cast(networks, runtime.dtype)
    for network in (networks.vae, networks.unet):
        network.to(memory_format=layout)
    networks.vae.to(device)
    if runtime.level == "minimal":
        offload_unet(networks, device)
    else:
        networks.unet.to(device)
    if runtime.compile:
        networks.unet.compile_layers(attentions=settings.token_reuse == 1)


def _cast(networks: DiffusionNetworks, dtype: torch.dtype) -> None:
    for network in (networks.unet, networks.vae):
        torch.nn.Module.to(network, dtype)  # diffusers' own `to` warns of nothing


def offload_unet(networks: DiffusionNetworks, device: torch.device) -> None:
    """Keep the UNet's weights in the computer's memory and bring each layer's to the device while it runs."""
    from diffusers.hooks import apply_group_offloading

    # By single layers: the video UNet calls the layers of its blocks, never a block as a whole.
    apply_group_offloading(
        networks.unet.to("cpu"), device, torch.device("cpu"), "leaf_level", use_stream=device.type == "cuda"
    )


@dataclass
class FallbackDenoiser:
    """Runs clips, and again with less memory or more precise numbers where that is what they need. notes: what the user
    should know, in words; stop: set it to end a running clip soon with `Cancelled`.
    """

    runtime: Runtime
    stepped: Callable[[int], None] = lambda steps: None
    notes: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.level = self.runtime.level

    @property
    def economy(self) -> MemoryPlan:
        """How memory is spent now."""
        return _ECONOMIES[self.level]

    def __call__(
        self,
        networks: DiffusionNetworks,
        inputs: VideoInputs,
        clip: ClipWindow,
        carried: Tensor | None,
        settings: DenoiseSettings,
    ) -> Tensor:
        """As `pipeline.denoise_clip`. Raises WeightsError when memory does not suffice at the lowest level, and
        MimafaceError when the frames are not finite even in float32.
        """
        while True:
            try:
                return self._finite(networks, inputs, clip, carried, settings)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            self._lower(networks)

    def _finite(self, networks: DiffusionNetworks, *clip_and_more) -> Tensor:
        final = self._run(networks, *clip_and_more)
        if final.isfinite().all():
            return final
        if networks.dtype == torch.float32 or self.level == "minimal":
            advice = (
                "run again with --dtype fp32"
                if networks.dtype != torch.float32
                else "check them: mimaface weights verify"
            )
            raise MimafaceError(f"the frames came out as no numbers with these weights; {advice}")
        self.notes.append(f"a clip came out as no numbers in {self.runtime.name} and was made again in fp32")
        try:
            _cast(networks, torch.float32)
            final = self._run(networks, *clip_and_more)
        finally:
            _cast(networks, self.runtime.dtype)
        if not final.isfinite().all():
            raise MimafaceError(
                "the frames come out as no numbers even in fp32; check the weights: mimaface weights verify"
            )
        return final

    def _run(self, networks: DiffusionNetworks, *clip_and_more) -> Tensor:
        handles = [block.register_forward_pre_hook(self._check) for block in _parts(networks)]
        try:
            return denoise_clip(networks, *clip_and_more, self.economy, self.stepped)
        finally:
            for handle in handles:
                handle.remove()

    def _check(self, *_: object) -> None:
        if self.stop.is_set():
            raise DenoisingCancelledError

    def _lower(self, networks: DiffusionNetworks) -> None:
        """Give up speed for memory."""
        at = MEMORY_LEVELS.index(self.level) + 1
        if at == len(MEMORY_LEVELS) or (MEMORY_LEVELS[at] == "minimal" and self.runtime.device.type == "cpu"):
            raise WeightsError(
                f"{self.runtime.device}: out of memory even with --vram {self.level}; choose shorter clips "
                "(--clip-length 8), --dtype bf16, another device, or --engine mesh"
            )
        self.level = MEMORY_LEVELS[at]
        self.notes.append(f"memory ran short: went on with --vram {self.level}")
        if self.runtime.device.type == "cuda":
            torch.cuda.empty_cache()
        if self.level == "minimal":
            offload_unet(networks, self.runtime.device)


class DenoisingCancelledError(Exception):
    """Nobody waits for the running clip any more."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the CPU, had no more memory to give."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _parts(networks: DiffusionNetworks) -> list[torch.nn.Module]:
    """Layers (of those that are never compiled) spread over the UNet, so that a cancellation is noticed soon."""
    unet = networks.unet
    samplers = [block.downsamplers for block in unet.down_blocks] + [block.upsamplers for block in unet.up_blocks]
    return [unet.conv_in, *(layer for layers in samplers for layer in layers or ()), unet.conv_out]
