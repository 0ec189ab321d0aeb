"""The command `mimaface` in several processes on CPUs, started by accelerate; with FSDP or DeepSpeed where that is asked for.

accelerate splits weights on accelerators alone and takes its settings for nothing elsewhere, so that its state is told
otherwise here; all else is its own, torch's and DeepSpeed's, with gloo between the processes. Each makes sure that it is one
of several.
"""

import math
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

FSDP = ("--use_fsdp", "--fsdp_version", "2", "--fsdp_auto_wrap_policy", "TRANSFORMER_BASED_WRAP")
ZERO = ("--use_deepspeed", "--zero_stage")  # and 1, 2 or 3


def launch(count: int, *words: Path | str, options: tuple[str, ...] = ("--multi_gpu",), refused: bool = False) -> str:
    """Run the command in so many processes; what it said as errors, where it succeeded, or `mimaface` `refused`."""
    start = ["-m", "accelerate.commands.launch", *options, "--num_processes", str(count), "--num_machines", "1"]
    start += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    own = {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "MIMAFACE_CONFIG": "",
        "NO_COLOR": "1",
    }
    own |= {"DS_ACCELERATOR": "cpu"} if "--use_deepspeed" in options else {}
    command = [sys.executable, *start, "-m", "tests.training.launched", str(count), *map(str, words)]
    ran = subprocess.run(command, env=os.environ | own, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert "mimaface:" in ran.stderr if refused else ran.returncode == 0, ran.stderr
    return ran.stderr


def _run(count: int) -> None:
    from mimaface_cli.__main__ import main
    from mimaface_cli.training import loop as run

    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
        _take_deepspeed()
    else:
        _take_fsdp()
    make = run.create_train_state

    def make_checked(accelerator, network, *values):
        weights = sum(parameter.numel() for parameter in network.parameters())
        trained = make(accelerator, network, *values)
        assert accelerator.num_processes == count
        if accelerator.is_fsdp2:
            held = sum(part.to_local().numel() for part in network.parameters())
            assert held < 1.2 * weights / count, f"holds {held} of {weights} weights"
        kinds = {"ACCELERATE_USE_FSDP": "FsdpTrainState", "ACCELERATE_USE_DEEPSPEED": "ZeroTrainState"}
        asked = [kind for key, kind in kinds.items() if os.environ.get(key) == "true"]
        assert type(trained).__name__ == (asked or ["TrainState"])[0]
        if asked == ["ZeroTrainState"]:
            learning = sum(math.prod(getattr(each, "ds_shape", each.shape)) for each in trained.parameters)
            held = sum(piece.numel() for piece in trained.average_pieces)
            assert held < 1.2 * learning / count, f"averages {held} of {learning} weights"
        return trained

    run.create_train_state = make_checked
    main()


def _take_fsdp() -> None:
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType

    begin = AcceleratorState.__init__

    def begin_split(self, *values, fsdp_plugin=None, **more) -> None:
        begin(self, *values, fsdp_plugin=fsdp_plugin, **more)
        if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
            if self._mixed_precision != "no":
                fsdp_plugin.set_mixed_precision(self._mixed_precision)
            self.fsdp_plugin = fsdp_plugin
            self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    AcceleratorState.__init__ = begin_split


def _take_deepspeed() -> None:
    from accelerate import Accelerator
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    begin = Accelerator.__init__
    Accelerator.__init__ = lambda self, *, cpu, **more: begin(self, cpu=False, **more)
    PartialState._prepare_backend = lambda self, *values, **more: ("gloo", DistributedType.MULTI_CPU)


if __name__ == "__main__":
    _run(int(sys.argv.pop(1)))
