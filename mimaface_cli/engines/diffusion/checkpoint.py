"""Load the networks of the released checkpoint from the weights folder."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from mimaface_cli.engines.diffusion.clip_encoder import build_clip_encoder
from mimaface_cli.engines.diffusion.mia import PaperMIA, ReleaseMIA, build_mia
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

RELEASE, VAE = "mimaface", "vae"  # names in the weights registry
IDENTITY = "mimaface/arcface.safetensors"
_CONFIG_ERRORS = (TypeError, ValueError, KeyError, IndexError)  # what a damaged config.json raises in diffusers


def fingerprint_weights(*paths: str) -> str:
    """Compute 12 hexadecimal digits that change with the installed weights.

    Args:
        *paths: Paths of files in the weights registry; without any, all files that the denoising uses.
    """
    entries = manifest.read(weights_folder())
    names = paths or tuple(sorted(path for name in (RELEASE, VAE) for path in locate_files(name, download=False)))
    hashes = [f"{path} {entries[path].sha256 if path in entries else 'unrecorded'}" for path in names]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:12]


def load_coefficient_net() -> tuple[CoefficientNet, str]:
    """Load D3DFR's network, and compute the fingerprint of its weights. Raises WeightsError."""
    path = "mimaface/d3dfr.safetensors"
    return CoefficientNet.from_state(*read_tensors(_release(path))), fingerprint_weights(path)


def load_face_model() -> Bfm09:
    """Load the Basel Face Model. Raises WeightsError."""
    return load_bfm(_release("mimaface/bfm09.mat"))


def has_identity_net() -> bool:
    """Return whether the identity network, which only `ReleaseMIA` needs, is completely installed."""
    return IDENTITY not in find_missing_files(RELEASE)


def load_identity_net() -> CurricularFace:
    """Load CurricularFace. Raises WeightsError."""
    return CurricularFace.from_state(*read_tensors(_release(IDENTITY)))


def load_portrait_networks(coefficients: CoefficientNet, identity: bool = True) -> PortraitNetworks:
    """Load the networks that see the portrait.

    Args:
        coefficients: The coefficient network.
        identity: Whether to load the identity network as well, for `ReleaseMIA`.

    Raises:
        WeightsError: If files are missing or damaged.
    """
    config = read_json(_release("mimaface/video/clip.json"))
    config = config.get("vision_config", config)  # the config may be that of a whole CLIP model
    encoder = build_clip_encoder(config, *read_tensors(_release("mimaface/video/clip.safetensors")))
    return PortraitNetworks(coefficients, encoder, load_identity_net() if identity else None)


def load_networks() -> DiffusionNetworks:
    """Load the networks of the denoising, on the CPU and in the precision of their files. Raises WeightsError."""
    image_path, video_path = (_release(f"mimaface/{stage}/unet.safetensors") for stage in ("image", "video"))
    state = merge_release_states(read_tensors(image_path)[0], read_tensors(video_path)[0])
    unet = build_unet(read_json(_release("mimaface/image/unet.json")), state, f"{image_path} with {video_path}")
    mia = load_mia(_release("mimaface/video/mia.safetensors"), unet, image_path)
    return DiffusionNetworks(unet, mia, load_vae())


def load_mia(path: Path, unet: VideoUNet, unet_path: Path) -> ReleaseMIA | PaperMIA:
    """Load the condition-token module of a UNet.

    Args:
        path: The module's safetensors file.
        unet: The UNet.
        unet_path: File of the UNet, for messages.

    Raises:
        WeightsError: If the file is damaged or its tokens do not fit the UNet.
    """
    state, name = read_tensors(path)
    with safe_open(path, "pt") as file:
        mia = build_mia(state, file.metadata(), name)
    width = (mia.layer_norm if isinstance(mia, ReleaseMIA) else mia.norm).normalized_shape[0]
    if width != unet.token_width:
        raise WeightsError(
            f"{path}: its tokens have width {width}, but the UNet of {unet_path} takes {unet.token_width}. "
            "The files belong to two models: fetch both again."
        )
    return mia


def build_unet(config: Mapping[str, Any], state: Mapping[str, Tensor], name: str) -> VideoUNet:
    """Build the video UNet.

    Args:
        config: Content of the image model's config.json.
        state: The merged weights.
        name: Name of the files, for messages.

    Raises:
        WeightsError: If config or weights do not fit; lists the keys.
    """
    config = {**RELEASE_CONFIG, **config, "use_motion_module": True}
    max_frames = [value.shape[1] for key, value in state.items() if key.endswith("pos_encoder.pe") and value.dim() == 3]
    if max_frames:
        motion = dict(config.get("motion_module_kwargs", {}), temporal_position_encoding_max_len=max_frames[0])
        config["motion_module_kwargs"] = motion
    try:
        with torch.device("meta"):
            unet = VideoUNet(config)
    except _CONFIG_ERRORS as error:
        raise WeightsError(
            f"{name}: its config.json is not one of a UNet ({error}). Fetch the weights again."
        ) from error
    load_strict(unet, state, name)
    return unet.eval().requires_grad_(False)


def load_vae() -> AutoencoderKL:
    """Load the autoencoder. Raises WeightsError."""
    files = locate_files(VAE, download=False)
    return build_vae(read_json(files["vae/config.json"]), *read_tensors(files["vae/model.safetensors"]))


def build_vae(config: Mapping[str, Any], state: Mapping[str, Tensor], name: str) -> AutoencoderKL:
    """Build the autoencoder.

    Args:
        config: Content of its config.json.
        state: Its weights.
        name: Name of the files, for messages.

    Raises:
        WeightsError: If config or weights do not fit.
    """
    try:
        with torch.device("meta"):
            vae = AutoencoderKL.from_config(dict(config))
    except _CONFIG_ERRORS as error:
        raise WeightsError(
            f"{name}: its config.json is not one of a VAE ({error}). Fetch the weights again."
        ) from error
    load_strict(vae, {_current_vae_key(key): value for key, value in state.items()}, name)
    return vae.eval().requires_grad_(False)


def _current_vae_key(key: str) -> str:
    """Name of a VAE parameter in current diffusers; the published file is older."""
    for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")):
        key = key.replace(f".attentions.0.{old}.", f".attentions.0.{new}.")
    return key


def _release(path: str) -> Path:
    return locate_file(RELEASE, path)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], str]:
    """Read the tensors of a safetensors file; also return its name for messages. Raises WeightsError."""
    try:
        return load_file(path), str(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read ({error}). Run mimaface weights verify.") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises WeightsError."""
    try:
        values = json.loads(path.read_bytes())
        if not isinstance(values, dict):
            raise ValueError("not an object")
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: cannot be read ({error}). Run mimaface weights verify.") from error
    return values
