"""Weights that accelerate's FSDP 2 splits among the processes, put together for all that is written."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from mimaface_cli.errors import InputError, brief
from mimaface_cli.training.train_state import Trained, check_average, rebuilt
from mimaface_cli.training.trainables import Denoiser


class FsdpTrained(Trained):
    """Parameters, moments and moving average are DTensors: others than before."""

    def _prepare(self) -> tuple[nn.Module, Any]:
        plugin = self.accelerator.state.fsdp_plugin
        # Each process has read the weights anyway, and what spares it that has no place for a network's buffers.
        plugin.cpu_ram_efficient_loading = False
        if plugin.mixed_precision_policy is not None:
            # As without FSDP: autocast says what is computed in which type, and gradients are added up in full precision.
            plugin.mixed_precision_policy = replace(
                plugin.mixed_precision_policy, reduce_dtype=torch.float32, output_dtype=None, cast_forward_inputs=False
            )
            self.own.forward = self.accelerator.autocast()(self.own.forward)
        try:
            prepared = self.accelerator.prepare(
                self.own, self.adamw
            )  # moves to the device what it splits, group by group
        except (ValueError, TypeError) as error:
            raise _unfit(brief(error)) from error
        if not all(isinstance(parameter, DTensor) for parameter in self.own.parameters()):
            raise _unfit("some weights are left out")
        return prepared

    @torch.no_grad()
    def mask(self) -> None:
        """The parts are without the hooks."""
        parameters = {self.names[id(parameter)]: parameter for parameter in self.own.parameters()}
        for name, function in self.own.masks:
            if parameters[name].grad is not None:
                gradient = parameters[name].grad.to_local()  # whole rows: FSDP splits the outputs
                gradient.copy_(function(gradient))

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        averages = [self.average[self.names[id(parameter)]].to_local() for parameter in self.parameters]
        torch._foreach_lerp_(averages, [parameter.to_local() for parameter in self.parameters], 1 - decay)

    def averaged(self) -> AbstractContextManager[Denoiser | None]:
        return rebuilt(self, _whole({**self.own.state_dict(), **self.average}, self.accelerator.is_main_process))

    def state(self) -> dict[str, Any]:
        return _whole(super().state(), self.accelerator.is_main_process)

    @torch.no_grad()
    def load(self, state: Mapping[str, Any]) -> None:
        own = self.own.state_dict()
        self.own.load_state_dict({name: _split(value, own.get(name)) for name, value in state["network"].items()})
        self.adamw.load_state_dict(_split_optimizer(state["optimizer"], self.parameters))
        check_average(state["average"], {name: value.shape for name, value in self.average.items()})
        for name, value in state["average"].items():
            self.average[name].copy_(_split(value, self.average[name]))


def _unfit(why: str) -> InputError:
    return InputError(
        f"accelerate's FSDP cannot split the network as it is set ({why}); set fsdp_auto_wrap_policy to TRANSFORMER_BASED_WRAP "
        "without naming classes, and no fsdp_ignored_modules"
    )


@torch.no_grad()
def _whole(value: Any, keep: bool) -> Any:
    """Tensors in mappings and lists with what is split put together, on the CPU; None for that where not `keep`, which
    spares the memory. All processes must call it, with the same.
    """
    if isinstance(value, DTensor):
        found = value.to(value.device_mesh.device_type).full_tensor()  # offloaded weights have no way of their own
        return found.cpu() if keep else None
    if isinstance(value, Mapping):
        return {key: _whole(each, keep) for key, each in value.items()}
    if isinstance(value, list):
        return [_whole(each, keep) for each in value]
    return value


@torch.no_grad()
def _split(value: Tensor, like: Tensor | None) -> Tensor:
    """This process's part of a whole tensor, as `like` is split; the tensor itself where that is not, or is another shape."""
    if not isinstance(like, DTensor) or value.shape != like.shape:
        return value
    mesh = like.device_mesh
    # Each process takes its part of what it has read itself.
    return distribute_tensor(value.to(mesh.device_type), mesh, like.placements, src_data_rank=None).to(like.device)


def _split_optimizer(state: Mapping[str, Any], parameters: list[Tensor]) -> Mapping[str, Any]:
    """An optimizer's state for parameters in its groups' order."""
    like = dict(enumerate(parameters))
    values = {
        index: {
            key: _split(value, like.get(index)) if isinstance(value, Tensor) else value for key, value in each.items()
        }
        for index, each in state["state"].items()
    }
    return {**state, "state": values}
