"""Which way the weights are kept: whole, or split among the processes as accelerate is set."""

import os
from importlib.util import find_spec
from typing import Any

from accelerate import Accelerator
from accelerate.utils import DistributedType

from mimaface_cli.errors import InputError
from mimaface_cli.training.config import Optimizer
from mimaface_cli.training.train_state import Trained
from mimaface_cli.training.trainables import Denoiser


def check_plugins() -> None:
    """Raises InputError where accelerate is set to split the weights in a way that no checkpoint is made of here."""
    if _is_set("MEGATRON_LM"):
        raise InputError(
            "accelerate is set to Megatron-LM, which is not supported; choose FSDP with fsdp_version 2 or DeepSpeed in "
            "accelerate config, or multi-GPU without them"
        )
    if _is_set("DEEPSPEED") and find_spec("deepspeed") is None:
        raise InputError("accelerate is set to DeepSpeed, which is not installed; pip install 'mimaface[deepspeed]'")
    if _is_set("FSDP") and os.environ.get("FSDP_VERSION", "1") != "2":
        raise InputError(
            "accelerate is set to FSDP of version 1, which is not supported; set fsdp_version to 2 in its config"
        )
    for kind in ("TP", "CP", "SP") if _is_set("PARALLELISM_CONFIG") else ():
        if os.environ.get(f"PARALLELISM_CONFIG_{kind}_SIZE", "1") != "1":  # its processes would have to share samples
            raise InputError(
                f"accelerate is set to split samples or layers ({kind.lower()}_size), which is not supported; set that to 1 in "
                "its config"
            )


def _is_set(key: str) -> bool:
    return os.environ.get(f"ACCELERATE_USE_{key}", "false").lower() in ("true", "1")


def make_trained(
    accelerator: Accelerator, network: Denoiser, groups: list[dict[str, Any]], settings: Optimizer, micro: int
) -> Trained:
    """On accelerate's device. groups: AdamW's. micro: samples that a process takes at once. Raises InputError."""
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        from mimaface_cli.training.zero import ZeroTrained

        return ZeroTrained(accelerator, network, groups, settings, micro)
    if accelerator.is_fsdp2:
        from mimaface_cli.training.fsdp import FsdpTrained

        return FsdpTrained(accelerator, network, groups, settings)
    return Trained(accelerator, network, groups, settings)
