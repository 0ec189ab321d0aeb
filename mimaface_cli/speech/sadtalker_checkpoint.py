"""SadTalker's audio networks out of its released files: the single safetensors file, or the two older .pth files."""

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
from mimaface_cli.weights.state_dict import load_strict

EXPRESSION, POSE = "audio2exp", "audio2pose"  # prefixes of the keys in the single file
LEGACY_FILES = {EXPRESSION: "auido2exp_00300-model.pth", POSE: "auido2pose_00140-model.pth"}  # spelt as released
_OLD_KEY = "model"

Network = TypeVar("Network", bound=nn.Module)


def load_networks(path: Path) -> tuple[Audio2Exp, Audio2Pose]:
    """Both networks, in eval mode on the CPU, from a single file, or a folder that has one or the two older files.

    A folder's safetensors file goes before the older ones. Raises WeightsError.
    """
    files = find_network_files(path)
    with torch.device("meta"):
        expression, pose = Audio2Exp(), Audio2Pose()
    return load_network_file(expression, files[EXPRESSION], EXPRESSION), load_network_file(pose, files[POSE], POSE)


def find_network_files(path: Path) -> dict[str, Path]:
    """The file of each network (see `load_networks`). Raises WeightsError."""
    if not path.is_dir():
        return {name: path for name in LEGACY_FILES}
    if found := sorted(path.glob("*.safetensors")):
        return {name: found[0] for name in LEGACY_FILES}
    files = {name: path / file for name, file in LEGACY_FILES.items()}
    if missing := [file.name for file in files.values() if not file.is_file()]:
        raise WeightsError(
            f"{path}: has no SadTalker weights; put SadTalker_V0.0.2_256.safetensors there (or {' and '.join(missing)})"
        )
    return files


def load_network_file(network: Network, path: Path, name: str) -> Network:
    """Fill one network with the weights of that name, ready to run in float32. Raises WeightsError."""
    load_strict(network, drop_training_keys(read_state(path, name)), f"{path} ({name})")
    return network.float().eval().requires_grad_(False)


def drop_training_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without the parts that only training uses."""
    return {key: value for key, value in state.items() if not key.startswith(TRAINING_PREFIXES)}


def read_state(path: Path, name: str) -> dict[str, Tensor]:
    """The state dict of one network, whose keys start at the network itself. Raises WeightsError."""
    try:
        if path.suffix == ".safetensors":
            prefix = f"{name}."
            with safe_open(path, "pt") as file:
                keys = [key for key in file.keys() if key.startswith(prefix)]
                return {key.removeprefix(prefix): file.get_tensor(key) for key in keys}
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, UnpicklingError, SafetensorError) as error:
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"{path}: cannot be read as SadTalker weights ({reason}); fetch it again") from error
    state = loaded.get(_OLD_KEY) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path}: has no weights under '{_OLD_KEY}'; fetch the right file")
    return state
