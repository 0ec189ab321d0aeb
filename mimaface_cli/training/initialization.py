"""The networks that a stage begins with: Stable Diffusion 1.5 and CLIP, a small model from scratch, or stage 1's result."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from mimaface_cli.engines.diffusion import checkpoint, clip_encoder, mia
from mimaface_cli.engines.diffusion.mia import PaperMIA, ReleaseMIA
from mimaface_cli.engines.diffusion.unet import VideoUNet
from mimaface_cli.errors import WeightsError
from mimaface_cli.training.config import Config
from mimaface_cli.training.trainables import CHANNELS, RENDER, Denoiser, build
from mimaface_cli.weights.locate import locate_files
from mimaface_cli.weights.state_dict import load_strict


@dataclass(frozen=True)
class Built:
    """Plain values and tensors that a Denoiser can be made from again."""

    unet_config: dict[str, Any]
    clip_config: dict[str, Any]
    heads: int
    state: dict[str, Tensor]


def describe(network: Denoiser) -> dict[str, Any]:
    """What beside its state makes this network again."""
    config = network.clip.config.to_diff_dict()
    return {"unet_config": network.unet_config, "clip_config": config, "heads": network.mia.heads}


def start_image(config: Config, features: int = 25088) -> Denoiser:
    """Stage 1's networks. features: how many the identity network gives, for the release's tokens.

    Raises WeightsError where Stable Diffusion or CLIP are not installed.
    """
    if config.model.start == "scratch":
        return _leave_out(build(config.model.size, config.seed), config)
    torch.manual_seed(config.seed)
    files = locate_files("sd15", download=False)
    state, name = checkpoint.read_tensors(files["sd15/unet.safetensors"])
    unet_config = {key: value for key, value in checkpoint.read_json(files["sd15/unet.json"]).items() if key[0] != "_"}
    unet_config |= {"in_channels": CHANNELS, "use_motion_module": False}
    unet = VideoUNet(unet_config)
    load_strict(unet, {**state, "conv_in.weight": widen(state["conv_in.weight"])}, name)
    files = locate_files("clip", download=False)
    clip_config = checkpoint.read_json(files["clip/config.json"])
    clip_config = clip_config.get("vision_config", clip_config)
    encoder = clip_encoder.build_clip_encoder(clip_config, *checkpoint.read_tensors(files["clip/model.safetensors"]))
    widths = unet.tokens_width, encoder.config.hidden_size
    tokens = ReleaseMIA(*widths, features) if config.model.tokens == "release" else PaperMIA(*widths)
    return _leave_out(Denoiser(unet.float(), tokens, encoder.float(), unet_config), config)


def _leave_out(network: Denoiser, config: Config) -> Denoiser:
    """What the config leaves out has no weight in the network, and never gets one: what is exported knows nothing of it."""
    with torch.no_grad():
        if not config.model.use_render:
            network.unet.conv_in.weight[:, RENDER] = 0
            network.train_partly("unet.conv_in.weight", _without_render)
        if not config.model.use_motion:
            for name, layer in network.mia.motion_layers().items():
                layer.weight.zero_()
                network.train_partly(f"mia.{name}.weight", torch.zeros_like)
    return network


def _without_render(gradient: Tensor) -> Tensor:
    kept = gradient.clone()
    kept[:, RENDER] = 0
    return kept


def widen(weight: Tensor) -> Tensor:
    """A convolution's weight (C, 4, 3, 3) for CHANNELS inputs, the new ones without effect: (C, 13, 3, 3)."""
    wide = weight.new_zeros(len(weight), CHANNELS, *weight.shape[2:])
    wide[:, : weight.shape[1]] = weight
    return wide


def start_video(config: Config, image: Built) -> Denoiser:
    """Stage 2's networks: those of stage 1, with motion modules. Raises WeightsError where AnimateDiff is missing, or stage
    1 trained the other kind of condition tokens.
    """
    torch.manual_seed(config.seed)
    unet_config = {**image.unet_config, "use_motion_module": True}
    unet_state = _part(image.state, "unet.")
    if config.model.start == "scratch":
        unet = VideoUNet(unet_config)
        extra = unet.load_state_dict(unet_state, strict=False)
        if extra.unexpected_keys or any("motion_modules." not in key for key in extra.missing_keys):
            raise WeightsError(
                "stage 1's network does not fit the config's model.size; train it again with mimaface train image"
            )
    else:
        motion, name = checkpoint.read_tensors(
            locate_files("animatediff", download=False)["animatediff/mm_v3.safetensors"]
        )
        unet = checkpoint.build_unet(unet_config, {**unet_state, **motion}, name).float()
    network = _around(unet, image, unet_config)
    trained = "release" if isinstance(network.mia, ReleaseMIA) else "paper"
    if trained != config.model.tokens:
        raise WeightsError(
            f'stage 1 trained the condition tokens of the {trained}; set [model] tokens = "{trained}", or choose another '
            "output and train it again with mimaface train image"
        )
    return _leave_out(network.requires_grad_(True), config)


def rebuild(made: Built) -> Denoiser:
    """The network of a checkpoint."""
    unet = VideoUNet(made.unet_config)
    load_strict(unet, _part(made.state, "unet."), "checkpoint")
    return _around(unet, made, made.unet_config)


def _around(unet: VideoUNet, made: Built, unet_config: dict[str, Any]) -> Denoiser:
    tokens = mia.build_mia(_part(made.state, "mia."), {"heads": str(made.heads)}, "checkpoint")
    encoder = clip_encoder.build_clip_encoder(made.clip_config, _part(made.state, "clip."), "checkpoint")
    return Denoiser(unet, tokens, encoder, unet_config)


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def load_sd_vae() -> AutoencoderKL:
    """Stable Diffusion 1.5's picture coder, with which the paper and the release train. Raises WeightsError."""
    files = locate_files("sd15", download=False)
    state = checkpoint.read_tensors(files["sd15/vae/model.safetensors"])
    return checkpoint.build_vae(checkpoint.read_json(files["sd15/vae/config.json"]), *state)
