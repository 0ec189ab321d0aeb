"""Denoising of a whole video: clips are denoised ahead of decoding, cached on disk and resumed."""

import itertools
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mimaface_cli.concurrency import prefetch
from mimaface_cli.engines.diffusion.clip_store import ClipStore, compute_run_key
from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings
from mimaface_cli.engines.diffusion.fallback import FallbackDecoder, FallbackDenoiser
from mimaface_cli.engines.diffusion.ica import ClipWindow, plan_clips
from mimaface_cli.engines.diffusion.pipeline import (
    Appearance,
    DiffusionNetworks,
    VideoInputs,
    denoise_clips,
)
from mimaface_cli.engines.diffusion.runtime import Runtime
from mimaface_cli.errors import InputError
from mimaface_cli.face.portrait import SQUARE
from mimaface_cli.face.warp import images_to_tensor

# Streams frames (3, S, S) in [-1, 1] from a given frame on.
FrameStreamer = Callable[[int], Generator[Tensor, None, None]]


@dataclass
class VideoDenoiser:
    """Denoises the clips of one video and decodes their frames.

    Attributes:
        networks: The networks, on their device.
        runtime: Device, precision and memory level.
        settings: Settings of the denoising.
        appearance: Appearance of the portrait.
        coefficients: (N, 261) mixed coefficients.
        stream_renders: Streams the condition renders.
        store: Caches finished clips, or None.
        initial_frames: Frames (S, S, 3) uint8 that a warm start begins from; None without a warm start.
        on_progress: Called with the finished and the total number of steps.
        on_first_clip: Called before `on_progress` with the finished steps and the steps of the first clip of this run.
        resumed_clips: Indices of the clips that an earlier run has left.
        denoised_count: Number of clips that this run has denoised.
        notes: Messages for the user.

    Raises:
        InputError: If the clips are longer than the UNet supports.
    """

    networks: DiffusionNetworks
    runtime: Runtime
    settings: DenoiseSettings
    appearance: Appearance
    coefficients: np.ndarray
    stream_renders: FrameStreamer
    store: ClipStore | None = None
    initial_frames: Iterator[np.ndarray] | None = None
    on_progress: Callable[[int, int], None] = lambda done, total: None
    on_first_clip: Callable[[int, int], None] = lambda done, total: None
    resumed_clips: set[int] = field(default_factory=set, init=False)
    denoised_count: int = field(default=0, init=False)
    notes: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        limit = self.networks.unet.max_frames
        if limit is not None and self.settings.length > limit:
            raise InputError(
                f"{self.settings.length} is out of range. Give at most {limit} frames for this model.", field="length"
            )

    def frames(self) -> Generator[np.ndarray, None, None]:
        """Denoise and decode the video.

        On an accelerator, the next clip is denoised while one is decoded and written; at most two are in memory. The
        CPU does one after the other: it gains nothing from two networks at once, and each takes gigabytes. Closing
        the generator ends the work soon.

        Yields:
            Frames (S, S, 3) uint8 RGB in order.
        """
        length = self.settings.length
        # Rendered on the CPU in a thread of its own, so that the device does not wait.
        renders = FrameWindow(lambda first: prefetch(self.stream_renders(first), 2 * length), length)
        initial = None
        if self.initial_frames is not None:
            initial = FrameWindow(_stream_tensors(self.initial_frames), length)
        inputs = VideoInputs(self.appearance.to(self.runtime.device), self.coefficients, renders, initial)
        denoiser = FallbackDenoiser(self.runtime, notes=self.notes)
        decode = FallbackDecoder(self.networks, denoiser)
        clips = self._denoise_clips(inputs, denoiser)
        if self.runtime.device.type != "cpu":
            clips = prefetch(clips, depth=1)
        try:
            for clip, latents in clips:
                yield from decode(clip, latents)
        finally:
            denoiser.stop.set()
            clips.close()
            renders.close()

    def _denoise_clips(
        self, inputs: VideoInputs, denoiser: FallbackDenoiser
    ) -> Generator[tuple[ClipWindow, Tensor], None, None]:
        """Denoise or load every clip, store it, and report progress."""
        settings = self.settings
        count = sum(1 for _ in plan_clips(len(self.coefficients), settings.length, settings.overlap))
        steps = settings.steps - settings.first_step
        finished = 0

        def report_step(done: int) -> None:
            if not self.denoised_count:
                self.on_first_clip(done, steps)
            self.on_progress(finished * steps + done, count * steps)

        denoiser.on_step = report_step
        for index, (clip, latents) in enumerate(
            denoise_clips(self.networks, inputs, settings, self._load_clip, denoiser)
        ):
            if index not in self.resumed_clips:
                self.denoised_count += 1
                if self.store is not None:
                    self.store.save(index, latents)
            finished = index + 1
            yield clip, latents

    def _load_clip(self, index: int) -> Tensor | None:
        latents = None if self.store is None else self.store.load(index)
        if latents is not None:
            self.resumed_clips.add(index)
        return latents


def _stream_tensors(frames: Iterator[np.ndarray]) -> FrameStreamer:
    """Return a function that converts frames (S, S, 3) uint8 to tensors (3, S, S), from a given frame on."""

    def convert_from(first: int) -> Generator[Tensor, None, None]:
        for frame in itertools.islice(frames, first, None):
            yield images_to_tensor(frame[None])[0]

    return convert_from


class FrameWindow:
    """The last frames of a stream that only runs forward, for clips that overlap.

    Args:
        stream: Starts the stream at the first frame that is requested.
        length: Number of frames that are kept.
    """

    def __init__(self, stream: FrameStreamer, length: int) -> None:
        self._stream, self._length = stream, length
        self._frames: Generator[Tensor, None, None] | None = None
        self._next = 0
        self._cached: dict[int, Tensor] = {}

    def __call__(self, indices: Sequence[int]) -> Tensor:
        """Return the frames (F, 3, H, W) at indices that increase from call to call."""
        if self._frames is None:
            self._next = indices[0]
            self._frames = self._stream(self._next)
        while self._next <= max(indices):
            self._cached[self._next] = next(self._frames)
            self._cached.pop(self._next - self._length, None)
            self._next += 1
        return torch.stack([self._cached[index] for index in indices])

    def close(self) -> None:
        """End the stream."""
        if self._frames is not None:
            self._frames.close()


def open_clip_store(
    folder: Path, denoiser: VideoDenoiser, weights: str, arrays: Mapping[str, np.ndarray], size: int = SQUARE
) -> ClipStore:
    """Open the store of a run; its key depends on everything that the latents depend on.

    Args:
        folder: Folder of all runs.
        denoiser: The run.
        weights: Fingerprint of the weights.
        arrays: Arrays of the portrait and its motion.
        size: Side of the frames in pixels.
    """
    arrays = {**arrays, "coefficients": denoiser.coefficients}
    key = compute_run_key(denoiser.settings, arrays, weights=weights, device=denoiser.runtime.name)
    vae_config = denoiser.networks.vae.config
    side = size // 2 ** (len(vae_config.block_out_channels) - 1)
    return ClipStore(folder, key, (1, vae_config.latent_channels, denoiser.settings.length, side, side))
