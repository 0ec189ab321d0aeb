"""A whole video, clip by clip: motion tokens, render latents, ICA conditioning, denoising."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from mimaface_cli.engines.diffusion import ica, latents
from mimaface_cli.engines.diffusion.denoise import denoise
from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings
from mimaface_cli.engines.diffusion.mia import PaperMIA, ReleaseMIA, pool_frames
from mimaface_cli.engines.diffusion.samplers import create_sampler
from mimaface_cli.engines.diffusion.unet import VideoUNet
from mimaface_cli.face.d3dfr import split_coefficients

# Pictures of the track's frames: (F, 3, H, W) in [-1, 1].
FrameLoader = Callable[[Sequence[int]], Tensor]


@dataclass
class DiffusionNetworks:
    """What denoises: all in evaluation mode; unet and vae on one device, in the dtype they run in. prediction: what the
    UNet gives (epsilon, v or sample).
    """

    unet: VideoUNet
    mia: ReleaseMIA | PaperMIA
    vae: AutoencoderKL
    prediction: str = "epsilon"

    @property
    def dtype(self) -> torch.dtype:
        return self.unet.conv_in.weight.dtype

    @property
    def wants_identity(self) -> bool:
        """Whether the tokens are made from ArcFace features too, as in the release."""
        return isinstance(self.mia, ReleaseMIA)


@dataclass(frozen=True)
class Appearance:
    """What is known of B sources: CLIP tokens (B, 1 + P, 1024) and, for the released variant, ArcFace features (B, 25088)."""

    clip: Tensor
    identity: Tensor | None = None


@dataclass(frozen=True)
class VideoInputs:
    """What a video is made of: the source's appearance, mixed coefficients (N, 261), the render of any frames, and for
    a warm start the pictures to begin from.
    """

    appearance: Appearance
    coefficients: np.ndarray
    render: FrameLoader
    rough: FrameLoader | None = None


@dataclass(frozen=True)
class MemoryPlan:
    """How much memory is spent: batched runs both guidance halves as one; chunk is how many pictures the VAE takes."""

    batched: bool = True
    chunk: int = 4


def compute_condition_tokens(
    mia: ReleaseMIA | PaperMIA, appearance: Appearance, coefficients: Tensor, per_frame: bool = False
) -> Tensor:
    """Mixed coefficients (B, F, 261) of clips -> condition tokens (B, T, C), or (B, F, T, C) where per frame."""
    groups = split_coefficients(coefficients.to(appearance.clip))
    if isinstance(mia, PaperMIA):
        groups["pose"] = torch.cat([groups["angles"], groups["translation"]], -1)
        return mia(appearance.clip, groups)
    tokens = mia(appearance.clip, appearance.identity, groups)
    return tokens if per_frame else pool_frames(tokens)


@torch.no_grad()
def denoise_clip(
    networks: DiffusionNetworks,
    inputs: VideoInputs,
    clip: ica.ClipWindow,
    carried: Tensor | None,
    settings: DenoiseSettings,
    economy: MemoryPlan = MemoryPlan(),
    stepped: Callable[[int], None] = lambda steps: None,
) -> Tensor:
    """Latents (1, 4, F, h, w) float32 of one clip. carried: those of its first frames, from the clip before; stepped is
    told how many steps are done.
    """
    frames, unet = list(clip.frames), networks.unet
    device, dtype = unet.conv_in.weight.device, networks.dtype
    coefficients = torch.from_numpy(inputs.coefficients[frames])[None]
    tokens = compute_condition_tokens(networks.mia, inputs.appearance, coefficients, settings.per_frame_tokens)
    drawn = latents.encode_latents(networks.vae, inputs.render(frames), economy.chunk).to(device, dtype)
    clean = latents.encode_latents(networks.vae, inputs.rough(frames), economy.chunk) if settings.warm_start else None
    noise = ica.sample_noise(settings.length, *drawn.shape[-2:], seed=settings.seed)
    condition = ica.build_ica_channels(carried, settings.length, drawn)
    sampler = create_sampler(settings, networks.prediction)
    steps = denoise(
        unet, sampler, noise, drawn, condition, tokens.to(device, dtype), settings, clean=clean, batched=economy.batched
    )
    for count, final in enumerate(steps, 1):
        stepped(count)
    return final


def denoise_clips(
    networks: DiffusionNetworks,
    inputs: VideoInputs,
    settings: DenoiseSettings,
    done: Callable[[int], Tensor | None] = lambda index: None,
    run: Callable[..., Tensor] = denoise_clip,
) -> Iterator[tuple[ica.ClipWindow, Tensor]]:
    """Yield every clip of a track with its latents (1, 4, F, h, w) float32; memory is that of one clip.

    done(i) may give the latents of clip i from an earlier run; such clips are not computed again. run: called like
    `denoise_clip` for each of the others.
    """
    previous = None
    for index, clip in enumerate(ica.plan_clips(len(inputs.coefficients), settings.length, settings.overlap)):
        final = done(index)
        if final is None:
            carried = None if previous is None or not clip.carried else previous[:, :, -clip.carried :]
            final = run(networks, inputs, clip, carried, settings)
        previous = final
        yield clip, final


@torch.no_grad()
def decode_new_frames(vae: AutoencoderKL, clip: ica.ClipWindow, final: Tensor, chunk: int = 4) -> Iterator[np.ndarray]:
    """The pictures (H, W, 3) uint8 that a clip adds to the video."""
    yield from latents.decode_latents(vae, final[:, :, clip.new], chunk)
