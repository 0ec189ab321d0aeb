"""Inter-clip Affinity (ICA): overlapping clips, each conditioned on the last frames of the clip before it."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mimaface_cli.engines.diffusion.device import send


@dataclass(frozen=True)
class ClipWindow:
    """The frames of a track that one clip covers.

    Frames from `end` on only fill the clip up: they repeat the track's last frame.

    Attributes:
        frames: Index in the track of each of the clip's frames.
        carried: Number of frames at the start that repeat the end of the clip before.
        end: End of the valid frames in the clip.
    """

    frames: tuple[int, ...]
    carried: int
    end: int

    @property
    def new(self) -> slice:
        """The frames that this clip adds to the video."""
        return slice(self.carried, self.end)


def plan_clips(count: int, length: int = 12, overlap: int = 3) -> Iterator[ClipWindow]:
    """Cover a track with overlapping clips. Every clip adds at least one frame.

    Args:
        count: Number of frames in the track.
        length: Frames of a clip.
        overlap: Frames that consecutive clips share.

    Yields:
        The clips in order.

    Raises:
        ValueError: If no such clips exist.
    """
    if count < 1 or not 0 <= overlap < length:
        raise ValueError(f"cannot cover {count} frames with clips of {length} that share {overlap}")
    start, carried = 0, 0
    while start + carried < count:
        frames = tuple(min(start + i, count - 1) for i in range(length))
        yield ClipWindow(frames, carried, min(length, count - start))
        start += length - overlap
        carried = overlap


def build_ica_channels(carried: Tensor | None, frames: int, like: Tensor) -> Tensor:
    """Build the UNet's ICA channels: conditioning latents (4 channels) and their mask (1 channel).

    Args:
        carried: (B, 4, K, h, w) latents of the first K frames, or None. In training they are the true latents with
            Gaussian noise of standard deviation 0.1.
        frames: F, frames of the clip.
        like: (B, 4, *, h, w) tensor with the batch size, latent size, dtype and device of the result.

    Returns:
        (B, 5, F, h, w); zero where there is no carried frame.

    Source: paper, section 3.3, Eq. (3); the noise in training: Eq. (4).
    """
    batch, channels, _, height, width = like.shape
    conditioning = like.new_zeros(batch, channels + 1, frames, height, width)
    if carried is not None:
        conditioning[:, :channels, : carried.shape[2]] = carried
        conditioning[:, channels:, : carried.shape[2]] = 1
    return conditioning


def sample_noise(frames: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Sample standard normal noise (1, 4, F, h, w), float32 on the CPU.

    A seed gives the same noise on every machine, and for every clip of a video.
    """
    return torch.randn(1, 4, frames, height, width, generator=torch.Generator().manual_seed(seed))


class ClipNoise:
    """The noise of a video's clips, which is the same for all of them: sampled and moved to the device once."""

    def __init__(self) -> None:
        self._noise: Tensor | None = None
        self._seed: int | None = None

    def __call__(self, frames: int, height: int, width: int, seed: int, device: torch.device) -> Tensor:
        """Return the noise of `sample_noise` on a device."""
        noise = self._noise
        if noise is None or noise.shape[2:] != (frames, height, width) or (self._seed, noise.device) != (seed, device):
            noise = send(sample_noise(frames, height, width, seed), device)
            self._noise, self._seed = noise, seed
        return noise
