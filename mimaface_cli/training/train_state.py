"""What a stage trains: a network, its optimizer and its moving average, whole in each process. Others keep them in parts."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from mimaface_cli.training.config import Optimizer
from mimaface_cli.training.initialization import Built, describe, rebuild
from mimaface_cli.training.trainables import Denoiser

_WRAPPERS = ("_checkpoint_wrapped_module.", "_orig_mod.")  # in names, where torch checkpoints or compiles a layer


class Trained:
    """own: the network. groups: AdamW's parameter groups.

    module: own as accelerate has it called. optimizer: accelerate's. parameters: those that are trained, in groups' order.
    Every method is to be called in all processes. Raises InputError where accelerate's config does not fit the network.
    """

    def __init__(self, accelerator: Accelerator, own: Denoiser, groups: list[dict[str, Any]], settings: Optimizer):
        self.accelerator, self.own = accelerator, own
        self.adamw = torch.optim.AdamW(groups, settings.learning_rate, weight_decay=settings.weight_decay)
        self.module, self.optimizer = self._prepare()
        self._begin()

    def _begin(self) -> None:
        """Find the parameters in what was prepared, and begin their average."""
        self.parameters = [parameter for group in self.adamw.param_groups for parameter in group["params"]]
        self.names = names_of(self.own)
        self.average = {self.names[id(parameter)]: parameter.detach().float().clone() for parameter in self.parameters}

    def _prepare(self) -> tuple[nn.Module, Any]:
        return self.accelerator.prepare(self.own.to(self.accelerator.device), self.adamw)

    def mask(self) -> None:
        """Leave of the gradients what `Denoiser.train_partly` wants: here its hooks have."""

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """The moving average takes a step toward the weights."""
        averages = [self.average[self.names[id(parameter)]] for parameter in self.parameters]
        # All in one call: a thousand small ones would leave a GPU waiting.
        torch._foreach_lerp_(averages, self.parameters, 1 - decay)

    @contextmanager
    def averaged(self) -> Iterator[Denoiser | None]:
        """The network as its moving average has it, in the main process."""
        if not self.accelerator.is_main_process:
            yield None
            return
        self._swap()
        try:
            yield self.own
        finally:
            self._swap()

    def _swap(self) -> None:
        """The average for the weights and back, without a copy."""
        for parameter in self.parameters:
            name = self.names[id(parameter)]
            parameter.data, self.average[name] = self.average[name], parameter.data

    def state(self) -> dict[str, Any]:
        """network, average and optimizer as a checkpoint has them, whole; of use in the main process."""
        return {"network": self.own.state_dict(), "average": self.average, "optimizer": self.adamw.state_dict()}

    @torch.no_grad()
    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave. Raises RuntimeError, ValueError, KeyError, TypeError where it is another model's."""
        self.own.load_state_dict(state["network"])
        self.adamw.load_state_dict(state["optimizer"])
        check_average(state["average"], {name: value.shape for name, value in self.average.items()})
        for name, value in state["average"].items():
            self.average[name].copy_(value)


def names_of(network: nn.Module) -> dict[int, str]:
    """Of the parameters' ids, the names that they have in the state."""
    found = {}
    for name, parameter in network.named_parameters():
        for wrapper in _WRAPPERS:
            name = name.replace(wrapper, "")
        found[id(parameter)] = name
    return found


def check_average(found: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> None:
    """Raises ValueError where a moving average is not of these parameters."""
    if found.keys() != shapes.keys() or any(value.shape != shapes[name] for name, value in found.items()):
        raise ValueError("its moving average is of other parameters")


@contextmanager
def rebuilt(trained: Trained, state: Mapping[str, Tensor | None]) -> Iterator[Denoiser | None]:
    """A network like the trained one, in the main process, with its whole state; the others have none of either."""
    if not trained.accelerator.is_main_process:
        yield None
        return
    with torch.random.fork_rng(devices=[]):  # no trace in the training
        network = rebuild(Built(**describe(trained.own), state=dict(state)))
    del state
    yield network.to(trained.accelerator.device)
