"""Strict loading of state dicts into modules, with one clear line when they do not fit."""

import re
from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor, nn

from mimaface_cli.errors import WeightsError

_SHOWN = 4

Network = TypeVar("Network", bound=nn.Module)


def load_network(network: Network, state: Mapping[str, Tensor], name: str) -> Network:
    """Fill a network (see `load_strict`) and make it ready to run: float32, eval mode, no gradients."""
    load_strict(network, state, name)
    return network.float().eval().requires_grad_(False)


def load_strict(module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Fill `module` in place; a `module.` prefix on every key (from parallel training) is cut.

    name: the file, for the message. Raises WeightsError that lists missing, unexpected and misshapen keys.
    """
    state = strip_module_prefix(state)
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


def strip_module_prefix(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The state without a `module.` prefix on every key."""
    if state and all(key.startswith("module.") for key in state):
        return {key.removeprefix("module."): value for key, value in state.items()}
    return state


def count_blocks(state: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbered parts the keys after `prefix` tell of: one more than the highest number."""
    found = (re.match(r"(\d{1,4})\.", key[len(prefix) :]) for key in state if key.startswith(prefix))
    return max((int(match[1]) + 1 for match in found if match), default=0)


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:_SHOWN]) + (", ..." if len(keys) > _SHOWN else "")
