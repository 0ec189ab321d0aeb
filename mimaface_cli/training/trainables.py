"""The networks that are trained, as one module, and small ones from scratch at sizes that settings give."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from mimaface_cli.engines.diffusion import clip_encoder
from mimaface_cli.engines.diffusion.mia import PAPER_MOTION, PaperMIA, ReleaseMIA
from mimaface_cli.engines.diffusion.pipeline import Appearance, compute_condition_tokens
from mimaface_cli.engines.diffusion.unet import VideoUNet
from mimaface_cli.errors import InputError

NORM_GROUPS = 8
CHANNELS = 13  # noisy latent 4, render latent 4, conditioning latent 4, mask 1
LAYERS = ("ResnetBlock2D", "Transformer2DModel", "MotionModule", "Block", "CLIPEncoderLayer")  # each called as one
RENDER, CONDITION = slice(4, 8), 8  # channels of the render, and the first of W_cond: conditioning latent and mask


class Denoiser(nn.Module):
    """UNet, condition tokens and appearance encoder as one module, wrapped for many processes as one.

    unet_config: what builds the UNet again. masks: names of weights of which only a part learns, see `train_partly`.
    """

    def __init__(
        self,
        unet: VideoUNet,
        mia: PaperMIA | ReleaseMIA,
        encoder: CLIPVisionModel,
        unet_config: Mapping[str, Any],
    ):
        super().__init__()
        self.unet, self.mia, self.clip = unet, mia, encoder
        self.unet_config = dict(unet_config)
        self.masks: list[tuple[str, Callable[[Tensor], Tensor]]] = []

    @property
    def _no_split_modules(self) -> list[str]:
        """The classes of layers that accelerate's FSDP gathers one at a time, unless its config names others."""
        found = {type(module).__name__ for module in self.modules()}
        return [name for name in LAYERS if name in found]  # stage 1 has no motion modules

    def train_partly(self, name: str, mask: Callable[[Tensor], Tensor]) -> None:
        """Have a weight (O, I, …) learn only by what `mask` leaves of its gradient, the same for every output. Noted by
        name as well, for where weights are split among processes their parts have no hooks.
        """
        self.get_parameter(name).register_hook(mask)
        self.masks.append((name, mask))

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
        """Noisy (B, 4, F, h, w), conditions (B, 9, F, h, w), timestep (B,), photos (V, B, 3, S, S) in [-1, 1], the first
        of the V views being the source, motion and identity as of `tokens`, keep (B,): 0 where a sample goes without tokens.

        Returns what the network predicts (B, 4, F, h, w) and the ID tokens (V, B, C).
        """
        seen = self.appearance(photos.flatten(0, 1)).unflatten(0, photos.shape[:2])
        tokens = self.tokens(seen[0], motion, identity)
        tokens = tokens * keep.reshape(-1, *[1] * (tokens.dim() - 1))
        return self.unet(torch.cat([noisy, conditions], 1), timestep, tokens), seen[:, :, 0]

    def tokens(self, appearance: Tensor, motion: Tensor, identity: Tensor | None = None) -> Tensor:
        """Condition tokens of appearance tokens (B, 1 + P, C): the paper's, of motion (B, F, 74), for each frame (B, F, T, W);
        the release's, of mixed coefficients (B, F, 261) and identity features (B, 25088), for the clip (B, T, W), but where
        there are no motion modules, and frames are pictures by themselves, for each frame too.
        """
        if isinstance(self.mia, ReleaseMIA):
            pictures = not self.unet_config["use_motion_module"]
            return compute_condition_tokens(self.mia, Appearance(appearance, identity), motion, per_frame=pictures)
        return self.mia(appearance, motion_groups(motion))

    def appearance(self, photos: Tensor) -> Tensor:
        """Pictures (B, 3, S, S) in [-1, 1] to appearance tokens (B, 1 + P, C), the ID token first."""
        return clip_encoder.encode_image_tokens(self.clip, clip_pixels(photos, self.clip.config.image_size))


