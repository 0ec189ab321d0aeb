"""The command `mimaface` in several processes on CPUs, started by accelerate; with FSDP where that is asked for.

accelerate splits weights on accelerators alone and takes its settings for nothing elsewhere, so that its state is told
otherwise here; all else is its own and torch's, with gloo between the processes. Each makes sure that it is one of several.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

FSDP = ("--use_fsdp", "--fsdp_version", "2", "--fsdp_auto_wrap_policy", "TRANSFORMER_BASED_WRAP")


def launch(count: int, *words: Path | str, options: tuple[str, ...] = ("--multi_gpu",)) -> str:
    """Run the command in so many processes; what it said as errors, where it succeeded or `mimaface` refused."""
    start = ["-m", "accelerate.commands.launch", *options, "--num_processes", str(count), "--num_machines", "1"]
    start += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "MIMAFACE_CONFIG": "", "NO_COLOR": "1"}
    command = [sys.executable, *start, "-m", "tests.train.launched", str(count), *map(str, words)]
    ran = subprocess.run(command, env=os.environ | own, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0 or "mimaface:" in ran.stderr, ran.stderr
    return ran.stderr


def _run(count: int) -> None:
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType

    from mimaface_cli.__main__ import main
    from mimaface_cli.train import sharding

    begin, prepare = AcceleratorState.__init__, sharding.prepare

    def begin_split(self, *values, fsdp_plugin=None, **more) -> None:
        begin(self, *values, fsdp_plugin=fsdp_plugin, **more)
        if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
            if self._mixed_precision != "no":
                fsdp_plugin.set_mixed_precision(self._mixed_precision)
            self.fsdp_plugin = fsdp_plugin
            self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    def prepare_checked(accelerator, network, optimizer):
        weights = sum(parameter.numel() for parameter in network.parameters())
        prepared = prepare(accelerator, network, optimizer)
        assert accelerator.num_processes == count
        assert accelerator.is_fsdp2 == (os.environ.get("ACCELERATE_USE_FSDP") == "true")
        if accelerator.is_fsdp2:
            held = sum(part.numel() for part in sharding.locals_of(network.parameters()))
            assert held < 1.2 * weights / count, f"holds {held} of {weights} weights"
        return prepared

    AcceleratorState.__init__, sharding.prepare = begin_split, prepare_checked
    main()


if __name__ == "__main__":
    _run(int(sys.argv.pop(1)))
