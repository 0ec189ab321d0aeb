"""Networks of a given size with random weights, ours and diffusers' own, to measure the one against the other."""

import torch
from diffusers import AutoencoderKL, MotionAdapter, UNet2DConditionModel, UNetMotionModel

from mimaface_cli.engines.diffusion.mia import ReleaseMIA
from mimaface_cli.engines.diffusion.pipeline import DiffusionNetworks
from mimaface_cli.engines.diffusion.unet import RELEASE_CONFIG, VideoUNet

FULL = dict(RELEASE_CONFIG)
# What two CPU cores run in a second or two: a fifth of the width.
REDUCED = {**FULL, "block_out_channels": (64, 128, 256, 256)}
FULL_VAE = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "norm_num_groups": 32}
REDUCED_VAE = {"block_out_channels": (16, 32, 64, 64), "layers_per_block": 1, "norm_num_groups": 16}


def config(cuda: bool) -> dict:
    return FULL if cuda else REDUCED


def quick(make, device: str, dtype: torch.dtype):
    """A network with small random weights, without the minutes that proper initialization takes."""
    with torch.device("meta"):
        network = make()
    network = torch.nn.Module.to(network.to_empty(device=device), dtype)
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.is_floating_point():
                tensor.normal_(0, 0.02)
    return network.eval().requires_grad_(False)


def ours(device: str, dtype: torch.dtype, motion: bool = True) -> VideoUNet:
    return quick(lambda: VideoUNet({**config(device != "cpu"), "use_motion_module": motion}), device, dtype)


def image_blocks(device: str, dtype: torch.dtype) -> UNet2DConditionModel:
    options = {key: value for key, value in config(device != "cpu").items() if key != "use_motion_module"}
    return quick(lambda: UNet2DConditionModel(**options), device, dtype)


def motion_blocks(device: str, dtype: torch.dtype) -> UNetMotionModel:
    options = config(device != "cpu")
    widths = options["block_out_channels"]

    def make() -> UNetMotionModel:
        image = UNet2DConditionModel(**{key: value for key, value in options.items() if key != "use_motion_module"})
        adapter = MotionAdapter(
            block_out_channels=widths, motion_num_attention_heads=8, motion_max_seq_length=32,
            use_motion_mid_block=False, conv_in_channels=None,
        )  # fmt: skip
        return UNetMotionModel.from_unet2d(image, adapter)

    return quick(make, device, dtype)


def networks(device: str, dtype: torch.dtype) -> DiffusionNetworks:
    """All that denoises, at full size on a card and reduced on the CPU."""
    from mimaface_cli.engines.diffusion import clip_encoder

    sizes = FULL_VAE if device != "cpu" else REDUCED_VAE
    down, up = ["DownEncoderBlock2D"] * 4, ["UpDecoderBlock2D"] * 4
    vae = quick(
        lambda: AutoencoderKL(**sizes, down_block_types=down, up_block_types=up, latent_channels=4), device, dtype
    )
    mia = quick(lambda: ReleaseMIA(clip_width=clip_encoder.VIT_L_14.hidden_size), device, torch.float32)
    return DiffusionNetworks(ours(device, dtype), mia, vae)
