"""Run the command line in several processes on CPUs, started by accelerate, optionally with FSDP or DeepSpeed.

accelerate shards weights on GPUs only and ignores such settings on CPUs. So its state is patched here in every process.
Everything else is the real code of accelerate, torch and DeepSpeed, with gloo between the processes. Each process
checks that it is one of several.
"""

import math
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

FSDP = ("--use_fsdp", "--fsdp_version", "2", "--fsdp_auto_wrap_policy", "TRANSFORMER_BASED_WRAP")
ZERO = ("--use_deepspeed", "--zero_stage")
"""Options of DeepSpeed; append the stage, 1, 2 or 3."""


def launch(processes: int, *words: Path | str, options: tuple[str, ...] = ("--multi_gpu",), fails: bool = False) -> str:
    """Run a command line in several processes.

    Args:
        processes: Number of processes.
        words: The command line, without the program.
        options: Options of accelerate.
        fails: Whether the command must fail with an error message; otherwise it must succeed.

    Returns:
        The output on stderr.
    """
    command = [sys.executable, "-m", "accelerate.commands.launch", *options]
    command += ["--num_processes", str(processes), "--num_machines", "1", "--mixed_precision", "no"]
    command += ["--dynamo_backend", "no", "--main_process_port", "0"]
    command += ["-m", "tests.training.accelerate_launch", str(processes), *map(str, words)]
    environment = {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "MIMAFACE_CONFIG": "",
        "NO_COLOR": "1",
    }
    if "--use_deepspeed" in options:
        environment["DS_ACCELERATOR"] = "cpu"
    result = subprocess.run(
        command, env=os.environ | environment, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    if fails:
        assert "mimaface:" in result.stderr, result.stderr
    else:
        assert result.returncode == 0, result.stderr
    return result.stderr


def _run(processes: int) -> None:
    from mimaface_cli.__main__ import main
    from mimaface_cli.training import loop

    uses_deepspeed = os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true"
    uses_fsdp = os.environ.get("ACCELERATE_USE_FSDP") == "true"
    if uses_deepspeed:
        _enable_deepspeed()
    else:
        _enable_fsdp()
    create_train_state = loop.create_train_state

    def create_and_check(accelerator, network, *args):
        weights = sum(parameter.numel() for parameter in network.parameters())
        state = create_train_state(accelerator, network, *args)
        assert accelerator.num_processes == processes
        if accelerator.is_fsdp2:
            local = sum(part.to_local().numel() for part in network.parameters())
            assert local < 1.2 * weights / processes, f"has {local} of {weights} weights"
        expected = "ZeroTrainState" if uses_deepspeed else "FsdpTrainState" if uses_fsdp else "TrainState"
        assert type(state).__name__ == expected
        if uses_deepspeed:
            trained = sum(math.prod(getattr(weight, "ds_shape", weight.shape)) for weight in state.parameters)
            local = sum(piece.numel() for piece in state.average_pieces)
            assert local < 1.2 * trained / processes, f"averages {local} of {trained} weights"
        return state

    loop.create_train_state = create_and_check
    main()


def _enable_fsdp() -> None:
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType

    initialize = AcceleratorState.__init__

    def initialize_with_fsdp(self, *args, fsdp_plugin=None, **kwargs) -> None:
        initialize(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
            if self._mixed_precision != "no":
                fsdp_plugin.set_mixed_precision(self._mixed_precision)
            self.fsdp_plugin = fsdp_plugin
            self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    AcceleratorState.__init__ = initialize_with_fsdp


def _enable_deepspeed() -> None:
    from accelerate import Accelerator
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    initialize = Accelerator.__init__
    Accelerator.__init__ = lambda self, *, cpu, **kwargs: initialize(self, cpu=False, **kwargs)
    PartialState._prepare_backend = lambda self, *args, **kwargs: ("gloo", DistributedType.MULTI_CPU)


if __name__ == "__main__":
    _run(int(sys.argv.pop(1)))
