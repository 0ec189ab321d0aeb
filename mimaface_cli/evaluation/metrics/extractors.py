"""The networks that papers measure with: where their weights lie and how they become modules. Nothing is fetched here:
a measurement must not start a download that nobody asked for.
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from mimaface_cli.errors import WeightsError
from mimaface_cli.weights.locate import find_installed_problem, weights_folder
from mimaface_cli.weights.registry import find_asset

if TYPE_CHECKING:
    from torch import Tensor, nn

NEEDS = {
    "lpips": ("lpips_alex", ("metrics/lpips_alex.safetensors", "metrics/alexnet.safetensors")),
    "fid": ("inception", ("metrics/inception.safetensors",)),
    "fvd": ("i3d", ("metrics/i3d.safetensors",)),
    "csim": ("mimaface", ("mimaface/arcface.safetensors",)),
    "bfm09": ("mimaface", ("mimaface/d3dfr.safetensors", "mimaface/bfm09.mat")),
}
"""For each network: the asset of the weights registry, and those of its files that are used, in the weights folder."""


def missing(network: str) -> str | None:
    """What to say where the weights of a network (a key of NEEDS) are not there or not whole; None where they are."""
    name, paths = NEEDS[network]
    for file in find_asset(name).files:
        if file.path in paths:
            if not (weights_folder() / file.path).is_file():
                return f"needs weights {name}: mimaface weights pull {name}"
            if fault := find_installed_problem(file):
                return f"weights {name}: {file.path} {fault}: mimaface weights pull {name}"
    return None


def files(network: str) -> list[Path]:
    """Where the files of a network lie or would lie."""
    return [weights_folder() / name for name in NEEDS[network][1]]


def load(network: str) -> "nn.Module":
    """A network of NEEDS (but bfm09, which tracks are read by) with its weights, ready to be run on the CPU; kept for
    the next call. Raises WeightsError.
    """
    if problem := missing(network):
        raise WeightsError(problem)
    return _load(network, *((path, path.stat().st_mtime_ns) for path in files(network)))


@lru_cache(maxsize=len(NEEDS))
def _load(network: str, *stamped: tuple[Path, int]) -> "nn.Module":
    from mimaface_cli.weights.state_dict import load_strict

    paths = [path for path, _ in stamped]
    state = read_state(paths)
    if network == "csim":
        from mimaface_cli.face.curricularface import CurricularFace

        return CurricularFace.from_state(state, str(paths[0]))
    if network == "lpips":
        from mimaface_cli.evaluation.metrics.lpips import Lpips, from_release

        model, state = Lpips(), from_release(state)
    elif network == "fid":
        from mimaface_cli.evaluation.metrics.inception import FidInception

        model = FidInception()
        state = {key: value for key, value in state.items() if not key.startswith(("fc.", "AuxLogits."))}
    else:
        from mimaface_cli.evaluation.metrics.i3d import I3d

        model = I3d()
    # Counters of training steps come with some checkpoints and not with others; nothing here looks at them.
    counters = {key: value for key, value in model.state_dict().items() if key.endswith("num_batches_tracked")}
    state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    load_strict(model, counters | state, str(paths[0]))
    return model.float().eval().requires_grad_(False)


def read_state(paths: list[Path]) -> dict[str, "Tensor"]:
    """The tensors of .safetensors files, merged. Raises WeightsError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from mimaface_cli.weights.state_dict import strip_module_prefix

    state: dict[str, Tensor] = {}
    for path in paths:
        try:
            part = load_file(path)
        except (OSError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise WeightsError(f"{path}: cannot be read as safetensors ({reason}); fetch it again") from error
        state |= strip_module_prefix(part)
    return state
