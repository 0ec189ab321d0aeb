"""The state of a training run: network, optimizer and moving average.

It is complete in each process.
"""

from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from mimaface_cli.training.config import OptimizerConfig
from mimaface_cli.training.denoiser import Denoiser
from mimaface_cli.training.initialization import NetworkState, describe_network, rebuild_network

# Parts of parameter names that torch inserts if it checkpoints or compiles a layer.
_WRAPPERS = ("_checkpoint_wrapped_module.", "_orig_mod.")


class TrainState:
    """Network, optimizer and moving average of a stage.

    Subclasses shard them among the processes. Every method must be called in all processes.

    Args:
        accelerator: accelerate's state; the network moves to its device.
        network: The network.
        groups: AdamW's parameter groups.
        config: Configuration of the optimizer.

    Attributes:
        network: The network.
        adamw: The optimizer.
        module: The network as accelerate wraps it; call this one.
        optimizer: The optimizer as accelerate wraps it.
        parameters: The trained parameters, in the order of the groups.
        names: Names of the parameters, by their ids.
        average: The moving average in float32, by name.

    Raises:
        InputError: accelerate's configuration does not suit the network.
    """

    def __init__(
        self, accelerator: Accelerator, network: Denoiser, groups: list[dict[str, Any]], config: OptimizerConfig
    ) -> None:
        self.accelerator, self.network = accelerator, network
        self.adamw = torch.optim.AdamW(groups, config.learning_rate, weight_decay=config.weight_decay)
        self.module, self.optimizer = self._prepare()
        self._start_average()

    def _prepare(self) -> tuple[nn.Module, Any]:
        """Return the network and the optimizer as accelerate wraps them."""
        return self.accelerator.prepare(self.network.to(self.accelerator.device), self.adamw)

    def _start_average(self) -> None:
        """List the parameters after the preparation, and start their moving average."""
        self.parameters = [parameter for group in self.adamw.param_groups for parameter in group["params"]]
        self.names = parameter_names(self.network)
        self.average: dict[str, Tensor] = {
            self.names[id(parameter)]: parameter.detach().float().clone() for parameter in self.parameters
        }

    def mask_gradients(self) -> None:
        """Apply the masks of `Denoiser.mask_gradient`.

        Here it does nothing, because complete weights have hooks.
        """

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        """Move the moving average toward the weights."""
        averages = [self.average[self.names[id(parameter)]] for parameter in self.parameters]
        # One call for all: a thousand small ones would leave a GPU waiting.
        torch._foreach_lerp_(averages, self.parameters, 1 - decay)

    def averaged_network(self) -> AbstractContextManager[Denoiser | None]:
        """Provide the network with its moving average as weights.

        None outside the main process.
        """
        return self._averaged_in_place()

    @contextmanager
    def _averaged_in_place(self) -> Generator[Denoiser | None, None, None]:
        if not self.accelerator.is_main_process:
            yield None
            return
        self._swap_average()
        try:
            yield self.network
        finally:
            self._swap_average()

    def _swap_average(self) -> None:
        """Exchange the weights and their average, without a copy."""
        for parameter in self.parameters:
            name = self.names[id(parameter)]
            parameter.data, self.average[name] = self.average[name], parameter.data

    def state_dict(self) -> dict[str, Any]:
        """Return the complete `network`, `average` and `optimizer` of a checkpoint.

        The result is valid only in the main process.
        """
        return {"network": self.network.state_dict(), "average": self.average, "optimizer": self.adamw.state_dict()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the result of `state_dict`.

        Raises:
            RuntimeError, ValueError, KeyError, TypeError: The state belongs to another model.
        """
        self.network.load_state_dict(state["network"])
        self.adamw.load_state_dict(state["optimizer"])
        check_average(state["average"], {name: value.shape for name, value in self.average.items()})
        for name, value in state["average"].items():
            self.average[name].copy_(value)


def parameter_names(network: nn.Module) -> dict[int, str]:
    """Return the names of parameters as in the state dict, by their ids."""
    names = {}
    for name, parameter in network.named_parameters():
        plain_name = name
        for wrapper in _WRAPPERS:
            plain_name = plain_name.replace(wrapper, "")
        names[id(parameter)] = plain_name
    return names


def check_average(average: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> None:
    """Check that a moving average belongs to parameters of these names and shapes.

    Raises:
        ValueError: It does not.
    """
    if average.keys() != shapes.keys() or any(value.shape != shapes[name] for name, value in average.items()):
        raise ValueError("its moving average belongs to other parameters")


@contextmanager
def rebuilt_network(
    train_state: TrainState, state: Mapping[str, Tensor | None]
) -> Generator[Denoiser | None, None, None]:
    """Provide a new network with a complete state, in the main process; None in the others.

    Args:
        train_state: Training state with the network to rebuild.
        state: The complete state dict; its values are None outside the main process.
    """
    if not train_state.accelerator.is_main_process:
        yield None
        return
    complete = {name: value for name, value in state.items() if value is not None}
    with torch.random.fork_rng(devices=[]):  # Building a network must not change the training's random numbers.
        network = rebuild_network(NetworkState(**describe_network(train_state.network), state=complete))
    del state, complete
    yield network.to(train_state.accelerator.device)
