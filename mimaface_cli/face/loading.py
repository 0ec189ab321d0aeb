"""Strict loading of state dicts into modules, with one clear line when they do not fit."""

from collections.abc import Mapping

from torch import Tensor, nn

from mimaface_cli.errors import WeightsError

_SHOWN = 4


def load_strict(module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Fill `module` in place; a `module.` prefix on every key (from parallel training) is cut.

    name: the file, for the message. Raises WeightsError that lists missing, unexpected and misshapen keys.
    """
    if state and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    own = module.state_dict()
    wrong = [key for key in own.keys() & state.keys() if own[key].shape != state[key].shape]
    found = {
        "missing": sorted(own.keys() - state.keys()),
        "unexpected": sorted(state.keys() - own.keys()),
        "of another shape": sorted(wrong),
    }
    faults = [f"{len(keys)} {kind} ({_some(keys)})" for kind, keys in found.items() if keys]
    if faults:
        raise WeightsError(f"{name}: not the weights of this model: {'; '.join(faults)}; fetch the right file")
    module.load_state_dict(state, assign=any(tensor.is_meta for tensor in own.values()))


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:_SHOWN]) + (", ..." if len(keys) > _SHOWN else "")
