"""Denoising and decoding of clips, with fallbacks when memory or precision do not suffice."""

import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings
from mimaface_cli.engines.diffusion.device import is_out_of_memory, release_memory, side_stream, synchronize
from mimaface_cli.engines.diffusion.ica import ClipWindow
from mimaface_cli.engines.diffusion.latents import decode_clip
from mimaface_cli.engines.diffusion.pipeline import DiffusionNetworks, MemoryPlan, VideoInputs, denoise_clip
from mimaface_cli.engines.diffusion.runtime import (
    MEMORY_LEVELS,
    MEMORY_PLANS,
    OFFLOADING_DEVICES,
    Runtime,
    move,
    offload_unet,
    out_of_memory_error,
)
from mimaface_cli.errors import MimafaceError


class DenoisingCancelledError(Exception):
    """The running clip is no longer needed."""


@dataclass
class FallbackDenoiser:
    """Denoises clips, and repeats a clip with less memory or higher precision where it needs that.

    Attributes:
        runtime: Device, precision and initial memory level.
        on_step: Called with the number of finished steps of the current clip, first with 0.
        notes: Messages for the user about fallbacks.
        stop: Set it to end a running clip soon with `DenoisingCancelledError`.
        turn: Held while a clip is denoised; a decoder without enough memory waits for it.
    """

    runtime: Runtime
    on_step: Callable[[int], None] = lambda steps: None
    notes: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    turn: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.level = self.runtime.level

    @property
    def memory(self) -> MemoryPlan:
        """The memory plan of the current level."""
        return MEMORY_PLANS[self.level]

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

        with self.turn:
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
        if is_true(latents.isfinite().all()):
            return latents
        if networks.dtype == torch.float32 or self.level == "minimal":
            advice = "Set `dtype=fp32`." if networks.dtype != torch.float32 else "Run mimaface weights verify."
            raise MimafaceError(f"the frames contain NaN or Inf with these weights. {advice}")
        self.notes.append(f"a clip contained NaN or Inf in {self.runtime.name} and was denoised again in fp32")
        with _in_float32(networks, self.runtime.device):
            latents = run()
            is_finite = is_true(latents.isfinite().all())
        if not is_finite:
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
        self.on_step(0)
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
        is_lowest = index == len(MEMORY_LEVELS)
        if is_lowest or (MEMORY_LEVELS[index] == "minimal" and device.type not in OFFLOADING_DEVICES):
            raise out_of_memory_error(device, self.level)
        self.level = MEMORY_LEVELS[index]
        self.notes.append(f"out of memory: continued in the {self.level} memory mode")
        release_memory(device)
        if self.level == "minimal":
            offload_unet(networks, device)
            release_memory(device)


@dataclass
class FallbackDecoder:
    """Decodes clips while the next one is denoised; needs less memory or higher precision where one does not suffice.

    Attributes:
        networks: The networks.
        denoiser: The denoiser of the same video, whose notes it shares.
    """

    networks: DiffusionNetworks
    denoiser: FallbackDenoiser

    def __post_init__(self) -> None:
        self._chunk = 0  # images at once; 0 follows the denoiser's memory level
        self._is_alone = False  # whether the device has no memory for decoding and denoising at once

    def __call__(self, clip: ClipWindow, latents: Tensor) -> Generator[np.ndarray, None, None]:
        """Yield the frames (H, W, 3) uint8 that a clip adds to the video.

        Args:
            clip: The frames of the clip.
            latents: (1, 4, F, h, w) latents of the whole clip.

        Raises:
            WeightsError: If memory does not suffice for a single frame.
            MimafaceError: If the frames are not finite even in fp32.
        """
        yield from self._decode_finite(latents[:, :, clip.new])

    @torch.no_grad()
    def _decode_finite(self, latents: Tensor) -> np.ndarray:
        """Decode latents, and once more in fp32 if the frames contain NaN or Inf."""
        networks, device = self.networks, self.denoiser.runtime.device
        frames, is_finite = self._decode(latents)
        if not is_finite and networks.vae.dtype != torch.float32:
            with networks.vae_lock:
                move(networks.vae, device, torch.float32)
                synchronize(device)
            self.denoiser.notes.append(
                f"decoded frames contained NaN or Inf in {self.denoiser.runtime.name}, and were decoded in fp32"
            )
            frames, is_finite = self._decode(latents)
        if not is_finite:
            raise MimafaceError("decoded frames contain NaN or Inf even in fp32. Run mimaface weights verify.")
        return frames

    def _decode(self, latents: Tensor) -> tuple[np.ndarray, bool]:
        """Decode latents with as much memory as there is; also return whether the frames are finite."""
        device = self.denoiser.runtime.device
        while True:
            chunk = self._chunk or self.denoiser.memory.chunk
            try:
                with self._own_turn(), self.networks.vae_lock, self._stream():
                    frames, finite = decode_clip(self.networks.vae, latents, chunk)
                    is_finite = is_true(finite)  # waits for the device, and so for the frames
                return to_array(frames), is_finite
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if chunk == 1 and self._is_alone:
                    raise out_of_memory_error(device, self.denoiser.level) from error
            self._is_alone = chunk == 1
            self._chunk = 1
            self.denoiser.notes.append(
                "out of memory: frames are decoded one by one" + (", between clips" if self._is_alone else "")
            )
            release_memory(device)

    @contextmanager
    def _own_turn(self) -> Generator[None, None, None]:
        """Wait for the clip that is being denoised, and hold back the next one, if memory is short."""
        if not self._is_alone:
            yield
            return
        with self.denoiser.turn:
            release_memory(self.denoiser.runtime.device)
            yield

    def _stream(self) -> AbstractContextManager[object]:
        """Return a stream beside the denoiser's; each has its own cached memory, so only where there is plenty."""
        return side_stream(self.denoiser.runtime.device) if self.denoiser.level == "high" else nullcontext()


@contextmanager
def _in_float32(networks: DiffusionNetworks, device: torch.device) -> Generator[None, None, None]:
    """Hold UNet and autoencoder in fp32; nobody else may use the autoencoder meanwhile."""
    with networks.vae_lock:
        dtypes = {networks.unet: networks.dtype, networks.vae: networks.vae.dtype}
        modules: tuple[nn.Module, ...] = (networks.unet, networks.vae)
        try:
            for module in modules:
                move(module, device, torch.float32)
            yield
        finally:
            for module in modules:
                move(module, device, dtypes[module])
            synchronize(device)  # before another stream uses the autoencoder


def is_true(flag: Tensor) -> bool:
    """Read a flag of the device; waits for the work of its stream."""
    return bool(flag)


def to_array(images: Tensor) -> np.ndarray:
    """Return the array of a tensor on the host."""
    return images.numpy()


def _cancellation_points(networks: DiffusionNetworks) -> list[nn.Module]:
    """Layers spread over the networks that are never compiled, so that a cancellation is noticed soon."""
    unet, encoder = networks.unet, networks.vae.encoder
    samplers = [block.downsamplers for block in unet.down_blocks] + [block.upsamplers for block in unet.up_blocks]
    in_unet = [unet.conv_in, *(layer for layers in samplers for layer in layers or ()), unet.conv_out]
    return [*in_unet, encoder.conv_in, *encoder.down_blocks]
