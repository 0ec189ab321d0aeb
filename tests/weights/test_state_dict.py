"""Strict loading of state dicts."""

import pytest
import torch
from torch import nn

from mimaface_cli.errors import WeightsError
from mimaface_cli.weights.state_dict import count_blocks, is_finite, load_network, load_strict


def test_load_network_fills_a_meta_network_and_prepares_it_for_inference():
    state = nn.Linear(3, 2).half().state_dict()
    with torch.device("meta"):
        network = nn.Linear(3, 2)
    network = load_network(network, {f"module.{key}": value for key, value in state.items()}, "net.pth")
    assert not network.training and not network.weight.requires_grad
    assert network.weight.dtype == torch.float32 and torch.equal(network.weight, state["weight"].float())


def test_load_strict_lists_every_kind_of_mismatch_on_one_line():
    state = {"weight": torch.zeros(4, 4), "scale": torch.zeros(1)}
    with pytest.raises(WeightsError) as failure:
        load_strict(nn.Linear(3, 2), state, "net.pth")
    assert str(failure.value) == (
        "net.pth: does not contain the weights of this model: 1 missing (bias); 1 unexpected (scale); "
        "1 with the wrong shape (weight). Get the right file."
    )


def test_count_blocks_is_one_more_than_the_highest_number():
    state = dict.fromkeys(("body.0.weight", "body.11.bias", "body.x", "other.50.weight"), torch.zeros(1))
    assert count_blocks(state, "body.") == 12 and count_blocks(state, "head.") == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_weights_with_nan_or_inf_are_a_one_line_error(value, dtype):
    module = nn.Linear(3, 2)
    state = {name: tensor.detach().to(dtype) for name, tensor in module.state_dict().items()}
    state["bias"][1] = value
    with pytest.raises(WeightsError, match=r"^mim\.pth: bias contains NaN or Inf\. Get the file again"):
        load_strict(module, state, "mim.pth")


def test_finite_weights_whose_sum_overflows_are_accepted():
    module = nn.Linear(2, 2)
    state = {"weight": torch.full((2, 2), 3e38), "bias": torch.zeros(2)}
    load_strict(module, state, "x")
    assert is_finite(torch.full((9,), 65504.0, dtype=torch.float16)) and is_finite(torch.tensor([1, 2]))
