"""Training state with weights that DeepSpeed's ZeRO (stages 1 to 3) shards.

They are gathered for checkpoints.

DeepSpeed distributes the full-precision weights over the processes as flat tensors ("pieces"), which AdamW updates.
Only DeepSpeed knows the layout of the pieces, but it can read and write complete parameters. Moments and moving average
are pieces of the same layout. To gather or shard them, they temporarily replace the weights.
"""

from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import deepspeed
import torch
from accelerate import Accelerator
from deepspeed.utils import safe_get_full_fp32_param, safe_set_full_fp32_param, safe_set_local_fp32_param
from torch import Tensor, nn
from torch.nn import functional

from mimaface_cli.errors import InputError, brief
from mimaface_cli.training.config import OptimizerConfig
from mimaface_cli.training.denoiser import Denoiser
from mimaface_cli.training.train_state import TrainState, check_average, parameter_names, rebuilt_network

_MOMENTS = ("exp_avg", "exp_avg_sq")


class ZeroTrainState(TrainState):
    """Training state as pieces that are distributed over the processes.

    Weights, moments and moving average have the same layout.

    Args:
        accelerator: accelerate's state.
        network: The network.
        groups: AdamW's parameter groups.
        config: Configuration of the optimizer.
        micro: Samples that a process takes at once.

    Attributes:
        pieces: This process's pieces of the weights.
        average_pieces: This process's pieces of the moving average, in the same order.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        network: Denoiser,
        groups: list[dict[str, Any]],
        config: OptimizerConfig,
        micro: int,
    ) -> None:
        self.config, self.micro = config, micro
        super().__init__(accelerator, network, groups, config)

    def _prepare(self) -> tuple[nn.Module, Any]:
        plugin = self.accelerator.deepspeed_plugin
        config, self.stage = plugin.deepspeed_config, plugin.deepspeed_config["zero_optimization"]["stage"]
        _check_config(config)
        if self.accelerator.mixed_precision == "bf16":
            # As without DeepSpeed: weights in full precision, and autocast chooses the types of computations. In stage
            # 3 gathered weights are freed again, and autocast's cached copies would outlive them.
            cast = torch.autocast(self.accelerator.device.type, torch.bfloat16, cache_enabled=self.stage != 3)
            self.network.forward = cast(self.network.forward)  # type: ignore[method-assign]  # wraps one instance
        config |= {
            "bf16": {"enabled": False},
            "gradient_clipping": self.config.clip_norm,
            "gradient_accumulation_steps": self.accelerator.gradient_accumulation_steps,
            "train_micro_batch_size_per_gpu": self.micro,
            "train_batch_size": self.config.batch,
            "zero_force_ds_cpu_optimizer": False,  # Use torch's AdamW on CPUs, too.
        }
        # After the preparation, AdamW knows only the pieces.
        self.parameters = [parameter for group in self.adamw.param_groups for parameter in group["params"]]
        self.groups = self.adamw.state_dict()["param_groups"]
        try:
            return self.accelerator.prepare(self.network, self.adamw)
        except (ValueError, AssertionError) as error:
            raise InputError(
                f"DeepSpeed cannot shard the network as it is configured ({brief(error)}). Change its configuration."
            ) from error

    def _start_average(self) -> None:
        zero = self.optimizer.optimizer
        self.pieces = zero.fp32_partitioned_groups_flat if self.stage == 3 else zero.single_partition_of_fp32_groups
        self.names = parameter_names(self.network)
        self.average_pieces = self._copy_pieces()

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        """Move this process's pieces of the moving average toward the weights."""
        torch._foreach_lerp_(self.average_pieces, self._piece_data(), 1 - decay)

    def averaged_network(self) -> AbstractContextManager[Denoiser | None]:
        """Provide a complete network with the moving average as weights, in the main process."""
        return rebuilt_network(self, {**self._gather_network(), **self._gather(self.average_pieces)})

    def state_dict(self) -> dict[str, Any]:
        """Return the complete state; valid in the main process."""
        states = [self.adamw.state[piece] for piece in self.pieces]
        moments = {key: self._gather([state[key] for state in states]) for key in _MOMENTS}
        step, names = states[0]["step"].cpu(), [self.names[id(parameter)] for parameter in self.parameters]
        parameter_states = {
            index: {"step": step.clone(), **{key: values[name] for key, values in moments.items()}}
            for index, name in enumerate(names)
        }
        groups = zip(self.groups, self.adamw.param_groups, strict=True)
        optimizer = {
            "state": parameter_states,
            "param_groups": [{**group, "lr": current["lr"]} for group, current in groups],
        }
        average = self._gather(self.average_pieces)
        return {"network": self._gather_network(), "average": average, "optimizer": optimizer}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore this process's pieces from a complete state."""
        network = self.network.state_dict(keep_vars=True)
        saved_network = state["network"]
        if network.keys() != saved_network.keys() or any(
            saved_network[key].shape != _complete_shape(network[key]) for key in network
        ):
            raise ValueError("its weights have other names or shapes")
        shapes = {self.names[id(parameter)]: _complete_shape(parameter) for parameter in self.parameters}
        check_average(state["average"], shapes)
        saved, names = state["optimizer"]["state"], list(shapes)
        moments = {
            key: {names[index]: parameter_state[key] for index, parameter_state in saved.items()} for key in _MOMENTS
        }
        for name, value in network.items():
            with deepspeed.zero.GatheredParameters(value, modifier_rank=0):
                value.data.copy_(saved_network[name])
        torch._foreach_copy_(self._piece_data(), self._shard(saved_network))
        self.average_pieces = self._shard(state["average"])
        for key in _MOMENTS if saved else ():
            for piece, value in zip(self.pieces, self._shard(moments[key]), strict=True):
                self.adamw.state[piece] |= {"step": next(iter(saved.values()))["step"].clone(), key: value}

    def _piece_data(self) -> list[Tensor]:
        return [piece.data for piece in self.pieces]

    def _copy_pieces(self) -> list[Tensor]:
        return [piece.clone() for piece in self._piece_data()]

    @contextmanager
    def _replaced_weights(self, values: list[Tensor]) -> Generator[None, None, None]:
        """Replace the weights by pieces of the same layout, because DeepSpeed gathers and shards weights only."""
        weights = self._copy_pieces()
        torch._foreach_copy_(self._piece_data(), values)
        try:
            yield
        finally:
            torch._foreach_copy_(self._piece_data(), weights)

    @torch.no_grad()
    def _gather(self, pieces: list[Tensor]) -> dict[str, Tensor | None]:
        """Gather pieces as complete tensors of the trained parameters, on the CPU of the main process only."""
        with self._replaced_weights(pieces):
            return {
                self.names[id(parameter)]: self._in_main_process(safe_get_full_fp32_param(parameter))
                for parameter in self.parameters
            }

    def _shard(self, values: Mapping[str, Tensor]) -> list[Tensor]:
        """Return this process's pieces of complete tensors of the trained parameters; missing tensors are zero."""
        with self._replaced_weights([torch.zeros_like(piece) for piece in self._piece_data()]):
            for parameter in self.parameters:
                value = values.get(self.names[id(parameter)])
                if value is None:
                    continue
                value = value.to(self.accelerator.device)
                if self.stage == 3:
                    count = parameter.ds_tensor.numel()
                    first = count * self.accelerator.process_index
                    part = value.flatten()[first : first + count]
                    safe_set_local_fp32_param(parameter, functional.pad(part, (0, count - part.numel())))
                else:
                    safe_set_full_fp32_param(parameter, value)
            return self._copy_pieces()

    @torch.no_grad()
    def _gather_network(self) -> dict[str, Tensor | None]:
        """Gather the state dict of the whole network, on the CPU of the main process only."""
        state = {}
        for name, value in self.network.state_dict(keep_vars=True).items():
            with deepspeed.zero.GatheredParameters(value):
                state[name] = self._in_main_process(value.detach())
        return state

    def _in_main_process(self, value: Tensor) -> Tensor | None:
        """Return a copy on the CPU in the main process, None in the others."""
        return value.to("cpu", copy=True) if self.accelerator.is_main_process else None


