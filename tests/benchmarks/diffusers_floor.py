"""Networks of one size with random weights, the project's and diffusers' own, to compare their speed."""

from collections.abc import Callable
from typing import TypeVar

import torch
from diffusers import AutoencoderKL, MotionAdapter, UNet2DConditionModel, UNetMotionModel

from mimaface_cli.engines.diffusion import clip_encoder
from mimaface_cli.engines.diffusion.mia import ReleaseMIA
from mimaface_cli.engines.diffusion.pipeline import DiffusionNetworks
from mimaface_cli.engines.diffusion.unet import RELEASE_CONFIG, VideoUNet

Network = TypeVar("Network", bound=torch.nn.Module)

FULL = dict(RELEASE_CONFIG)
# A fifth of the width: two CPU cores run it in a second or two.
REDUCED = {**FULL, "block_out_channels": (64, 128, 256, 256)}
FULL_VAE = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "norm_num_groups": 32}
REDUCED_VAE = {"block_out_channels": (16, 32, 64, 64), "layers_per_block": 1, "norm_num_groups": 16}


TOY = {**FULL, "block_out_channels": (32, 32, 64, 64), "layers_per_block": 1}
TOY_VAE = {"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "norm_num_groups": 8}

sizes: list[tuple[dict, dict]] = []
"""The configurations of UNet and VAE, the last one counts; empty for those that suit the machine."""


def select_configs() -> tuple[dict, dict]:
    """Return the configurations of UNet and VAE: full size on a machine with a card, else reduced.

    The device of a network does not count: layers that are loaded one by one wait on the CPU.
    """
    if sizes:
        return sizes[-1]
    return (FULL, FULL_VAE) if torch.cuda.is_available() else (REDUCED, REDUCED_VAE)


def build_random_network(build: Callable[[], Network], device: str, dtype: torch.dtype) -> Network:
    """Build a network with small random weights, without minutes of proper initialization."""
    with torch.device("meta"):
        network = build()
    network = torch.nn.Module.to(network.to_empty(device=device), dtype)
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.is_floating_point():
                tensor.normal_(0, 0.02)
    return network.eval().requires_grad_(False)


def build_video_unet(device: str, dtype: torch.dtype, motion: bool = True) -> VideoUNet:
    """Build the project's UNet, with or without its motion modules."""
    config = {**select_configs()[0], "use_motion_module": motion}
    return build_random_network(lambda: VideoUNet(config), device, dtype)


def build_diffusers_image_unet(device: str, dtype: torch.dtype) -> UNet2DConditionModel:
    """Build diffusers' UNet for images, which has no motion modules."""
    return build_random_network(lambda: UNet2DConditionModel(**_image_config()), device, dtype)


def build_diffusers_motion_unet(device: str, dtype: torch.dtype) -> UNetMotionModel:
    """Build diffusers' UNet with motion modules."""

    def build() -> UNetMotionModel:
        image_unet = UNet2DConditionModel(**_image_config())
        adapter = MotionAdapter(
            block_out_channels=select_configs()[0]["block_out_channels"],
            motion_num_attention_heads=8,
            motion_max_seq_length=32,
            use_motion_mid_block=False,
            conv_in_channels=None,
        )
        return UNetMotionModel.from_unet2d(image_unet, adapter)

    return build_random_network(build, device, dtype)


def build_networks(device: str, dtype: torch.dtype) -> DiffusionNetworks:
    """Build all networks of denoising, at full size on a card and reduced on the CPU."""
    vae_sizes = select_configs()[1]
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
    vae = build_random_network(lambda: AutoencoderKL(**vae_sizes, **blocks, latent_channels=4), device, dtype)
    mia = build_random_network(lambda: ReleaseMIA(clip_width=clip_encoder.VIT_L_14.hidden_size), device, torch.float32)
    return DiffusionNetworks(build_video_unet(device, dtype), mia, vae)


def _image_config() -> dict:
    return {key: value for key, value in select_configs()[0].items() if key != "use_motion_module"}
