"""Choice of the training state by accelerate's configuration.

It is complete in each process, or sharded.
"""

import os
from importlib.util import find_spec
from typing import Any

from accelerate import Accelerator
from accelerate.utils import DistributedType

from mimaface_cli.errors import InputError
from mimaface_cli.training.config import OptimizerConfig
from mimaface_cli.training.denoiser import Denoiser
from mimaface_cli.training.train_state import TrainState


def check_accelerate_config() -> None:
    """Check that accelerate's configuration supports checkpoints.

    accelerate's launcher puts the configuration in the environment.

    Raises:
        InputError: It shards weights, layers or samples in an unsupported way, or needs a package that is missing.
    """
    if _is_enabled("MEGATRON_LM"):
        raise InputError(
            "accelerate is set to Megatron-LM, which is not supported. Choose FSDP with fsdp_version 2 or DeepSpeed in "
            "accelerate config, or multi-GPU without them."
        )
    if _is_enabled("DEEPSPEED") and find_spec("deepspeed") is None:
        raise InputError(
            "accelerate is set to DeepSpeed, which is not installed. Run pip install 'mimaface[deepspeed]'."
        )
    if _is_enabled("FSDP") and os.environ.get("FSDP_VERSION", "1") != "2":
        raise InputError(
            "accelerate is set to FSDP of version 1, which is not supported. Set fsdp_version = 2 in its configuration."
        )
    for kind in ("TP", "CP", "SP") if _is_enabled("PARALLELISM_CONFIG") else ():
        if (
            os.environ.get(f"PARALLELISM_CONFIG_{kind}_SIZE", "1") != "1"
        ):  # Several processes would have to share a sample.
            raise InputError(
                f"accelerate is set to split samples or layers ({kind.lower()}_size), which is not supported. Set that "
                "to 1 in its configuration."
            )


def _is_enabled(plugin: str) -> bool:
    return os.environ.get(f"ACCELERATE_USE_{plugin}", "false").lower() in ("true", "1")


def create_train_state(
    accelerator: Accelerator, network: Denoiser, groups: list[dict[str, Any]], config: OptimizerConfig, micro: int
) -> TrainState:
    """Create the training state that accelerate is configured for, on its device.

    Args:
        accelerator: accelerate's state.
        network: The network.
        groups: AdamW's parameter groups.
        config: Configuration of the optimizer.
        micro: Samples that a process takes at once.

    Raises:
        InputError: accelerate's configuration does not suit the network.
    """
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        from mimaface_cli.training.zero_state import ZeroTrainState

        return ZeroTrainState(accelerator, network, groups, config, micro)
    if accelerator.is_fsdp2:
        from mimaface_cli.training.fsdp_state import FsdpTrainState

        return FsdpTrainState(accelerator, network, groups, config)
    return TrainState(accelerator, network, groups, config)
