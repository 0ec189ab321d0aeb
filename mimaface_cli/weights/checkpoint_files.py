"""Checks of model files before installation. Nothing in a file is executed."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from mimaface_cli.errors import WeightsError, brief
from mimaface_cli.weights.checkpoint_layouts import select_tensors
from mimaface_cli.weights.matlab import read_mat

if TYPE_CHECKING:
    from torch import Tensor

_MAX_CONFIG_BYTES = 1 << 20
_WRAPPER_KEYS = ("state_dict", "model")  # entries of training checkpoints that contain the state dict
_BFM09_ARRAYS = {"meanshape", "meantex", "idBase", "exBase", "texBase", "tri", "point_buf", "keypoints"}


def read_network(path: Path, content: str) -> "dict[str, Tensor]":
    """Read the tensors to install from a safetensors file or a pickle of tensors.

    Args:
        path: The released file.
        content: Key of `checkpoint_layouts.NETWORK_LAYOUTS`.

    Returns:
        Memory-mapped tensors by their installed names.

    Raises:
        WeightsError: The file cannot be read, would run code, or contains another network.
    """
    return select_tensors(_read_state_dict(path), content, str(path))


def read_attention_heads(path: Path) -> dict[str, str]:
    """Read the number of attention heads from a safetensors header.

    The shapes of the tensors do not show it.

    Returns:
        Metadata such as {"heads": "8"}, or {} if the file does not state the number.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            heads = (file.metadata() or {}).get("heads", "")
    except (OSError, SafetensorError):  # a pickle has no metadata
        return {}
    return {"heads": heads} if heads.isdecimal() and len(heads) < 5 else {}


def check_unconverted(path: Path, content: str) -> None:
    """Check a file that is installed byte for byte.

    Args:
        path: The released file.
        content: Key of UNCONVERTED_CHECKS.

    Raises:
        WeightsError: The file cannot be read or has other content.
    """
    UNCONVERTED_CHECKS[content](path)


def _read_state_dict(path: Path) -> "dict[str, Tensor]":
    state = _load_file(path)
    for key in _WRAPPER_KEYS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    return _check_state_dict(state, path)


def _load_file(path: Path) -> Any:
    """Load a safetensors file, or unpickle a PyTorch file that contains only plain data."""
    import torch
    from safetensors.torch import load_file

    from mimaface_cli.weights.legacy_pickle import load_legacy_pickle

    try:
        with path.open("rb") as file:
            start = file.read(9)
        if start[8:9] == b"{":  # a safetensors header, whatever the file's extension
            return load_file(path)
        if start[:2] == b"PK":  # PyTorch's zip archive
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return load_legacy_pickle(path)
    except UnpicklingError as error:
        function = re.search(r"(?:GLOBAL|global:?)\s+([\w.]+)", str(error))
        reason = f"it would run {function[1]}" if function else "it is damaged or would run code"
        raise WeightsError(
            f"{path}: is not a plain weights file ({reason}). Download it from its official source."
        ) from error
    except Exception as error:  # damaged bytes make the unpickler raise any kind of exception
        reason = brief(getattr(error, "strerror", None) or error)
        raise WeightsError(f"{path}: cannot be read as weights ({reason}). Download it again.") from error


def _check_state_dict(state: Any, path: Path) -> "dict[str, Tensor]":
    import torch

    if not isinstance(state, dict) or not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path}: contains no state dict. Get the right file.")
    if not all(isinstance(key, str) for key in state):
        raise WeightsError(f"{path}: contains tensors without names. Get the right file.")
    tensors = state.values()
    is_dense = all(tensor.layout is torch.strided and not tensor.is_quantized for tensor in tensors)
    # Expanded views can claim more data than the file contains. Such a file would fill memory and disk.
    if not is_dense or sum(tensor.numel() * tensor.element_size() for tensor in tensors) > 2 * path.stat().st_size:
        raise WeightsError(f"{path}: contains sparse, quantized or expanded tensors. Get the right file.")
    return {key: tensor.detach() for key, tensor in state.items()}


def _config_check(**required: object) -> Callable[[Path], None]:
    """Return a check that a config.json has options with the required values (... for any value)."""

    def check(path: Path) -> None:
        config = _read_config(path)
        for name, value in required.items():
            if name not in config or (value is not ... and config[name] != value):
                option = name if value is ... else f"{name} {value}"
                raise WeightsError(f"{path}: is not the expected config, it lacks {option}. Get the right file.")

    return check


def _read_config(path: Path) -> dict[str, Any]:
    """Read a model's config and merge a nested vision config (of a whole CLIP) into it."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_CONFIG_BYTES + 1)
        config = json.loads(text) if len(text) <= _MAX_CONFIG_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: cannot be read as a model's config. Download it again.") from error
    if not isinstance(config, dict):
        return {}
    vision_config = config.get("vision_config")
    return config | vision_config if isinstance(vision_config, dict) else config


def _check_bfm09(path: Path) -> None:
    # Reads all arrays, because a truncated file is detected only at the missing bytes.
    if missing := sorted(_BFM09_ARRAYS - read_mat(path).keys()):
        raise WeightsError(f"{path}: is not BFM09_model_info.mat, it lacks {', '.join(missing)}. Get the right file.")


UNCONVERTED_CHECKS: Mapping[str, Callable[[Path], None]] = {
    "bfm09": _check_bfm09,
    "unet config": _config_check(block_out_channels=..., cross_attention_dim=...),
    "vae config": _config_check(block_out_channels=..., latent_channels=4),
    "clip config": _config_check(hidden_size=..., patch_size=..., num_hidden_layers=...),
}
"""Checks of the files that are installed byte for byte, by content type (see `AssetFile.content`)."""
