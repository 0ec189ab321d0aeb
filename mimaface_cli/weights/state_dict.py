"""Strict loading of state dicts into modules, with one-line errors for state dicts that do not fit."""

import re
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from mimaface_cli.errors import WeightsError
from mimaface_cli.weights.checkpoint_layouts import describe_mismatches, strip_module_prefix

Network = TypeVar("Network", bound=nn.Module)


def load_network(network: Network, state: Mapping[str, Tensor], name: str) -> Network:
    """Load a state dict into a network and prepare it for inference.

    Args:
        network: The network, which is filled in place, see `load_strict`.
        state: The network's tensors.
        name: File name for the error message.

    Returns:
        The same network in float32 and eval mode, without gradients.

    Raises:
        WeightsError: The state dict does not fit the network.
    """
    load_strict(network, state, name)
    return network.float().eval().requires_grad_(False)


def load_strict(module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Load a state dict into a module in place. Every key and shape must match.

    Args:
        module: The module. Parameters on the meta device are replaced by the state dict's tensors.
        state: Its tensors. A `module.` prefix on every key is removed.
        name: File name for the error message.

    Raises:
        WeightsError: Keys are missing, unexpected or have the wrong shape, which the message lists, or a tensor
            contains NaN or Inf.
    """
    state = strip_module_prefix(state)
    expected = module.state_dict()
    mismatches = describe_mismatches(
        missing=expected.keys() - state.keys(),
        unexpected=sorted(state.keys() - expected.keys()),
        misshapen=sorted(key for key in expected.keys() & state.keys() if expected[key].shape != state[key].shape),
    )
    if mismatches:
        raise WeightsError(f"{name}: does not contain the weights of this model: {mismatches}. Get the right file.")
    for key, value in state.items():
        if not is_finite(value):
            raise WeightsError(f"{name}: {key} contains NaN or Inf. Get the file again, or another checkpoint.")
    module.load_state_dict(state, assign=any(tensor.is_meta for tensor in expected.values()))


def is_finite(tensor: Tensor) -> bool:
    """Return whether a tensor contains neither NaN nor Inf; takes no memory unless it does, or nearly overflows."""
    if tensor.is_meta or not tensor.is_floating_point():
        return True
    # The sum is many times faster than a test of each value. A finite sum has finite terms.
    return bool(tensor.sum(dtype=torch.float32).isfinite()) or bool(tensor.isfinite().all())


def count_blocks(state: Mapping[str, Tensor], prefix: str) -> int:
    """Count the numbered blocks below a key prefix.

    Args:
        state: A state dict.
        prefix: Start of the keys before the number, such as "mapper.resblocks.".

    Returns:
        One more than the highest number, or 0 without numbered blocks.
    """
    numbers = (re.match(r"(\d{1,4})\.", key.removeprefix(prefix)) for key in state if key.startswith(prefix))
    return max((int(match[1]) + 1 for match in numbers if match), default=0)
