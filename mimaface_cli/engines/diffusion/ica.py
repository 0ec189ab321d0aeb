"""ICA: clips that overlap, each conditioned on the last frames of the one before."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ClipWindow:
    """frames: the track's frame behind each of the clip's; the first `carried` of them repeat the clip before.

    Frames from `end` on only fill the clip up (the track's last frame, repeated): the clip yields `carried` to `end`.
    """

    frames: tuple[int, ...]
    carried: int
    end: int

    @property
    def new(self) -> slice:
        return slice(self.carried, self.end)


def plan_clips(count: int, length: int = 12, overlap: int = 3) -> Iterator[ClipWindow]:
    """Cover `count` frames with clips of `length` frames, `overlap` of them shared. No clip without a new frame."""
    if count < 1 or not 0 <= overlap < length:
        raise ValueError(f"cannot cover {count} frames by clips of {length} that share {overlap}")
    start, carried = 0, 0
    while start + carried < count:
        frames = tuple(min(start + i, count - 1) for i in range(length))
        yield ClipWindow(frames, carried, min(length, count - start))
        start += length - overlap
        carried = overlap


def build_ica_channels(carried: Tensor | None, frames: int, like: Tensor) -> Tensor:
    """The UNet's ICA channels (B, 5, F, h, w): conditioning latents 4 and their mask 1; zero where nothing is given.

    carried: latents (B, 4, k, h, w) of the first k frames (in training the true ones, with noise of sigma 0.1 added),
    or None. like: a tensor (B, 4, F', h, w) that gives batch, latent size, dtype and device.
    """
    batch, channels, _, height, width = like.shape
    out = like.new_zeros(batch, channels + 1, frames, height, width)
    if carried is not None:
        out[:, :channels, : carried.shape[2]] = carried
        out[:, channels:, : carried.shape[2]] = 1
    return out


def sample_noise(frames: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Standard normal noise (1, 4, F, h, w), float32 on the CPU: the same for a seed everywhere, and in every clip."""
    return torch.randn(1, 4, frames, height, width, generator=torch.Generator().manual_seed(seed))
