"""Small networks that train from scratch, of a configurable size."""

from typing import Any

import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from mimaface_cli.engines.diffusion.mia import PaperMIA
from mimaface_cli.engines.diffusion.unet import VideoUNet
from mimaface_cli.training.config import NORM_GROUPS, NetworkSize
from mimaface_cli.training.denoiser import CONDITIONING_START, INPUT_CHANNELS, Denoiser

CLIP_HEADS = 4


def small_unet_config(size: NetworkSize, video: bool = True) -> dict[str, Any]:
    """Return the configuration of a small UNet.

    Args:
        size: Size of the networks.
        video: Whether to include motion modules; stage 1 has none.
    """
    kinds = ["CrossAttn" if has_attention else "" for has_attention in size.attention]
    return {
        "in_channels": INPUT_CHANNELS,
        "out_channels": 4,
        "block_out_channels": list(size.channels),
        "down_block_types": [f"{kind}DownBlock2D" for kind in kinds],
        "up_block_types": [f"{kind}UpBlock2D" for kind in reversed(kinds)],
        "layers_per_block": size.layers,
        "cross_attention_dim": size.tokens,
        "attention_head_dim": size.heads,
        "norm_num_groups": NORM_GROUPS,
        "use_motion_module": video,
        "motion_module_kwargs": {
            "num_attention_heads": size.heads,
            "temporal_attention_dim_div": size.motion_divisor,
            "attention_block_types": ["Temporal_Self"],
        },
    }


def build_small_networks(size: NetworkSize, seed: int = 0, video: bool = False) -> Denoiser:
    """Build untrained networks; the conditioning channels start at zero, as in the paper.

    Args:
        size: Size of the networks.
        seed: Random seed of the weights.
        video: Whether to include motion modules.
    """
    torch.manual_seed(seed)
    unet = VideoUNet(small_unet_config(size, video))
    with torch.no_grad():
        unet.conv_in.weight[:, CONDITIONING_START:] = 0
    mia = PaperMIA(size.tokens, size.clip, tokens_per_group=size.motion_tokens, layers=size.adapter, heads=size.heads)
    encoder_config = CLIPVisionConfig(
        hidden_size=size.clip,
        intermediate_size=4 * size.clip,
        projection_dim=size.clip,
        num_hidden_layers=size.clip_layers,
        num_attention_heads=CLIP_HEADS,
        image_size=size.clip_image,
        patch_size=size.patch,
        initializer_factor=1.0,
    )
    return Denoiser(unet, mia, CLIPVisionModel(encoder_config), small_unet_config(size, video))
