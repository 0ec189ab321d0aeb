"""The networks that a stage begins with: Stable Diffusion 1.5 and CLIP, a small model from scratch, or stage 1's result."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import CLIPVisionModel

from mimaface_cli.diffusion import checkpoint, clip, mia
from mimaface_cli.diffusion.mia import PaperTokens
from mimaface_cli.diffusion.unet import VideoUNet
from mimaface_cli.errors import WeightsError
from mimaface_cli.face.loading import load_strict
from mimaface_cli.train.config import Config
from mimaface_cli.train.mini.data import motion_groups
from mimaface_cli.train.mini.learn import clip_pixels
from mimaface_cli.train.mini.networks import build
from mimaface_cli.weights.locate import locate_files

CHANNELS = 13  # noisy latent 4, render latent 4, conditioning latent 4, mask 1
CONDITION = 8  # the first channel of W_cond: conditioning latent and mask


class Denoiser(nn.Module):
    """UNet, condition tokens and appearance encoder as one module, wrapped for many processes as one.

    unet_config: what builds the UNet again.
    """

    def __init__(self, unet: VideoUNet, tokens: PaperTokens, encoder: CLIPVisionModel, unet_config: Mapping[str, Any]):
        super().__init__()
        self.unet, self.mia, self.clip = unet, tokens, encoder
        self.unet_config = dict(unet_config)

    def forward(
        self, noisy: Tensor, conditions: Tensor, timestep: Tensor, photos: Tensor, motion: Tensor, keep: Tensor
    ) -> tuple[Tensor, Tensor]:
        """noisy (B, 4, F, h, w), conditions (B, 9, F, h, w), timestep (B,), photos (V, B, 3, S, S) in [-1, 1], the first
        of the V views being the source, motion (B, F, 74), keep (B,): 0 where a sample goes without tokens.

        Returns the predicted noise (B, 4, F, h, w) and the ID tokens (V, B, C).
        """
        pixels = clip_pixels(photos.flatten(0, 1), self.clip.config.image_size)
        seen = clip.encode(self.clip, pixels).unflatten(0, photos.shape[:2])
        tokens = self.mia(seen[0], motion_groups(motion)) * keep[:, None, None, None]
        return self.unet(torch.cat([noisy, conditions], 1), timestep, tokens), seen[:, :, 0]


@dataclass(frozen=True)
class Built:
    """Plain values and tensors that a Denoiser can be made from again."""

    unet_config: dict[str, Any]
    clip_config: dict[str, Any]
    heads: int
    state: dict[str, Tensor]


def describe(network: Denoiser) -> dict[str, Any]:
    """What beside its state makes this network again."""
    heads = network.mia.adapter.resblocks[0].attn.heads
    return {"unet_config": network.unet_config, "clip_config": network.clip.config.to_diff_dict(), "heads": heads}


def start_image(config: Config) -> Denoiser:
    """Stage 1's networks. Raises WeightsError where Stable Diffusion or CLIP are not installed."""
    if config.model.start == "scratch":
        made = build(config.model.size, config.seed)
        return Denoiser(made.unet, made.mia, made.clip, config.model.size.unet_config(video=False))
    torch.manual_seed(config.seed)
    files = locate_files("sd15", download=False)
    state, name = checkpoint.read_state(files["sd15/unet.safetensors"])
    unet_config = {key: value for key, value in checkpoint.read_json(files["sd15/unet.json"]).items() if key[0] != "_"}
    unet_config |= {"in_channels": CHANNELS, "use_motion_module": False}
    unet = VideoUNet(unet_config)
    load_strict(unet, {**state, "conv_in.weight": widen(state["conv_in.weight"])}, name)
    files = locate_files("clip", download=False)
    clip_config = checkpoint.read_json(files["clip/config.json"])
    clip_config = clip_config.get("vision_config", clip_config)
    encoder = clip.from_state(clip_config, *checkpoint.read_state(files["clip/model.safetensors"]))
    tokens = PaperTokens(unet.tokens_width, encoder.config.hidden_size)
    return Denoiser(unet.float(), tokens, encoder.float(), unet_config)


def widen(weight: Tensor) -> Tensor:
    """A convolution's weight (C, 4, 3, 3) for CHANNELS inputs, the new ones without effect: (C, 13, 3, 3)."""
    wide = weight.new_zeros(len(weight), CHANNELS, *weight.shape[2:])
    wide[:, : weight.shape[1]] = weight
    return wide


def start_video(config: Config, image: Built) -> Denoiser:
    """Stage 2's networks: those of stage 1, with motion modules. Raises WeightsError where AnimateDiff is missing."""
    torch.manual_seed(config.seed)
    unet_config = {**image.unet_config, "use_motion_module": True}
    unet_state = _part(image.state, "unet.")
    if config.model.start == "scratch":
        unet = VideoUNet(unet_config)
        extra = unet.load_state_dict(unet_state, strict=False)
        if extra.unexpected_keys or any("motion_modules." not in key for key in extra.missing_keys):
            raise WeightsError("stage 1's network does not fit the config's model.size; train it again with mimaface train image")
    else:
        motion, name = checkpoint.read_state(locate_files("animatediff", download=False)["animatediff/mm_v3.safetensors"])
        unet = checkpoint.build_unet(unet_config, {**unet_state, **motion}, name).float()
    return _around(unet, image, unet_config)


def rebuild(made: Built) -> Denoiser:
    """The network of a checkpoint."""
    unet = VideoUNet(made.unet_config)
    load_strict(unet, _part(made.state, "unet."), "checkpoint")
    return _around(unet, made, made.unet_config)


def _around(unet: VideoUNet, made: Built, unet_config: dict[str, Any]) -> Denoiser:
    tokens = mia.from_state(_part(made.state, "mia."), {"heads": str(made.heads)}, "checkpoint")
    encoder = clip.from_state(made.clip_config, _part(made.state, "clip."), "checkpoint")
    return Denoiser(unet, tokens, encoder, unet_config)


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def load_sd_vae() -> AutoencoderKL:
    """Stable Diffusion 1.5's picture coder, with which the paper and the release train. Raises WeightsError."""
    files = locate_files("sd15", download=False)
    state = checkpoint.read_state(files["sd15/vae/model.safetensors"])
    return checkpoint.build_vae(checkpoint.read_json(files["sd15/vae/config.json"]), *state)
