"""The networks of a small model, built from scratch at sizes that settings give."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from mimaface_cli.diffusion.mia import PaperTokens
from mimaface_cli.diffusion.unet import VideoUNet
from mimaface_cli.errors import InputError


NORM_GROUPS = 8


@dataclass(frozen=True)
class Size:
    """channels: of the UNet's levels; attention: for each level, whether it reads tokens; layers: resnets a level;
    tokens: width of the condition tokens; adapter: layers of MIA's transformer; motion_tokens: of each group; clip:
    width of the appearance encoder, clip_layers, clip_image and patch: its picture's and patches' sides; motion_divisor:
    how many times narrower motion modules are than their level."""

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
            raise InputError(f"size: channels {list(self.channels)} must be multiples of {NORM_GROUPS} and of heads {self.heads}")
        if self.tokens % self.heads or self.clip % 4 or self.clip_image % self.patch:
            raise InputError("size: tokens must be a multiple of heads, clip of 4, clip_image of patch")

    def unet_config(self, video: bool = True) -> dict[str, Any]:
        """The UNet's config, with motion modules or, as stage 1 has it, without."""
        kinds = ["CrossAttn" if has else "" for has in self.attention]
        return {
            "in_channels": 13,
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


@dataclass
class Trained:
    """What is trained: UNet (with motion modules from stage 2 on), condition tokens, appearance encoder."""

    unet: VideoUNet
    mia: PaperTokens
    clip: CLIPVisionModel

    def modules(self) -> dict[str, torch.nn.Module]:
        return {"unet": self.unet, "mia": self.mia, "clip": self.clip}


def build(size: Size, seed: int = 0, video: bool = False) -> Trained:
    """Fresh networks; the channels of render and conditioning latents start at zero, as in the paper."""
    torch.manual_seed(seed)
    unet = VideoUNet(size.unet_config(video))
    with torch.no_grad():
        unet.conv_in.weight[:, 8:] = 0
    mia = PaperTokens(
        size.tokens, size.clip, tokens_per_group=size.motion_tokens, layers=size.adapter, heads=size.heads
    )
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
    return Trained(unet, mia, CLIPVisionModel(config))
