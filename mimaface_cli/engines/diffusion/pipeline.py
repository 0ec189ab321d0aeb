"""A whole video, clip by clip: condition tokens, render latents, ICA conditioning, denoising, decoding."""

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from mimaface_cli.engines.diffusion import ica
from mimaface_cli.engines.diffusion.denoise import ClipConditions, denoise
from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings
from mimaface_cli.engines.diffusion.device import send
from mimaface_cli.engines.diffusion.latents import decode_latents, encode_latents
from mimaface_cli.engines.diffusion.mia import PaperMIA, ReleaseMIA, pool_frames
from mimaface_cli.engines.diffusion.samplers import create_sampler
from mimaface_cli.engines.diffusion.unet import VideoUNet
from mimaface_cli.face.d3dfr import split_coefficients

# Loads frames of the track by index: (F, 3, H, W) in [-1, 1].
FrameLoader = Callable[[Sequence[int]], Tensor]
# Denoises one clip; called like `denoise_clip` with its first five arguments.
ClipDenoiser = Callable[
    ["DiffusionNetworks", "VideoInputs", ica.ClipWindow, Tensor | None, DenoiseSettings],
    Tensor,
]


@dataclass
class DiffusionNetworks:
    """The networks of the denoising, in evaluation mode.

    Attributes:
        unet: The video UNet, on the device and in the precision it runs in.
        mia: The module that computes the condition tokens.
        vae: The autoencoder, on the UNet's device and in its precision.
        prediction: Output of the UNet: "epsilon", "v" or "sample".
        vae_lock: Held while the autoencoder runs or changes, as one thread encodes while another decodes.
    """

    unet: VideoUNet
    mia: ReleaseMIA | PaperMIA
    vae: AutoencoderKL
    prediction: str = "epsilon"
    vae_lock: AbstractContextManager[object] = field(default_factory=threading.RLock, compare=False, repr=False)

    @property
    def device(self) -> torch.device:
        """The device that computes; the UNet's weights may be elsewhere while its layers do not run."""
        return self.vae.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the UNet."""
        return self.unet.conv_in.weight.dtype

    @property
    def needs_identity(self) -> bool:
        """Whether the condition tokens need ArcFace features, as in the release."""
        return isinstance(self.mia, ReleaseMIA)


@dataclass(frozen=True)
class Appearance:
    """The appearance of B portraits.

    Attributes:
        clip: (B, 1 + P, 1024) CLIP tokens.
        identity: (B, 25088) ArcFace features for `ReleaseMIA`, or None.
    """

    clip: Tensor
    identity: Tensor | None = None

    def to(self, device: torch.device) -> "Appearance":
        """Return the appearance on a device."""
        identity = None if self.identity is None else send(self.identity, device)
        return replace(self, clip=send(self.clip, device), identity=identity)


@dataclass(frozen=True)
class VideoInputs:
    """The inputs of a video.

    Attributes:
        appearance: Appearance of the portrait.
        coefficients: (N, 261) float32, the portrait's and the driver's coefficients mixed.
        render: Loads the driving renders.
        initial: Loads the frames that a warm start begins from; None without a warm start.
        noise: Provides the noise of the clips.
    """

    appearance: Appearance
    coefficients: np.ndarray
    render: FrameLoader
    initial: FrameLoader | None = None
    noise: ica.ClipNoise = field(default_factory=ica.ClipNoise)


@dataclass(frozen=True)
class MemoryPlan:
    """How much memory a clip may take.

    Attributes:
        batched: Whether both guidance halves run as one batch.
        chunk: Number of images that the VAE processes together.
    """

    batched: bool = True
    chunk: int = 4


def compute_condition_tokens(
    mia: ReleaseMIA | PaperMIA, appearance: Appearance, coefficients: Tensor, per_frame: bool = False
) -> Tensor:
    """Compute the condition tokens of clips.

    Args:
        mia: The token module.
        appearance: Appearance of B portraits.
        coefficients: (B, F, 261) mixed coefficients.
        per_frame: Whether `ReleaseMIA` gives tokens per frame instead of their average; `PaperMIA` always does.

    Returns:
        (B, T, C) tokens, or (B, F, T, C) per frame.
    """
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
    memory: MemoryPlan = MemoryPlan(),
    on_step: Callable[[int], None] = lambda steps: None,
) -> Tensor:
    """Denoise one clip.

    Args:
        networks: The networks.
        inputs: The inputs of the video.
        clip: The frames of the clip.
        carried: (1, 4, K, h, w) latents of its first frames from the clip before, or None.
        settings: Settings of the denoising.
        memory: How much memory the clip may take.
        on_step: Called with the number of finished steps.

    Returns:
        (1, 4, F, h, w) float32 latents.

    Raises:
        ValueError: If a warm start is requested without `inputs.initial`.
    """
    frames, device, dtype = list(clip.frames), networks.device, networks.dtype
    coefficients = send(torch.from_numpy(inputs.coefficients[frames])[None], device)
    appearance = inputs.appearance.to(device)
    tokens = compute_condition_tokens(networks.mia, appearance, coefficients, settings.per_frame_tokens)
    start = None
    with networks.vae_lock:
        render = encode_latents(networks.vae, inputs.render(frames), memory.chunk).to(device, dtype)
        if settings.warm_start:
            if inputs.initial is None:
                raise ValueError("a warm start needs initial frames")
            start = encode_latents(networks.vae, inputs.initial(frames), memory.chunk)
    height, width = render.shape[-2:]
    noise = inputs.noise(settings.length, height, width, settings.seed, device)
    carried = None if carried is None else send(carried, device, dtype)
    conditions = ClipConditions(
        render, ica.build_ica_channels(carried, settings.length, render), tokens.to(device, dtype)
    )
    sampler = create_sampler(settings, networks.prediction)
    steps = denoise(networks.unet, sampler, noise, conditions, settings, start=start, batched=memory.batched)
    latents = noise
    for count, step_latents in enumerate(steps, 1):
        latents = step_latents
        on_step(count)
    return latents


def denoise_clips(
    networks: DiffusionNetworks,
    inputs: VideoInputs,
    settings: DenoiseSettings,
    load_clip: Callable[[int], Tensor | None] = lambda index: None,
    denoise_one: ClipDenoiser = denoise_clip,
) -> Generator[tuple[ica.ClipWindow, Tensor], None, None]:
    """Denoise a video clip by clip; only one clip is in memory.

    Args:
        networks: The networks.
        inputs: The inputs of the video.
        settings: Settings of the denoising.
        load_clip: Returns the latents of a clip from an earlier run by its index, or None. Such clips are not computed
            again.
        denoise_one: Denoises each of the other clips.

    Yields:
        Every clip with its latents (1, 4, F, h, w) float32.
    """
    previous: Tensor | None = None
    for index, clip in enumerate(ica.plan_clips(len(inputs.coefficients), settings.length, settings.overlap)):
        latents = load_clip(index)
        if latents is None:
            carried = None if previous is None or not clip.carried else previous[:, :, -clip.carried :]
            latents = denoise_one(networks, inputs, clip, carried, settings)
        previous = latents
        yield clip, latents


@torch.no_grad()
def decode_new_frames(
    vae: AutoencoderKL, clip: ica.ClipWindow, latents: Tensor, chunk: int = 4
) -> Iterator[np.ndarray]:
    """Decode the frames (H, W, 3) uint8 that a clip adds to the video.

    Args:
        vae: The autoencoder.
        clip: The frames of the clip.
        latents: (1, 4, F, h, w) latents of the whole clip.
        chunk: Number of images that are decoded together.
    """
    yield from decode_latents(vae, latents[:, :, clip.new], chunk)