def _complete_shape(value: Tensor) -> torch.Size:
    return getattr(value, "ds_shape", value.shape)


def _check_config(config: Mapping[str, Any]) -> None:
    """Check DeepSpeed's configuration.

    Raises:
        InputError: It sets something that the run's configuration sets, or that cannot be gathered.
    """
    zero = config["zero_optimization"]
    devices = [(zero.get(key) or {}).get("device") for key in ("offload_optimizer", "offload_param")]
    for key, is_unsupported, fix in (
        ("optimizer", "optimizer" in config, "Remove it: the run's configuration sets AdamW."),
        ("scheduler", "scheduler" in config, "Remove it: the run's configuration sets the learning rate."),
        (
            "zero_optimization.stage",
            zero["stage"] not in (1, 2, 3),
            "Choose 1, 2 or 3, or multi-GPU without DeepSpeed.",
        ),
        ("fp16", (config.get("fp16") or {}).get("enabled") is True, 'Set precision = "bf16".'),
        ("offload to nvme", "nvme" in devices, "Offload to cpu."),
        ("mics_shard_size", (zero.get("mics_shard_size") or 0) > 0, "Remove it."),
    ):
        if is_unsupported:
            raise InputError(f"DeepSpeed's configuration: {key} is not supported. {fix}")
