"""Training state with weights that accelerate's FSDP 2 shards among the processes.

They are gathered for checkpoints.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from mimaface_cli.errors import InputError, brief
from mimaface_cli.training.denoiser import Denoiser
from mimaface_cli.training.train_state import TrainState, check_average, rebuilt_network


class FsdpTrainState(TrainState):
    """Training state whose parameters, moments and moving average are DTensors."""

    def _prepare(self) -> tuple[nn.Module, Any]:
        plugin = self.accelerator.state.fsdp_plugin
        # Each process has read the weights anyway, and memory-efficient loading does not support a network's buffers.
        plugin.cpu_ram_efficient_loading = False
        if plugin.mixed_precision_policy is not None:
            # As without FSDP: autocast chooses the types of computations, and gradients are summed in full precision.
            plugin.mixed_precision_policy = replace(
                plugin.mixed_precision_policy, reduce_dtype=torch.float32, output_dtype=None, cast_forward_inputs=False
            )
            autocast = self.accelerator.autocast()
            self.network.forward = autocast(self.network.forward)  # type: ignore[method-assign]  # wraps one instance
        try:
            # This also moves the shards to the device, group by group.
            prepared = self.accelerator.prepare(self.network, self.adamw)
        except (ValueError, TypeError) as error:
            raise _sharding_error(brief(error)) from error
        if not all(isinstance(parameter, DTensor) for parameter in self.network.parameters()):
            raise _sharding_error("some weights are not sharded")
        return prepared

    @torch.no_grad()
    def mask_gradients(self) -> None:
        """Apply the gradient masks: the shards have no hooks."""
        parameters = {self.names[id(parameter)]: parameter for parameter in self.network.parameters()}
        for name, mask in self.network.gradient_masks:
            gradient = parameters[name].grad
            if isinstance(gradient, DTensor):
                shard = gradient.to_local()  # Whole rows, because FSDP shards along the outputs.
                shard.copy_(mask(shard))

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        """Move this process's shards of the moving average toward the weights."""
        averages = [_local(self.average[self.names[id(parameter)]]) for parameter in self.parameters]
        torch._foreach_lerp_(averages, [_local(parameter) for parameter in self.parameters], 1 - decay)

    def averaged_network(self) -> AbstractContextManager[Denoiser | None]:
        """Provide a complete network with the moving average as weights, in the main process."""
        state = _gather({**self.network.state_dict(), **self.average}, self.accelerator.is_main_process)
        return rebuilt_network(self, state)

    def state_dict(self) -> dict[str, Any]:
        """Return the complete state; valid in the main process."""
        return _gather(super().state_dict(), self.accelerator.is_main_process)

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore this process's shards from a complete state."""
        network = self.network.state_dict()
        shards = {name: _shard_like(value, network.get(name)) for name, value in state["network"].items()}
        self.network.load_state_dict(shards)
        self.adamw.load_state_dict(_shard_optimizer(state["optimizer"], self.parameters))
        check_average(state["average"], {name: value.shape for name, value in self.average.items()})
        for name, value in state["average"].items():
            self.average[name].copy_(_shard_like(value, self.average[name]))


def _sharding_error(reason: str) -> InputError:
    return InputError(
        f"accelerate's FSDP cannot shard the network as it is configured ({reason}). Set fsdp_auto_wrap_policy to "
        "TRANSFORMER_BASED_WRAP without naming classes, and no fsdp_ignored_modules."
    )


def _local(value: Tensor) -> Tensor:
    """Return this process's shard."""
    return value.to_local() if isinstance(value, DTensor) else value


@torch.no_grad()
def _gather(value: Any, keep: bool) -> Any:
    """Gather the sharded tensors in nested mappings and lists, on the CPU.

    All processes must call it with the same structure.

    Args:
        value: Mappings, lists, tensors and plain values.
        keep: False returns None for each sharded tensor, which saves memory.
    """
    if isinstance(value, DTensor):
        # Offloaded weights must move to the device first: the CPU has no way to gather them.
        on_device: Any = value.to(value.device_mesh.device_type)
        complete = on_device.full_tensor()
        return complete.cpu() if keep else None
    if isinstance(value, Mapping):
        return {key: _gather(item, keep) for key, item in value.items()}
    if isinstance(value, list):
        return [_gather(item, keep) for item in value]
    return value


@torch.no_grad()
def _shard_like(value: Tensor, like: Tensor | None) -> Tensor:
    """Return this process's shard of a complete tensor, sharded as `like` is.

    If `like` is not sharded or has another shape, return the tensor itself.
    """
    if not isinstance(like, DTensor) or value.shape != like.shape:
        return value
    mesh = like.device_mesh
    # src_data_rank=None: each process takes its shard of its copy of the tensor.
    return distribute_tensor(value.to(mesh.device_type), mesh, like.placements, src_data_rank=None).to(like.device)


def _shard_optimizer(state: Mapping[str, Any], parameters: list[Tensor]) -> dict[str, Any]:
    """Shard an optimizer's state for parameters in the order of its groups."""
    like = dict(enumerate(parameters))
    values = {
        index: {
            key: _shard_like(value, like.get(index)) if isinstance(value, Tensor) else value
            for key, value in parameter_state.items()
        }
        for index, parameter_state in state["state"].items()
    }
    return {**state, "state": values}
