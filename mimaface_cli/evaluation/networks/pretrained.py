"""Pretrained networks of the metrics: which weights they need and how they are loaded.

Nothing is downloaded here: an evaluation must not start a download that the user did not request.
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from mimaface_cli.errors import WeightsError
from mimaface_cli.weights.locate import find_installed_problem, weights_folder
from mimaface_cli.weights.registry import find_asset

if TYPE_CHECKING:
    from torch import Tensor, nn

NETWORK_FILES = {
    "lpips": ("lpips_alex", ("metrics/lpips_alex.safetensors", "metrics/alexnet.safetensors")),
    "fid": ("inception", ("metrics/inception.safetensors",)),
    "fvd": ("i3d", ("metrics/i3d.safetensors",)),
    "lse": ("syncnet", ("metrics/syncnet.safetensors",)),
    "arcface": ("arcface", ("metrics/arcface.safetensors",)),
    "csim": ("mimaface", ("mimaface/arcface.safetensors",)),
    "bfm09": ("mimaface", ("mimaface/d3dfr.safetensors", "mimaface/bfm09.mat")),
}
"""For each network: the asset of the weights registry and the asset's files that the network uses."""


def missing_weights(network: str) -> str | None:
    """Return why the weights of a network cannot be used, or None if they are installed.

    Args:
        network: A key of NETWORK_FILES.

    Returns:
        What is missing or damaged and the command that installs it, or None.
    """
    asset, paths = NETWORK_FILES[network]
    for file in find_asset(asset).files:
        if file.path in paths:
            if not (weights_folder() / file.path).is_file():
                return f"needs the {asset} weights; run mimaface weights pull {asset}"
            if problem := find_installed_problem(file):
                return f"{asset} weights: {file.path} {problem}; run mimaface weights pull {asset}"
    return None


def weight_files(network: str) -> list[Path]:
    """Return the paths of a network's weights, whether or not they are installed."""
    return [weights_folder() / name for name in NETWORK_FILES[network][1]]


def load_network(network: str) -> "nn.Module":
    """Load a network with its weights on the CPU, in evaluation mode.

    Later calls return the same module.

    Args:
        network: A key of NETWORK_FILES except bfm09, which the track extractor loads itself.

    Raises:
        WeightsError: The weights are missing, damaged or those of another network.
    """
    if problem := missing_weights(network):
        raise WeightsError(problem)
    return _load(network, *((path, path.stat().st_mtime_ns) for path in weight_files(network)))


@lru_cache(maxsize=len(NETWORK_FILES))
def _load(network: str, *stamped_paths: tuple[Path, int]) -> "nn.Module":
    """Load a network; the modification times make changed files load again."""
    from mimaface_cli.weights.state_dict import load_strict

    paths = [path for path, _ in stamped_paths]
    state = read_state(paths)
    if network == "csim":
        from mimaface_cli.face.curricularface import CurricularFace

        return CurricularFace.from_state(state, str(paths[0]))
    if network == "arcface":
        from mimaface_cli.evaluation.networks.arcface import ArcFace

        return ArcFace.from_state(state, str(paths[0]))
    model: nn.Module
    if network == "lpips":
        from mimaface_cli.evaluation.networks.lpips import LpipsNetwork, convert_release

        model, state = LpipsNetwork(), convert_release(state)
    elif network == "fid":
        from mimaface_cli.evaluation.networks.inception import FidInception

        model = FidInception()
        state = {key: value for key, value in state.items() if not key.startswith(("fc.", "AuxLogits."))}
    elif network == "lse":
        from mimaface_cli.evaluation.networks.syncnet import SyncNet

        model = SyncNet()
    else:
        from mimaface_cli.evaluation.networks.i3d import I3d

        model = I3d()
    # Some checkpoints carry counters of training steps, others do not; inference does not use them.
    counters = {key: value for key, value in model.state_dict().items() if key.endswith("num_batches_tracked")}
    state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    load_strict(model, counters | state, str(paths[0]))
    return model.float().eval().requires_grad_(False)


def read_state(paths: list[Path]) -> dict[str, "Tensor"]:
    """Return the tensors of several .safetensors files in one state dictionary.

    Raises WeightsError.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from mimaface_cli.weights.checkpoint_layouts import strip_module_prefix

    state: dict[str, Tensor] = {}
    for path in paths:
        try:
            part = load_file(path)
        except (OSError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise WeightsError(f"{path}: cannot be read as safetensors ({reason}). Download it again.") from error
        state |= strip_module_prefix(part)
    return state
