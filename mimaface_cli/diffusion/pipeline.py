"""A whole video, clip by clip: motion tokens, render latents, ICA conditioning, denoising."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from mimaface_cli.diffusion import ica, latents
from mimaface_cli.diffusion.denoise import Schedule, denoise, euler_schedule
from mimaface_cli.diffusion.mia import PaperTokens, ReleaseTokens, pool_frames
from mimaface_cli.diffusion.unet import VideoUNet
from mimaface_cli.face.d3dfr import split


@dataclass(frozen=True)
class Settings:
    """Release defaults: 12-frame clips that share 3, 25 Euler steps, guidance 5, the same noise in every clip.

    per_frame_tokens: give every frame its own tokens instead of the clip's average (`PaperTokens` always does).
    chunk: pictures that the VAE takes at once.
    """

    length: int = 12
    overlap: int = 3
    guidance: float = 5.0
    seed: int = 0
    per_frame_tokens: bool = False
    chunk: int = 4
    schedule: Schedule = field(default_factory=euler_schedule)


@dataclass(frozen=True)
class Appearance:
    """What is known of the source: CLIP tokens (1, 1 + P, 1024) and, for the released variant, ArcFace features."""

    clip: Tensor
    identity: Tensor | None = None


def clip_tokens(
    mia: ReleaseTokens | PaperTokens, appearance: Appearance, coefficients: np.ndarray, per_frame: bool = False
) -> Tensor:
    """Mixed coefficients (F, 261) of one clip -> condition tokens (1, T, C), or (1, F, T, C) where per frame."""
    groups = split(torch.from_numpy(coefficients)[None].to(appearance.clip))
    if isinstance(mia, PaperTokens):
        groups["pose"] = torch.cat([groups["angles"], groups["translation"]], -1)
        return mia(appearance.clip, groups)
    tokens = mia(appearance.clip, appearance.identity, groups)
    return tokens if per_frame else pool_frames(tokens)


@torch.no_grad()
def denoise_clips(
    unet: VideoUNet,
    mia: ReleaseTokens | PaperTokens,
    vae: AutoencoderKL,
    appearance: Appearance,
    coefficients: np.ndarray,
    render: Callable[[Sequence[int]], Tensor],
    settings: Settings,
    done: Callable[[int], Tensor | None] = lambda index: None,
) -> Iterator[tuple[ica.Clip, Tensor]]:
    """Yield every clip of a track with its latents (1, 4, F, h, w) float32; memory is that of one clip.

    coefficients: mixed, (N, 261); render(frames) -> their renders (F, 3, H, W) in [-1, 1]. done(i) may give the
    latents of clip i from an earlier run; such clips are not computed again.
    """
    previous = None
    for index, clip in enumerate(ica.plan_clips(len(coefficients), settings.length, settings.overlap)):
        final = done(index)
        if final is None:
            frames = list(clip.frames)
            tokens = clip_tokens(mia, appearance, coefficients[frames], settings.per_frame_tokens)
            drawn = latents.encode(vae, render(frames), settings.chunk).to(appearance.clip)
            carried = None if previous is None or not clip.carried else previous[:, :, -clip.carried :]
            start = ica.noise(settings.length, *drawn.shape[-2:], seed=settings.seed)
            condition = ica.condition(carried, settings.length, drawn)
            for final in denoise(unet, start, drawn, condition, tokens, settings.schedule, settings.guidance):
                pass
        previous = final
        yield clip, final


@torch.no_grad()
def new_frames(vae: AutoencoderKL, clip: ica.Clip, final: Tensor, chunk: int = 4) -> Iterator[np.ndarray]:
    """The pictures (H, W, 3) uint8 that a clip adds to the video."""
    yield from latents.decode(vae, final[:, :, clip.new], chunk)
