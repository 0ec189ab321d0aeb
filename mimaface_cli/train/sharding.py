"""Weights that accelerate's FSDP splits among the processes: set up as we train, put together for all that is written."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from torch import Tensor, nn

from mimaface_cli.errors import InputError
from mimaface_cli.train.networks import Denoiser

if torch.distributed.is_available():
    from torch.distributed.tensor import DTensor, distribute_tensor
else:
    DTensor = ()  # nothing can be split then

_WRAPPERS = ("_checkpoint_wrapped_module.", "_orig_mod.")  # in names, where torch checkpoints or compiles a layer


def check_plugins() -> None:
    """Raises InputError where accelerate is set to split the weights in a way that no checkpoint is made of here."""
    for name, key in (("DeepSpeed", "DEEPSPEED"), ("Megatron-LM", "MEGATRON_LM")):
        if _is_set(key):
            raise InputError(
                f"accelerate is set to {name}, which is not supported; choose FSDP with fsdp_version 2 in accelerate config, "
                "or multi-GPU without it"
            )
    if _is_set("FSDP") and os.environ.get("FSDP_VERSION", "1") != "2":
        raise InputError("accelerate is set to FSDP of version 1, which is not supported; set fsdp_version to 2 in its config")
    for kind in ("TP", "CP", "SP") if _is_set("PARALLELISM_CONFIG") else ():
        if os.environ.get(f"PARALLELISM_CONFIG_{kind}_SIZE", "1") != "1":  # its processes would have to share samples
            raise InputError(
                f"accelerate is set to split samples or layers ({kind.lower()}_size), which is not supported; set that to 1 in "
                "its config"
            )


def _is_set(key: str) -> bool:
    return os.environ.get(f"ACCELERATE_USE_{key}", "false").lower() in ("true", "1")


def prepare(
    accelerator: Accelerator, network: Denoiser, optimizer: torch.optim.Optimizer
) -> tuple[nn.Module, AcceleratedOptimizer]:
    """accelerate's own, on its device. Split, the network's and the optimizer's parameters are others afterwards.

    Raises InputError where accelerate's config does not fit the network.
    """
    if not accelerator.is_fsdp2:
        return accelerator.prepare(network.to(accelerator.device), optimizer)
    plugin = accelerator.state.fsdp_plugin
    # Each process has read the weights anyway, and what spares it that has no place for a network's buffers.
    plugin.cpu_ram_efficient_loading = False
    if plugin.mixed_precision_policy is not None:
        # As without FSDP: autocast says what is computed in which type, and gradients are added up in full precision.
        plugin.mixed_precision_policy = replace(
            plugin.mixed_precision_policy, reduce_dtype=torch.float32, output_dtype=None, cast_forward_inputs=False
        )
        network.forward = accelerator.autocast()(network.forward)
    try:
        prepared = accelerator.prepare(network, optimizer)  # moves to the device what it splits, group by group
    except (ValueError, TypeError) as error:
        raise _unfit(" ".join(str(error).split())[:160]) from error
    if not all(isinstance(parameter, DTensor) for parameter in network.parameters()):
        raise _unfit("some weights are left out")
    return prepared


def _unfit(why: str) -> InputError:
    return InputError(
        f"accelerate's FSDP cannot split the network as it is set ({why}); set fsdp_auto_wrap_policy to TRANSFORMER_BASED_WRAP "
        "without naming classes, and no fsdp_ignored_modules"
    )


def names_of(network: nn.Module) -> dict[int, str]:
    """Of the parameters' ids, the names that they have in the state."""
    found = {}
    for name, parameter in network.named_parameters():
        for wrapper in _WRAPPERS:
            name = name.replace(wrapper, "")
        found[id(parameter)] = name
    return found


def locals_of(tensors: Iterable[Tensor]) -> list[Tensor]:
    """What this process holds of each, in its place: all of it where it is not split."""
    return [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors]


@torch.no_grad()
def mask(network: Denoiser, names: Mapping[int, str]) -> None:
    """The gradients of split weights as `Denoiser.train_partly` wants them: the parts are without its hooks."""
    parameters = {names[id(parameter)]: parameter for parameter in network.parameters()}
    for name, function in network.masks:
        if parameters[name].grad is not None:
            gradient = parameters[name].grad.to_local()  # whole rows: FSDP splits the outputs
            gradient.copy_(function(gradient))


@torch.no_grad()
def whole(value: Any, keep: bool) -> Any:
    """Tensors in mappings and lists with what is split put together, on the CPU; None for that where not `keep`, which
    spares the memory. All processes must call it, with the same."""
    if isinstance(value, DTensor):
        found = value.to(value.device_mesh.device_type).full_tensor()  # offloaded weights have no way of their own
        return found.cpu() if keep else None
    if isinstance(value, Mapping):
        return {key: whole(each, keep) for key, each in value.items()}
    if isinstance(value, list):
        return [whole(each, keep) for each in value]
    return value


@torch.no_grad()
def split(value: Tensor, like: Tensor | None) -> Tensor:
    """This process's part of a whole tensor, as `like` is split; the tensor itself where that is not, or is another shape."""
    if not isinstance(like, DTensor) or value.shape != like.shape:
        return value
    mesh = like.device_mesh
    # Each process takes its part of what it has read itself.
    return distribute_tensor(value.to(mesh.device_type), mesh, like.placements, src_data_rank=None).to(like.device)


def split_state(state: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """A network's or moving average's state."""
    if not any(isinstance(value, DTensor) for value in like.values()):
        return state
    return {key: split(value, like.get(key)) for key, value in state.items()}


def split_optimizer(state: Mapping[str, Any], parameters: list[Tensor]) -> Mapping[str, Any]:
    """An optimizer's state for parameters in its groups' order."""
    if not any(isinstance(parameter, DTensor) for parameter in parameters):
        return state
    like = dict(enumerate(parameters))
    values = {
        index: {key: split(value, like.get(index)) if isinstance(value, Tensor) else value for key, value in each.items()}
        for index, each in state["state"].items()
    }
    return {**state, "state": values}
