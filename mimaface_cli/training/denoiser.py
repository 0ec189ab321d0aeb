"""The networks that train together: UNet, condition tokens (MIA), appearance encoder."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPVisionModel

from mimaface_cli.engines.diffusion import clip_encoder
from mimaface_cli.engines.diffusion.device import send
from mimaface_cli.engines.diffusion.mia import PAPER_MOTION, PaperMIA, ReleaseMIA
from mimaface_cli.engines.diffusion.pipeline import Appearance, compute_condition_tokens
from mimaface_cli.engines.diffusion.unet import VideoUNet

INPUT_CHANNELS = 13
"""Input channels of the UNet: noisy latent 4, render latent 4, conditioning latent 4, mask 1."""

RENDER_CHANNELS = slice(4, 8)
"""Input channels of the render latent."""

CONDITIONING_START = 8
"""First input channel of W_cond: conditioning latent and mask."""

# Classes that FSDP gathers as one unit.
_UNIT_CLASSES = ("ResnetBlock2D", "Transformer2DModel", "MotionModule", "Block", "CLIPEncoderLayer")

GradientMask = Callable[[Tensor], Tensor]
"""Maps a gradient (O, I, ...) to the part that trains the weight, in the same way for every output."""
_PIXEL_STATISTICS = (clip_encoder.PIXEL_MEAN, clip_encoder.PIXEL_STD)


class Denoiser(nn.Module):
    """UNet, condition tokens and appearance encoder as one module.

    Parallel training wraps a single module.

    Args:
        unet: The UNet, with motion modules in stage 2.
        mia: The module of the condition tokens.
        encoder: The appearance encoder.
        unet_config: Configuration from which the UNet can be built again.

    Attributes:
        gradient_masks: Names and masks of weights that learn only in part, see `mask_gradient`.
    """

    def __init__(
        self,
        unet: VideoUNet,
        mia: PaperMIA | ReleaseMIA,
        encoder: CLIPVisionModel,
        unet_config: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.unet, self.mia, self.clip = unet, mia, encoder  # The names are prefixes of a checkpoint's keys.
        self.unet_config = dict(unet_config)
        self.gradient_masks: list[tuple[str, GradientMask]] = []

    @property
    def _no_split_modules(self) -> list[str]:
        """Classes that accelerate's FSDP gathers one at a time, unless its configuration names others."""
        present = {type(module).__name__ for module in self.modules()}
        return [name for name in _UNIT_CLASSES if name in present]  # Stage 1 has no motion modules.

    def mask_gradient(self, name: str, mask: GradientMask) -> None:
        """Train only a part of a weight: apply a mask to its gradient.

        The mask is registered as a hook of the parameter. It is also listed by name, because shards of a weight have no
        hooks.

        Args:
            name: Name of the parameter, of shape (O, I, ...).
            mask: The mask.
        """
        self.get_parameter(name).register_hook(mask)
        self.gradient_masks.append((name, mask))

    def forward(
        self,
        noisy: Tensor,
        conditions: Tensor,
        timestep: Tensor,
        photos: Tensor,
        motion: Tensor,
        keep: Tensor,
        identity: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Predict from noisy latents, and embed all views of the source image.

        Args:
            noisy: (B, 4, F, h, w) noisy latents.
            conditions: (B, 9, F, h, w) render latents, conditioning latents and their mask.
            timestep: (B,) timesteps.
            photos: (V, B, 3, S, S) in [-1, 1]; the first view is the source image.
            motion: As for `compute_tokens`.
            keep: (B,) 1 for samples with condition tokens, 0 for samples without.
            identity: As for `compute_tokens`.

        Returns:
            The prediction (B, 4, F, h, w) and the ID tokens (V, B, C).
        """
        appearance = self.encode_appearance(photos.flatten(0, 1)).unflatten(0, photos.shape[:2])
        tokens = self.compute_tokens(appearance[0], motion, identity)
        tokens = tokens * keep.reshape(-1, *[1] * (tokens.dim() - 1))
        return self.unet(torch.cat([noisy, conditions], 1), timestep, tokens), appearance[:, :, 0]

    def compute_tokens(self, appearance: Tensor, motion: Tensor, identity: Tensor | None = None) -> Tensor:
        """Compute the condition tokens of some frames.

        Args:
            appearance: (B, 1 + P, C) appearance tokens.
            motion: The paper's tokens: (B, F, 74) pose, expression and gaze. The release's tokens: (B, F, 261) mixed
                coefficients.
            identity: The release's tokens: (B, 25088) identity features. Otherwise None.

        Returns:
            (B, F, T, W), tokens per frame. The release's tokens with motion modules are one set per clip, (B, T, W).
        """
        if isinstance(self.mia, ReleaseMIA):
            per_frame = not self.unet_config["use_motion_module"]
            return compute_condition_tokens(self.mia, Appearance(appearance, identity), motion, per_frame=per_frame)
        return self.mia(appearance, split_motion(motion))

    def encode_appearance(self, photos: Tensor) -> Tensor:
        """Encode images (B, 3, S, S) in [-1, 1] to appearance tokens (B, 1 + P, C).

        The ID token is the first one.
        """
        side = self.clip.config.image_size
        assert isinstance(side, int), "the encoder's images are square"
        return clip_encoder.encode_image_tokens(self.clip, prepare_clip_pixels(photos, side))


def split_motion(motion: Tensor) -> dict[str, Tensor]:
    """Split motion (..., 74) into the groups of PAPER_MOTION: pose, expression, gaze."""
    return dict(zip(PAPER_MOTION, motion.split(list(PAPER_MOTION.values()), -1), strict=True))


def prepare_clip_pixels(images: Tensor, size: int) -> Tensor:
    """Convert images (B, 3, S, S) in [-1, 1] to the appearance encoder's input.

    Returns (B, 3, size, size).
    """
    if images.shape[-1] != size:
        images = functional.interpolate(images, (size, size), mode="bicubic", antialias=True, align_corners=False)
    mean, std = (send(torch.tensor(values), images.device, images.dtype) for values in _PIXEL_STATISTICS)
    return (images * 0.5 + 0.5 - mean[:, None, None]) / std[:, None, None]
