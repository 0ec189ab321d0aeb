"""SadTalker's released weights: one safetensors file, or two older .pth files."""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mimaface_cli.errors import WeightsError
from mimaface_cli.speech.audio2exp import Audio2Exp
from mimaface_cli.speech.audio2pose import TRAINING_PREFIXES, Audio2Pose
from mimaface_cli.weights.state_dict import load_network

EXPRESSION, POSE = "audio2exp", "audio2pose"  # prefixes of the keys in the single file
LEGACY_FILES = {EXPRESSION: "auido2exp_00300-model.pth", POSE: "auido2pose_00140-model.pth"}  # the release's spelling
_LEGACY_KEY = "model"

Network = TypeVar("Network", bound=nn.Module)


def load_networks(path: Path) -> tuple[Audio2Exp, Audio2Pose]:
    """Load both networks.

    Args:
        path: The safetensors file, or a folder with it or with the two older files. The safetensors file is preferred.

    Returns:
        The expression and the pose network, in eval mode on the CPU.

    Raises:
        WeightsError: A file is missing, damaged, or holds other weights.
    """
    files = find_network_files(path)
    with torch.device("meta"):
        expression_network, pose_network = Audio2Exp(), Audio2Pose()
    load_network_file(expression_network, files[EXPRESSION], EXPRESSION)
    load_network_file(pose_network, files[POSE], POSE)
    return expression_network, pose_network


def find_network_files(path: Path) -> dict[str, Path]:
    """Return the file of each network (see `load_networks`). Raises WeightsError."""
    if not path.is_dir():
        return dict.fromkeys(LEGACY_FILES, path)
    if single_files := sorted(path.glob("*.safetensors")):
        return dict.fromkeys(LEGACY_FILES, single_files[0])
    files = {name: path / file for name, file in LEGACY_FILES.items()}
    if missing := [file.name for file in files.values() if not file.is_file()]:
        raise WeightsError(
            f"{path}: has no SadTalker weights. Put SadTalker_V0.0.2_256.safetensors into it "
            f"(or {' and '.join(missing)})."
        )
    return files


def load_network_file(network: Network, path: Path, name: str) -> Network:
    """Load one network and prepare it for inference in float32.

    Args:
        network: Filled in place.
        path: The single file or the network's older file.
        name: EXPRESSION or POSE.

    Returns:
        The same network.

    Raises:
        WeightsError: The file is damaged or holds other weights.
    """
    return load_network(network, drop_training_keys(read_state_dict(path, name)), f"{path} ({name})")


def drop_training_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove the parts that only training uses."""
    return {key: value for key, value in state.items() if not key.startswith(TRAINING_PREFIXES)}


def read_state_dict(path: Path, name: str) -> dict[str, Tensor]:
    """Read the state dict of one network. Raises WeightsError.

    Args:
        path: The single file or the network's older file.
        name: EXPRESSION or POSE, the prefix that is removed from the keys of the single file.
    """
    try:
        if path.suffix == ".safetensors":
            prefix = f"{name}."
            with safe_open(path, "pt") as file:
                keys = [key for key in file.keys() if key.startswith(prefix)]  # noqa: SIM118 (safe_open returns no mapping)
                return {key.removeprefix(prefix): file.get_tensor(key) for key in keys}
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, UnpicklingError, SafetensorError) as error:
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"{path}: cannot be read as SadTalker weights ({reason}). Download it again.") from error
    state = checkpoint.get(_LEGACY_KEY) if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path}: has no weights under '{_LEGACY_KEY}'. Download the right file.")
    return state
