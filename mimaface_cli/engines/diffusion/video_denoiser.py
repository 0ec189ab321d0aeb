"""The paper's engine: a photo and a bfm09 track in, frames of the 512 square out, clip after clip."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mimaface_cli.concurrency import prefetch
from mimaface_cli.engines.diffusion import ica
from mimaface_cli.engines.diffusion.clip_store import ClipStore, compute_run_key
from mimaface_cli.engines.diffusion.condition_render import render_condition
from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings
from mimaface_cli.engines.diffusion.face_placement import place_faces
from mimaface_cli.engines.diffusion.pipeline import (
    Appearance,
    DiffusionNetworks,
    VideoInputs,
    decode_new_frames,
    denoise_clips,
)
from mimaface_cli.engines.diffusion.portrait_features import PortraitFeatures
from mimaface_cli.engines.diffusion.runtime import FallbackDenoiser, Runtime
from mimaface_cli.errors import InputError
from mimaface_cli.face.bfm import Bfm09
from mimaface_cli.face.bfm_regions import expression_parts
from mimaface_cli.face.d3dfr import pack_coefficients, split_coefficients
from mimaface_cli.face.portrait import SQUARE
from mimaface_cli.face.warp import images_to_tensor
from mimaface_cli.motion.retarget import reference_coefficients, retarget_bfm09
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.track import MotionTrack

NAME = "diffusion"


@dataclass(frozen=True)
class DiffusionMotion:
    """coefficients: mixed, (N, 261) float32; places: (N, 2, 3), each frame's 256 crop to the 512 square."""

    coefficients: np.ndarray
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.coefficients)


def plan_diffusion_motion(
    model: Bfm09, source: PortraitFeatures, track: MotionTrack, options: RetargetOptions
) -> DiffusionMotion:
    """Source and driver mixed: identity, texture and light of the source, motion by the options (absolute: as the
    release mixes them).
    """
    start = reference_coefficients(track, options)
    moved = retarget_bfm09(source.motion, track, options, start, expression_parts(model))
    of_source = split_coefficients(source.coefficients)
    still = {name: of_source[name] for name in ("identity", "texture", "illumination")}
    mixed = pack_coefficients({**still, "expression": moved.expression, "pose": moved.pose, "gaze": moved.gaze})
    return DiffusionMotion(mixed, place_faces(track, source.place, options))


def stream_condition_renders(model: Bfm09, motion: DiffusionMotion) -> Callable[[int], Iterator[Tensor]]:
    """Called with a frame: the renders (3, 512, 512) of the motion from that frame on."""

    def begin(first: int) -> Iterator[Tensor]:
        for coefficients, place in zip(motion.coefficients[first:], motion.places[first:]):
            yield render_condition(model, coefficients, place, SQUARE)

    return begin


@dataclass
class VideoDenoiser:
    """One video on its way. coefficients: mixed, (N, 261); renders: gives the condition pictures (3, S, S) from a frame
    on; taken: clips that an earlier run left; made: how many were made now; notes: for the user.
    """

    networks: DiffusionNetworks
    runtime: Runtime
    settings: DenoiseSettings
    appearance: Appearance
    coefficients: np.ndarray
    renders: Callable[[int], Iterator[Tensor]]
    store: ClipStore | None = None
    rough: Iterator[np.ndarray] | None = None
    report: Callable[[int, int], None] = lambda done, total: None

    def __post_init__(self) -> None:
        reach = self.networks.unet.max_frames
        if reach is not None and self.settings.length > reach:
            raise InputError(f"--clip-length {self.settings.length}: this model's clips have at most {reach} frames")
        self.taken: set[int] = set()
        self.made = 0
        self.notes: list[str] = []

    def frames(self) -> Iterator[np.ndarray]:
        """The frames (S, S, 3) uint8 RGB in order. While one clip is decoded and written the next is denoised; no
        more than two are in memory. Closing the iterator ends the work soon.
        """
        settings = self.settings
        rough = None if self.rough is None else FrameWindow(lambda first: self._rough(first), settings.length)
        # Drawn on the CPU by a thread of their own, so that the device need not wait for them.
        drawn = FrameWindow(lambda first: prefetch(self.renders(first), 2 * settings.length), settings.length)
        inputs = VideoInputs(self.appearance, self.coefficients, drawn, rough)
        count = sum(1 for _ in ica.plan_clips(len(self.coefficients), settings.length, settings.overlap))
        steps = settings.steps - settings.first_step
        finished = 0

        def stepped(done: int) -> None:
            self.report(finished * steps + done, count * steps)

        patience = FallbackDenoiser(self.runtime, stepped, self.notes)

        def done(index: int) -> Tensor | None:
            found = None if self.store is None else self.store.load(index)
            if found is not None:
                self.taken.add(index)
            return found

        def clips() -> Iterator[tuple[ica.ClipWindow, Tensor]]:
            nonlocal finished
            for index, (clip, final) in enumerate(denoise_clips(self.networks, inputs, settings, done, patience)):
                if index not in self.taken:
                    self.made += 1
                    if self.store is not None:
                        self.store.keep(index, final)
                finished = index + 1
                yield clip, final

        ahead = prefetch(clips(), depth=1)
        try:
            for clip, final in ahead:
                yield from decode_new_frames(self.networks.vae, clip, final, patience.economy.chunk)
        finally:
            patience.stop.set()
            ahead.close()
            drawn.close()

    def _rough(self, first: int) -> Iterator[Tensor]:
        for frame in itertools.islice(self.rough, first, None):
            yield images_to_tensor(frame[None])[0]


class FrameWindow:
    """Any of the last frames of an iterator that only goes forwards, as clips overlap: called with increasing ranges of
    frames, gives their pictures (F, 3, H, W). begin(first) starts the iterator at the first frame that is wanted.
    """

    def __init__(self, begin: Callable[[int], Iterator[Tensor]], length: int) -> None:
        self._begin, self._length = begin, length
        self._frames: Iterator[Tensor] | None = None
        self._next = 0
        self._kept: dict[int, Tensor] = {}

    def __call__(self, wanted: Sequence[int]) -> Tensor:
        if self._frames is None:
            self._next = wanted[0]
            self._frames = self._begin(self._next)
        while self._next <= max(wanted):
            self._kept[self._next] = next(self._frames)
            self._kept.pop(self._next - self._length, None)
            self._next += 1
        return torch.stack([self._kept[k] for k in wanted])

    def close(self) -> None:
        """End the iterator."""
        if self._frames is not None:
            self._frames.close()


def open_clip_store(
    folder: Path, work: VideoDenoiser, weights: str, arrays: Mapping[str, np.ndarray], size: int = SQUARE
) -> ClipStore:
    """Where a run keeps its clips: under a name made of all that its latents depend on. weights: `checkpoint.fingerprint`;
    arrays: of the source and its motion; size: of the pictures.
    """
    arrays = {**arrays, "coefficients": work.coefficients}
    key = compute_run_key(work.settings, arrays, weights=weights, device=work.runtime.name)
    side = size // 2 ** (len(work.networks.vae.config.block_out_channels) - 1)
    return ClipStore(folder, key, (1, work.networks.vae.config.latent_channels, work.settings.length, side, side))
