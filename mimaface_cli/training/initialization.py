"""Initial networks of a stage.

They come from Stable Diffusion 1.5 and CLIP, from scratch (a small model), or from the result of stage 1.
"""

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
from mimaface_cli.training.config import TrainingConfig
from mimaface_cli.training.denoiser import INPUT_CHANNELS, RENDER_CHANNELS, Denoiser
from mimaface_cli.training.small_networks import build_small_networks
from mimaface_cli.weights.locate import locate_files
from mimaface_cli.weights.state_dict import load_strict

IDENTITY_FEATURES = 25088
"""Features per photo of the released identity network."""


@dataclass(frozen=True)
class NetworkState:
    """Plain values and tensors from which a Denoiser can be built again.

    Attributes:
        unet_config: Configuration of the UNet.
        clip_config: Configuration of the appearance encoder.
        heads: Attention heads of MIA's transformer.
        state: The Denoiser's state dict.
    """

    unet_config: dict[str, Any]
    clip_config: dict[str, Any]
    heads: int
    state: dict[str, Tensor]


def describe_network(network: Denoiser) -> dict[str, Any]:
    """Return the fields of `NetworkState` for a network, without its state."""
    clip_config = network.clip.config.to_diff_dict()
    return {"unet_config": network.unet_config, "clip_config": clip_config, "heads": network.mia.heads}


def rebuild_network(saved: NetworkState) -> Denoiser:
    """Build the network of a checkpoint."""
    unet = VideoUNet(saved.unet_config)
    load_strict(unet, _select_state(saved.state, "unet."), "checkpoint")
    return _complete_network(unet, saved, saved.unet_config)


def initialize_image_stage(config: TrainingConfig, identity_features: int = IDENTITY_FEATURES) -> Denoiser:
    """Build the initial networks of stage 1.

    Args:
        config: The run's configuration.
        identity_features: Identity features per photo, for the release's condition tokens.

    Raises:
        WeightsError: Stable Diffusion or CLIP are not installed.
    """
    if config.model.start == "scratch":
        return _disable_ablated_inputs(build_small_networks(config.model.size, config.seed), config)
    torch.manual_seed(config.seed)
    files = locate_files("sd15", download=False)
    state, name = checkpoint.read_tensors(files["sd15/unet.safetensors"])
    unet_config = {key: value for key, value in checkpoint.read_json(files["sd15/unet.json"]).items() if key[0] != "_"}
    unet_config |= {"in_channels": INPUT_CHANNELS, "use_motion_module": False}
    unet = VideoUNet(unet_config)
    load_strict(unet, {**state, "conv_in.weight": widen_input(state["conv_in.weight"])}, name)
    files = locate_files("clip", download=False)
    clip_config = checkpoint.read_json(files["clip/config.json"])
    clip_config = clip_config.get("vision_config", clip_config)
    encoder = clip_encoder.build_clip_encoder(clip_config, *checkpoint.read_tensors(files["clip/model.safetensors"]))
    widths = unet.token_width, encoder.config.hidden_size
    tokens = ReleaseMIA(*widths, identity_features) if config.model.tokens == "release" else PaperMIA(*widths)
    return _disable_ablated_inputs(Denoiser(unet.float(), tokens, encoder.float(), unet_config), config)


def initialize_video_stage(config: TrainingConfig, image_result: NetworkState) -> Denoiser:
    """Build the initial networks of stage 2: those of stage 1, with motion modules.

    Args:
        config: The run's configuration.
        image_result: The result of stage 1.

    Raises:
        WeightsError: AnimateDiff is not installed, or stage 1 trained networks of another kind or size.
    """
    torch.manual_seed(config.seed)
    unet_config = {**image_result.unet_config, "use_motion_module": True}
    unet_state = _select_state(image_result.state, "unet.")
    if config.model.start == "scratch":
        unet = VideoUNet(unet_config)
        keys = unet.load_state_dict(unet_state, strict=False)
        if keys.unexpected_keys or any("motion_modules." not in key for key in keys.missing_keys):
            raise WeightsError(
                "The network of stage 1 does not match model.size in the configuration. Run mimaface train image again."
            )
    else:
        files = locate_files("animatediff", download=False)
        motion_state, name = checkpoint.read_tensors(files["animatediff/mm_v3.safetensors"])
        unet = checkpoint.build_unet(unet_config, {**unet_state, **motion_state}, name).float()
    network = _complete_network(unet, image_result, unet_config)
    tokens = "release" if isinstance(network.mia, ReleaseMIA) else "paper"
    if tokens != config.model.tokens:
        raise WeightsError(
            f'Stage 1 trained the condition tokens of the {tokens}. Set [model] tokens = "{tokens}", or choose another '
            "output and run mimaface train image again."
        )
    return _disable_ablated_inputs(network.requires_grad_(True), config)


def _disable_ablated_inputs(network: Denoiser, config: TrainingConfig) -> Denoiser:
    """Zero the weights of inputs that the configuration disables, and keep them zero in training.

    The exported model then needs no knowledge of the ablation.
    """
    with torch.no_grad():
        if not config.model.use_render:
            network.unet.conv_in.weight[:, RENDER_CHANNELS] = 0
            network.mask_gradient("unet.conv_in.weight", _zero_render_gradient)
        if not config.model.use_motion:
            for name, layer in network.mia.motion_layers().items():
                layer.weight.zero_()
                network.mask_gradient(f"mia.{name}.weight", torch.zeros_like)
    return network


def _zero_render_gradient(gradient: Tensor) -> Tensor:
    masked = gradient.clone()
    masked[:, RENDER_CHANNELS] = 0
    return masked


def widen_input(weight: Tensor) -> Tensor:
    """Extend a convolution's weight to 13 input channels; the new channels start at zero.

    Args:
        weight: (C, 4, 3, 3).

    Returns:
        (C, 13, 3, 3).
    """
    widened = weight.new_zeros(len(weight), INPUT_CHANNELS, *weight.shape[2:])
    widened[:, : weight.shape[1]] = weight
    return widened


def _complete_network(unet: VideoUNet, saved: NetworkState, unet_config: dict[str, Any]) -> Denoiser:
    """Join a UNet with the saved condition tokens and appearance encoder."""
    tokens = mia.build_mia(_select_state(saved.state, "mia."), {"heads": str(saved.heads)}, "checkpoint")
    encoder = clip_encoder.build_clip_encoder(saved.clip_config, _select_state(saved.state, "clip."), "checkpoint")
    return Denoiser(unet, tokens, encoder, unet_config)


def _select_state(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def load_sd_vae() -> AutoencoderKL:
    """Load Stable Diffusion 1.5's VAE, with which the paper and the release train.

    Raises:
        WeightsError: It is not installed, or damaged.
    """
    files = locate_files("sd15", download=False)
    state = checkpoint.read_tensors(files["sd15/vae/model.safetensors"])
    return checkpoint.build_vae(checkpoint.read_json(files["sd15/vae/config.json"]), *state)
