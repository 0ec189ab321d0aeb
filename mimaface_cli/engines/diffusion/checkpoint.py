"""The installed checkpoints as networks: what inference needs of the release, read from the weights folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mimaface_cli.engines.diffusion import clip_encoder, mia
from mimaface_cli.engines.diffusion.pipeline import DiffusionNetworks
from mimaface_cli.engines.diffusion.portrait_features import PortraitNetworks
from mimaface_cli.engines.diffusion.unet import RELEASE_CONFIG, VideoUNet, merge_release_states
from mimaface_cli.errors import WeightsError
from mimaface_cli.face.bfm import Bfm09
from mimaface_cli.face.bfm import load as load_bfm
from mimaface_cli.face.curricularface import CurricularFace
from mimaface_cli.face.d3dfr import CoefficientNet
from mimaface_cli.weights import manifest
from mimaface_cli.weights.locate import find_missing_files, locate_file, locate_files, weights_folder
from mimaface_cli.weights.state_dict import load_strict

RELEASE, VAE = "mimaface", "vae"  # names in the registry
IDENTITY = "mimaface/arcface.safetensors"


def fingerprint_weights(*paths: str) -> str:
    """12 hex digits that change with the installed files of these paths in the registry (none: all that denoises)."""
    import hashlib

    entries = manifest.read(weights_folder())
    wanted = paths or tuple(sorted(path for name in (RELEASE, VAE) for path in locate_files(name, download=False)))
    hashes = [f"{path} {entries[path].sha256 if path in entries else 'unrecorded'}" for path in wanted]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:12]


def load_coefficient_net() -> tuple[CoefficientNet, str]:
    """D3DFR's network and what names its weights. Raises WeightsError."""
    path = "mimaface/d3dfr.safetensors"
    return CoefficientNet.from_state(*read_tensors(_release(path))), fingerprint_weights(path)


def load_face_model() -> Bfm09:
    """The Basel Face Model. Raises WeightsError."""
    return load_bfm(_release("mimaface/bfm09.mat"))


def has_identity_net() -> bool:
    """Whether the network is installed whole that only the released tokens want."""
    return IDENTITY not in find_missing_files(RELEASE)


def load_identity_net() -> CurricularFace:
    """CurricularFace. Raises WeightsError."""
    return CurricularFace.from_state(*read_tensors(_release(IDENTITY)))


def load_portrait_networks(coefficients: CoefficientNet, identity: bool = True) -> PortraitNetworks:
    """The networks that look at the source; the released tokens alone want the identity network. Raises WeightsError."""
    config = read_json(_release("mimaface/video/clip.json"))
    config = config.get("vision_config", config)  # of a whole CLIP model
    encoder = clip_encoder.build_clip_encoder(config, *read_tensors(_release("mimaface/video/clip.safetensors")))
    return PortraitNetworks(coefficients, encoder, load_identity_net() if identity else None)


def load_networks() -> DiffusionNetworks:
    """The networks that denoise, on the CPU in the files' own number format. Raises WeightsError."""
    image_path, video_path = (_release(f"mimaface/{stage}/unet.safetensors") for stage in ("image", "video"))
    state = merge_release_states(read_tensors(image_path)[0], read_tensors(video_path)[0])
    unet = build_unet(read_json(_release("mimaface/image/unet.json")), state, f"{image_path} with {video_path}")
    tokens = load_mia(_release("mimaface/video/mia.safetensors"), unet, image_path)
    return DiffusionNetworks(unet, tokens, load_vae())


def load_mia(path: Path, unet: VideoUNet, unet_path: Path) -> mia.ReleaseMIA | mia.PaperMIA:
    """The condition tokens that go with a UNet. Raises WeightsError."""
    state, name = read_tensors(path)
    with safe_open(path, "pt") as file:
        tokens = mia.build_mia(state, file.metadata(), name)
    width = (tokens.layer_norm if isinstance(tokens, mia.ReleaseMIA) else tokens.norm).normalized_shape[0]
    if width != unet.tokens_width:
        raise WeightsError(
            f"{path}: makes tokens of width {width} where the UNet of {unet_path} takes {unet.tokens_width}; "
            "they are of two models: fetch both again"
        )
    return tokens


def build_unet(config: Mapping[str, Any], state: Mapping[str, Tensor], name: str) -> VideoUNet:
    """The video UNet of an image model's config.json and merged weights. Raises WeightsError listing keys that do not
    fit.
    """
    config = {**RELEASE_CONFIG, **config, "use_motion_module": True}
    reach = [value.shape[1] for key, value in state.items() if key.endswith("pos_encoder.pe") and value.dim() == 3]
    if reach:
        modules = dict(config.get("motion_module_kwargs", {}), temporal_position_encoding_max_len=reach[0])
        config["motion_module_kwargs"] = modules
    try:
        with torch.device("meta"):
            unet = VideoUNet(config)
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise WeightsError(f"{name}: its config.json makes no UNet ({error}); fetch the weights again") from error
    load_strict(unet, state, name)
    return unet.eval().requires_grad_(False)


def load_vae() -> AutoencoderKL:
    """Raises WeightsError."""
    files = locate_files(VAE, download=False)
    return build_vae(read_json(files["vae/config.json"]), *read_tensors(files["vae/model.safetensors"]))


def build_vae(config: Mapping[str, Any], state: Mapping[str, Tensor], name: str) -> AutoencoderKL:
    """The autoencoder of a config.json and its weights. Raises WeightsError."""
    try:
        with torch.device("meta"):
            vae = AutoencoderKL.from_config(dict(config))
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise WeightsError(f"{name}: its config.json makes no VAE ({error}); fetch the weights again") from error
    load_strict(vae, {_present_name(key): value for key, value in state.items()}, name)
    return vae.eval().requires_grad_(False)


def _present_name(key: str) -> str:
    """A VAE parameter's name in today's diffusers; the published file is older."""
    for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")):
        key = key.replace(f".attentions.0.{old}.", f".attentions.0.{new}.")
    return key


def _release(path: str) -> Path:
    return locate_file(RELEASE, path)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors of a safetensors file and what to call it."""
    from safetensors.torch import load_file

    try:
        return load_file(path), str(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read ({error}); run mimaface weights verify") from error


def read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
        if not isinstance(values, dict):
            raise ValueError("holds no object")
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: cannot be read ({error}); run mimaface weights verify") from error
    return values
