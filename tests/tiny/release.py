"""Files of a tiny model in the layout of the release."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tests.goldens.fill import fill
from tests.hub import Hub
from tests.tiny.face import write_face

WIDTH = 32  # of the condition tokens and of the CLIP encoder
UNET = {
    "_class_name": "UNet2DConditionModel",
    "_diffusers_version": "0.30.0",
    "in_channels": 13,
    "out_channels": 4,
    "sample_size": 64,
    "block_out_channels": [8, 16, 16, 16],
    "cross_attention_dim": WIDTH,
    "attention_head_dim": 2,
    "norm_num_groups": 4,
    "layers_per_block": 1,
    # No spatial attention above 16×16 latents and small motion modules: they would take most of the time.
    "down_block_types": ["DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"],
    "motion_module_kwargs": {"num_attention_heads": 2, "attention_block_types": ["Temporal_Self"]},
}
CLIP = {
    "architectures": ["CLIPVisionModel"],
    "model_type": "clip_vision_model",
    "hidden_size": WIDTH,
    "intermediate_size": 64,
    "projection_dim": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 56,
    "patch_size": 14,
    "hidden_act": "quick_gelu",
}
VAE = {
    "_class_name": "AutoencoderKL",
    "_diffusers_version": "0.30.0",
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "block_out_channels": [2, 2, 4, 4],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "sample_size": 64,
    "scaling_factor": 0.18215,
}
# Standard deviation of each coefficient group over images: a visible face that moves a little.
_SPREAD = (0.5, 0.5, 0.5, 0.05, 0.02, 0.03, 0.03, 0.1)


def make_release(folder: Path, seed: int = 0, image_stage: bool = False) -> Path:
    """Write the release's models/ and checkpoints/ into a folder and return it.

    Args:
        folder: Created where needed.
        seed: Random seed of the weights.
        image_stage: Whether to add the first stage's condition tokens and CLIP, which only training needs.
    """
    from mimaface_cli.engines.diffusion.mia import ReleaseMIA
    from mimaface_cli.engines.diffusion.unet import VideoUNet
    from mimaface_cli.face.curricularface import CurricularFace

    identity = CurricularFace(widths=(4, 8, 12, 16), depths=(1, 1, 1, 1), embedding=32)
    tokens = ReleaseMIA(WIDTH, WIDTH, identity_width=16 * 7 * 7)
    image, video = VideoUNet({**UNET, "use_motion_module": False}), VideoUNet({**UNET, "use_motion_module": True})
    parts = {"identity": identity, "tokens": tokens, "image": image, "video": video}
    for name, part in parts.items():
        fill(part, f"{name} {seed}")
    write_release(folder, parts, UNET, seed)
    checkpoints = folder / "checkpoints"
    write_clip_encoder(checkpoints / "video" / "vision_encoder", f"clip {seed}")
    if image_stage:
        fill(tokens, f"image tokens {seed}")
        _save(tokens, checkpoints / "image" / "mim.pth")
        write_clip_encoder(checkpoints / "image" / "vision_encoder", f"image clip {seed}")
    return folder


def write_release(folder: Path, parts: Mapping[str, nn.Module], config: dict[str, Any], seed: int = 0) -> None:
    """Write networks under the names of the release, with a tiny coefficient network and face model.

    Args:
        folder: Created where needed.
        parts: "identity", "tokens" and the UNets "image" and "video".
        config: Configuration of the UNets.
        seed: Random seed of coefficient network and face model.
    """
    models, checkpoints = folder / "models", folder / "checkpoints"
    unet = checkpoints / "image" / "pretrained_unet"
    for subfolder in (models / "D3DFR", models / "ArcFace", unet, checkpoints / "video"):
        subfolder.mkdir(parents=True, exist_ok=True)
    # The released files of both were saved from parallel training.
    _save(_coefficient_net(seed), models / "D3DFR" / "netG_epoch_25.pth", "module.")
    _save(parts["identity"], models / "ArcFace" / "CurricularFace_Backbone.pth", "module.")
    write_face(models / "D3DFR" / "BFM09_model_info.mat", seed)
    (unet / "config.json").write_text(json.dumps(config, indent=2))
    _save(parts["image"], unet / "unet.pth")
    # The release has saved these in PyTorch's older format.
    _save(parts["video"], checkpoints / "video" / "3dunet.pth", is_legacy=True)
    _save(parts["tokens"], checkpoints / "video" / "mim.pth", is_legacy=True)


def make_vae(folder: Path, seed: int = 0) -> Path:
    """Write sd-vae-ft-mse's config.json and diffusion_pytorch_model.safetensors, tiny, and return the folder."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_config(VAE)
    fill(vae, f"vae {seed}")
    with torch.no_grad():
        vae.quant_conv.weight *= 2  # latents as wide as the noise, images within their range
        vae.quant_conv.bias[4:] = -10
        vae.decoder.conv_out.weight *= 0.4
    return save_vae(folder, vae, VAE)


def save_vae(folder: Path, vae: nn.Module, config: dict[str, Any]) -> Path:
    """Write an autoencoder under the names of sd-vae-ft-mse, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    old_names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = vae.state_dict()
    for new, name in old_names.items():  # the names in the published file
        state = {key.replace(f".attentions.0.{new}.", f".attentions.0.{name}."): value for key, value in state.items()}
    save_file(state, folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    return folder


def publish(hub: Hub, release: Path, vae: Path) -> None:
    """Serve a release and an autoencoder under the names of the real repositories.

    The autoencoder is a pickle: the real safetensors file is known by its hash, which a tiny one cannot have.
    """
    hub.add_folder("MIMAFace/MIMAFace", release)
    pickled = io.BytesIO()
    torch.save(load_file(vae / "diffusion_pytorch_model.safetensors"), pickled)
    hub.repos["stabilityai/sd-vae-ft-mse"] = {
        "config.json": (vae / "config.json").read_bytes(),
        "diffusion_pytorch_model.bin": pickled.getvalue(),
    }


def _coefficient_net(seed: int) -> nn.Module:
    from mimaface_cli.face.d3dfr import CoefficientNet

    network = CoefficientNet(width=4, depths=(1, 1, 1, 1))
    fill(network, f"coefficients {seed}")
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(8, 3, 16, 16, generator=generator) * 2 - 1
    probes = nn.functional.interpolate(coarse, (128, 128), mode="bilinear")
    with torch.no_grad():
        features = network.backbone(probes)
        for head, spread in zip(network.fianl_layers, _SPREAD, strict=True):
            head.weight *= spread / head(features).std(0).mean()
            head.bias -= head(features).mean((0, 2, 3))
    return network


def write_clip_encoder(folder: Path, seed_string: str) -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    model = CLIPVisionModel(CLIPVisionConfig(**CLIP))
    fill(model, seed_string)
    save_clip_encoder(folder, model, CLIP)


def save_clip_encoder(folder: Path, model: nn.Module, config: dict[str, Any]) -> None:
    """Write a vision encoder under the names of the release."""
    state = {f"vision_model.{key.removeprefix('vision_model.')}": value for key, value in model.state_dict().items()}
    count = len(state["vision_model.embeddings.position_embedding.weight"])
    state["vision_model.embeddings.position_ids"] = torch.arange(count)[None]  # a key of older versions
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def _save(module: nn.Module, path: Path, prefix: str = "", is_legacy: bool = False) -> None:
    state = {prefix + key: value for key, value in module.state_dict().items()}
    torch.save(state, path, _use_new_zipfile_serialization=not is_legacy)
