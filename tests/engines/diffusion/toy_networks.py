"""Tiny random networks with a layer of each kind."""

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from mimaface_cli.engines.diffusion.mia import PaperMIA, ReleaseMIA
from mimaface_cli.engines.diffusion.pipeline import DiffusionNetworks
from mimaface_cli.engines.diffusion.unet import VideoUNet

# Few layers, as every operation on fake tensors takes time, but one of each kind.
UNET = {
    "in_channels": 13,
    "out_channels": 4,
    "block_out_channels": (8, 16),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "cross_attention_dim": 12,
    "attention_head_dim": 2,
    "norm_num_groups": 4,
    "use_motion_module": True,
}
VAE = {
    "block_out_channels": [8, 8],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "norm_num_groups": 4,
    "layers_per_block": 1,
    "latent_channels": 4,
}
WIDTH = UNET["cross_attention_dim"]


def build_toy_networks(tokens: str = "release") -> DiffusionNetworks:
    """Build the networks on the host, in evaluation mode and without gradients.

    Args:
        tokens: Condition tokens, "release" or "paper".
    """
    unet, vae = VideoUNet(UNET).eval(), AutoencoderKL.from_config(VAE).eval()
    mia = ReleaseMIA(width=WIDTH, clip_width=10, identity_width=6, layers=1)
    if tokens == "paper":
        mia = PaperMIA(width=WIDTH, clip_width=10, layers=1, heads=2)
    return DiffusionNetworks(unet.requires_grad_(False), mia.eval().requires_grad_(False), vae.requires_grad_(False))


def randomize_motion(unet: VideoUNet) -> VideoUNet:
    """Give the motion modules' last layers weights: new ones are zero, so that frames do not interact."""
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            if "motion_modules" in name and "proj_out" in name:
                parameter.normal_(0, 0.1)
    return unet