def motion_groups(motion: Tensor) -> dict[str, Tensor]:
    """(…, 74) to the groups of PAPER_MOTION: pose, expression, gaze."""
    return dict(zip(PAPER_MOTION, motion.split(list(PAPER_MOTION.values()), -1)))


def clip_pixels(pictures: Tensor, size: int) -> Tensor:
    """Pictures (B, 3, S, S) in [-1, 1] as the appearance encoder takes them (B, 3, size, size)."""
    if pictures.shape[-1] != size:
        pictures = F.interpolate(pictures, (size, size), mode="bicubic", antialias=True, align_corners=False)
    mean, std = pictures.new_tensor(clip_encoder.PIXEL_MEAN), pictures.new_tensor(clip_encoder.PIXEL_STD)
    return (pictures * 0.5 + 0.5 - mean[:, None, None]) / std[:, None, None]


@dataclass(frozen=True)
class Size:
    """channels: of the UNet's levels; attention: for each level, whether it reads tokens; layers: resnets a level;
    tokens: width of the condition tokens; adapter: layers of MIA's transformer; motion_tokens: of each group; clip:
    width of the appearance encoder, clip_layers, clip_image and patch: its picture's and patches' sides; motion_divisor:
    how many times narrower motion modules are than their level.
    """

    channels: tuple[int, ...] = (32, 64, 96)
    attention: tuple[bool, ...] = (False, True, True)
    layers: int = 1
    heads: int = 4
    tokens: int = 64
    adapter: int = 2
    motion_tokens: int = 2
    clip: int = 64
    clip_layers: int = 3
    clip_image: int = 64
    patch: int = 8
    motion_divisor: int = 1

    def __post_init__(self) -> None:
        if len(self.attention) != len(self.channels):
            raise InputError("size: attention must say for each of channels whether that level has it")
        if any(count % NORM_GROUPS or count % self.heads for count in self.channels):
            raise InputError(
                f"size: channels {list(self.channels)} must be multiples of {NORM_GROUPS} and of heads {self.heads}"
            )
        if self.tokens % self.heads or self.clip % 4 or self.clip_image % self.patch:
            raise InputError("size: tokens must be a multiple of heads, clip of 4, clip_image of patch")

    def unet_config(self, video: bool = True) -> dict[str, Any]:
        """The UNet's config, with motion modules or, as stage 1 has it, without."""
        kinds = ["CrossAttn" if has else "" for has in self.attention]
        return {
            "in_channels": CHANNELS,
            "out_channels": 4,
            "block_out_channels": list(self.channels),
            "down_block_types": [f"{kind}DownBlock2D" for kind in kinds],
            "up_block_types": [f"{kind}UpBlock2D" for kind in reversed(kinds)],
            "layers_per_block": self.layers,
            "cross_attention_dim": self.tokens,
            "attention_head_dim": self.heads,
            "norm_num_groups": NORM_GROUPS,
            "use_motion_module": video,
            "motion_module_kwargs": {
                "num_attention_heads": self.heads,
                "temporal_attention_dim_div": self.motion_divisor,
                "attention_block_types": ["Temporal_Self"],
            },
        }


def build(size: Size, seed: int = 0, video: bool = False) -> Denoiser:
    """Fresh networks, with motion modules or without; the conditioning channels start at zero, as in the paper."""
    torch.manual_seed(seed)
    unet = VideoUNet(size.unet_config(video))
    with torch.no_grad():
        unet.conv_in.weight[:, CONDITION:] = 0
    mia = PaperMIA(size.tokens, size.clip, tokens_per_group=size.motion_tokens, layers=size.adapter, heads=size.heads)
    config = CLIPVisionConfig(
        hidden_size=size.clip,
        intermediate_size=4 * size.clip,
        projection_dim=size.clip,
        num_hidden_layers=size.clip_layers,
        num_attention_heads=4,
        image_size=size.clip_image,
        patch_size=size.patch,
        initializer_factor=1.0,
    )
    return Denoiser(unet, mia, CLIPVisionModel(config), size.unet_config(video))
