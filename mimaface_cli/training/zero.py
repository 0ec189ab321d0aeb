"""Weights that DeepSpeed's ZeRO splits among the processes (stages 1 to 3), put together for all that is written.

What AdamW works on lies in flat pieces of full precision, some in each process. How parameters lie in them is DeepSpeed's
affair: it gives and takes whole ones. Moments and moving average, pieces of the same order, go that way in the weights' place.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import deepspeed
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from deepspeed.utils import safe_get_full_fp32_param, safe_set_full_fp32_param, safe_set_local_fp32_param
from torch import Tensor, nn

from mimaface_cli.errors import InputError, brief
from mimaface_cli.training.config import Optimizer
from mimaface_cli.training.train_state import Trained, check_average, names_of, rebuilt
from mimaface_cli.training.trainables import Denoiser

_MOMENTS = ("exp_avg", "exp_avg_sq")


class ZeroTrained(Trained):
    """micro: samples that a process takes at once. average: this process's pieces, in the order of those of the weights."""

    def __init__(
        self, accelerator: Accelerator, own: Denoiser, groups: list[dict[str, Any]], settings: Optimizer, micro: int
    ):
        self.settings, self.micro = settings, micro
        super().__init__(accelerator, own, groups, settings)

    def _prepare(self) -> tuple[nn.Module, Any]:
        plugin = self.accelerator.deepspeed_plugin
        config, self.stage = plugin.deepspeed_config, plugin.deepspeed_config["zero_optimization"]["stage"]
        _check(config)
        if self.accelerator.mixed_precision == "bf16":
            # As without DeepSpeed: weights in full precision, and autocast says what is computed in which type. In stage 3
            # gathered weights go again, which autocast's copies would outlive.
            cast = torch.autocast(self.accelerator.device.type, torch.bfloat16, cache_enabled=self.stage != 3)
            self.own.forward = cast(self.own.forward)
        config |= {
            "bf16": {"enabled": False},
            "gradient_clipping": self.settings.clip_norm,
            "gradient_accumulation_steps": self.accelerator.gradient_accumulation_steps,
            "train_micro_batch_size_per_gpu": self.micro,
            "train_batch_size": self.settings.batch,
            "zero_force_ds_cpu_optimizer": False,  # AdamW is torch's, wherever it runs
        }
        # Afterwards AdamW knows the pieces only.
        self.parameters = [parameter for group in self.adamw.param_groups for parameter in group["params"]]
        self.groups = self.adamw.state_dict()["param_groups"]
        try:
            return self.accelerator.prepare(self.own, self.adamw)
        except (ValueError, AssertionError) as error:
            why = brief(error)
            raise InputError(f"DeepSpeed cannot split the network as it is set ({why}); change its config") from error

    def _begin(self) -> None:
        zero = self.optimizer.optimizer
        self.pieces = zero.fp32_partitioned_groups_flat if self.stage == 3 else zero.single_partition_of_fp32_groups
        self.names = names_of(self.own)
        self.average = self._copies()

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        torch._foreach_lerp_(self.average, self._data(), 1 - decay)

    def averaged(self) -> AbstractContextManager[Denoiser | None]:
        return rebuilt(self, {**self._network(), **self._whole(self.average)})

    def state(self) -> dict[str, Any]:
        found = [self.adamw.state[piece] for piece in self.pieces]
        moments = {key: self._whole([each[key] for each in found]) for key in _MOMENTS}
        step, names = found[0]["step"].cpu(), [self.names[id(parameter)] for parameter in self.parameters]
        optimizer = {
            "state": {
                index: {
                    "step": step.clone(),
                    **{key: values[name] for key, values in moments.items()},
                }  # to each its own
                for index, name in enumerate(names)
            },
            "param_groups": [{**group, "lr": now["lr"]} for group, now in zip(self.groups, self.adamw.param_groups)],
        }
        return {"network": self._network(), "average": self._whole(self.average), "optimizer": optimizer}

    @torch.no_grad()
    def load(self, state: Mapping[str, Any]) -> None:
        own = self.own.state_dict(keep_vars=True)
        if own.keys() != state["network"].keys() or any(state["network"][key].shape != _shape(own[key]) for key in own):
            raise ValueError("its weights have other names or shapes")
        shapes = {self.names[id(parameter)]: _shape(parameter) for parameter in self.parameters}
        check_average(state["average"], shapes)
        saved, names = state["optimizer"]["state"], list(shapes)
        moments = {key: {names[index]: each[key] for index, each in saved.items()} for key in _MOMENTS}
        for name, value in own.items():
            with deepspeed.zero.GatheredParameters(value, modifier_rank=0):
                value.data.copy_(state["network"][name])
        torch._foreach_copy_(self._data(), self._split(state["network"]))
        self.average = self._split(state["average"])
        for key in _MOMENTS if saved else ():
            for piece, value in zip(self.pieces, self._split(moments[key])):
                self.adamw.state[piece] |= {"step": next(iter(saved.values()))["step"].clone(), key: value}

    def _data(self) -> list[Tensor]:
        return [piece.data for piece in self.pieces]

    def _copies(self) -> list[Tensor]:
        return [piece.clone() for piece in self._data()]

    @contextmanager
    def _in_place_of_weights(self, values: list[Tensor]) -> Iterator[None]:
        """Pieces alike in their place, for what DeepSpeed does to weights only."""
        weights = self._copies()
        torch._foreach_copy_(self._data(), values)
        try:
            yield
        finally:
            torch._foreach_copy_(self._data(), weights)

    @torch.no_grad()
    def _whole(self, values: list[Tensor]) -> dict[str, Tensor | None]:
        """The trained parameters' names, and pieces put together, on the CPU of the main process alone."""
        with self._in_place_of_weights(values):
            return {self.names[id(each)]: self._kept(safe_get_full_fp32_param(each)) for each in self.parameters}

    def _split(self, values: Mapping[str, Tensor]) -> list[Tensor]:
        """Whole tensors of the trained parameters as this process's pieces; zero where there is none."""
        with self._in_place_of_weights([torch.zeros_like(piece) for piece in self._data()]):
            for parameter in self.parameters:
                value = values.get(self.names[id(parameter)])
                if value is None:
                    continue
                value = value.to(self.accelerator.device)
                if self.stage == 3:
                    count, first = (
                        parameter.ds_tensor.numel(),
                        parameter.ds_tensor.numel() * self.accelerator.process_index,
                    )
                    part = value.flatten()[first : first + count]
                    safe_set_local_fp32_param(parameter, F.pad(part, (0, count - part.numel())))
                else:
                    safe_set_full_fp32_param(parameter, value)
            return self._copies()

    @torch.no_grad()
    def _network(self) -> dict[str, Tensor | None]:
        """The state of the whole network, on the CPU of the main process alone."""
        found = {}
        for name, value in self.own.state_dict(keep_vars=True).items():
            with deepspeed.zero.GatheredParameters(value):
                found[name] = self._kept(value.detach())
        return found

    def _kept(self, value: Tensor) -> Tensor | None:
        return value.to("cpu", copy=True) if self.accelerator.is_main_process else None


def _shape(value: Tensor) -> torch.Size:
    return getattr(value, "ds_shape", value.shape)


def _check(config: Mapping[str, Any]) -> None:
    """Raises InputError for what the training sets itself, or cannot put together."""
    zero = config["zero_optimization"]
    devices = [(zero.get(key) or {}).get("device") for key in ("offload_optimizer", "offload_param")]
    for key, wrong, mend in (
        ("optimizer", "optimizer" in config, "leave it out: AdamW is set in the training's own config"),
        ("scheduler", "scheduler" in config, "leave it out: the rate is set in the training's own config"),
        ("zero_optimization.stage", zero["stage"] not in (1, 2, 3), "choose 1, 2 or 3, or multi-GPU without DeepSpeed"),
        ("fp16", (config.get("fp16") or {}).get("enabled") is True, 'set precision = "bf16"'),
        ("offload to nvme", "nvme" in devices, "offload to cpu"),
        ("mics_shard_size", (zero.get("mics_shard_size") or 0) > 0, "leave it out"),
    ):
        if wrong:
            raise InputError(f"DeepSpeed's config: {key} is not supported; {mend}")
