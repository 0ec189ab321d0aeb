"""The training loop of one stage on accelerate.

It includes the moving average, the loss log, checkpoints and exact resume.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from filelock import FileLock, Timeout
from torch import Tensor, nn

from mimaface_cli.engines.diffusion.device import is_out_of_memory, send
from mimaface_cli.errors import InputError, OutputError, WeightsError, brief
from mimaface_cli.files import output_error
from mimaface_cli.progress import ProgressCallback, ignore_progress
from mimaface_cli.training.config import OptimizerConfig, TrainingConfig
from mimaface_cli.training.denoiser import Denoiser
from mimaface_cli.training.initialization import describe_network
from mimaface_cli.training.loss_log import LossLog
from mimaface_cli.training.losses import MemoryBank
from mimaface_cli.training.objective import SAMPLE_NUMBER
from mimaface_cli.training.parallelism import check_accelerate_config, create_train_state
from mimaface_cli.training.run_checkpoints import (
    list_checkpoints,
    read_checkpoint,
    remove_partial_checkpoints,
    write_checkpoint,
)
from mimaface_cli.training.tensorboard import TensorboardLog, check_tensorboard
from mimaface_cli.training.train_state import TrainState
from mimaface_cli.training.validation import Validator
from mimaface_cli.training.validation_log import discard_validations_after, write_validation

LOG_EVERY = 20
"""Steps between writes of the loss log."""

Batch = dict[str, Tensor]
Losses = dict[str, Tensor]
LossFunction = Callable[[nn.Module, Batch], Losses]
"""Called with the network, as accelerate wraps it, and a micro-batch; returns the losses to add up, by name."""


@dataclass
class TrainingRun:
    """The run of one stage in this process.

    Attributes:
        name: Name of the stage, "image" or "video".
        config: The run's configuration.
        optimizer: The configuration of the stage's optimizer.
        network: The network to train.
        groups: AdamW's parameter groups.
        bank: The memory bank of stage 1, which checkpoints include.
        progress: Called in the main process with the stage's name, the completed steps and all steps.
        validator: Validates on held-out people, or None.
        tensorboard: Event files, or None if the configuration does not enable them.
        folder: Folder of the stage's checkpoints and logs.
        step: Completed steps.
        micro: Samples that a process takes at once.

    Raises:
        InputError: accelerate's configuration is not supported, a package is missing, or the batch cannot be divided
            among the processes.
    """

    name: str
    config: TrainingConfig
    optimizer: OptimizerConfig
    network: Denoiser
    groups: list[dict[str, Any]]
    bank: MemoryBank | None = None
    progress: ProgressCallback = ignore_progress
    validator: Validator | None = None
    tensorboard: TensorboardLog | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.folder = Path(self.config.output) / self.name
        self.step = 0
        self.loss_log = LossLog(self.folder)
        self._unlogged: list[tuple[int, Losses]] = []
        check_accelerate_config()
        if self.config.tensorboard:
            check_tensorboard()
        # Without an explicit cpu=True, accelerate does not join several processes on CPUs to one run.
        cpu = not torch.accelerator.is_available()
        self.accelerator = Accelerator(cpu=cpu, mixed_precision=self.config.precision or None)
        if not self.accelerator.is_main_process:
            self.progress = ignore_progress
        processes = self.accelerator.num_processes
        self.micro = self.optimizer.micro or self.optimizer.batch // processes
        samples_at_once = self.micro * processes
        if not self.micro or self.optimizer.batch % samples_at_once:
            raise InputError(
                f"{self.name}.optimizer.batch: {self.optimizer.batch} samples cannot be divided among {processes} "
                f"processes by {self.micro or 1} at once. Change batch or micro."
            )
        self.accelerator.gradient_accumulation_steps = self.optimizer.batch // samples_at_once

    @property
    def device(self) -> torch.device:
        """This process's device."""
        return self.accelerator.device

    def train(self, batches: Callable[["TrainingRun"], Iterator[Batch]], losses: LossFunction) -> None:
        """Train to the last step, resuming at the last checkpoint if there is one.

        Args:
            batches: Called with this run after the resume; yields the process's micro-batches from `step` on.
            losses: Computes the losses of a micro-batch.

        Raises:
            InputError: Out of memory, or a loss is NaN or Inf.
            WeightsError: The checkpoint does not match the configured model.
            OutputError: The output cannot be written, or another run uses it.
        """
        with ExitStack() as stack:
            if self.accelerator.is_main_process:
                self._lock_folder(stack)
                stack.callback(self._close_tensorboard)
            self.accelerator.wait_for_everyone()
            stack.enter_context(
                report_full_memory(
                    self.device,
                    f"Set micro in [{self.name}.optimizer] below {self.micro}, or use "
                    'precision = "bf16" and gradient_checkpointing = true.',
                )
            )
            self._train(batches, losses)

    def _lock_folder(self, stack: ExitStack) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(self.folder / ".train.lock", timeout=0))
        except Timeout as error:
            raise OutputError(
                f"{self.folder}: another run trains there. Wait for it, or choose another output."
            ) from error
        except OSError as error:
            raise output_error(self.folder, error) from error

    def _close_tensorboard(self) -> None:
        if self.tensorboard is not None:
            self.tensorboard.close()

    def _train(self, batches: Callable[["TrainingRun"], Iterator[Batch]], losses: LossFunction) -> None:
        state = create_train_state(self.accelerator, self.network, self.groups, self.optimizer, self.micro)
        self._resume(state)
        if self.config.tensorboard and self.accelerator.is_main_process:
            self.tensorboard = TensorboardLog(self.folder, self.step)
        micro_losses: list[Losses] = []
        self.progress(self.name, self.step, self.optimizer.steps)
        for batch in batches(self):
            micro_losses.append(self._train_micro_batch(state, send_batch(batch, self.device), losses))
            if self.accelerator.sync_gradients:
                self._finish_step(state, micro_losses)
                micro_losses = []
        self.accelerator.wait_for_everyone()

    def _train_micro_batch(self, state: TrainState, batch: Batch, losses: LossFunction) -> Losses:
        """Run forward and backward pass and, with the last micro-batch of a step, the optimizer; return the losses."""
        for group in state.optimizer.param_groups:
            group["lr"] = self.optimizer.rate(self.step)
        with self.accelerator.accumulate(state.module):
            parts = losses(state.module, batch)
            self.accelerator.backward(sum(parts.values()))  # With DeepSpeed, this includes the optimizer step.
            if self.accelerator.sync_gradients:
                state.mask_gradients()
                if self.optimizer.clip_norm:
                    self.accelerator.clip_grad_norm_(state.parameters, self.optimizer.clip_norm)
            state.optimizer.step()
            state.optimizer.zero_grad()
        return {name: value.detach() for name, value in parts.items()}

    def _finish_step(self, state: TrainState, micro_losses: list[Losses]) -> None:
        """Update the moving average; log, validate and save if they are due."""
        ema, steps = self.optimizer.ema, self.optimizer.steps
        # The moving average forgets faster at the beginning.
        state.update_average(min(ema, (self.step + 1) / (self.step + 10)) if ema else 0.0)
        self.step += 1
        means = {name: torch.stack([losses[name] for losses in micro_losses]).mean() for name in micro_losses[0]}
        self._unlogged.append((self.step, means))
        if self.tensorboard is not None:
            self.tensorboard.log_losses(self.step, {"learning_rate": self.optimizer.rate(self.step - 1)})
        is_saved = self.step % self.config.save_every == 0 or self.step == steps
        if is_saved or len(self._unlogged) == LOG_EVERY:
            self._log_losses()
        if self.validator is not None and self.validator.is_due(self.step, steps):
            # Before the checkpoint: a run that resumes there would not repeat the validation.
            self._validate(self.validator, state)
        if is_saved:
            self._save(state)
        self.progress(self.name, self.step, steps)

    def _validate(self, validator: Validator, state: TrainState) -> None:
        """Validate the moving average in the main process while the others wait."""
        with state.averaged_network() as network:
            if network is not None:
                result = validator.validate(network, self.step)
                write_validation(self.folder, result)
                if self.tensorboard is not None:
                    self.tensorboard.log_validation(result)
        self.accelerator.wait_for_everyone()

    def _log_losses(self) -> None:
        """Log the losses of the last steps, averaged over all processes.

        Raises:
            InputError: A loss is NaN or Inf.
        """
        names, steps = list(self._unlogged[0][1]), [step for step, _ in self._unlogged]
        table = torch.stack([torch.stack(list(losses.values())) for _, losses in self._unlogged])
        self._unlogged.clear()
        means = self.accelerator.reduce(table, "mean").tolist()
        rows = list(zip(steps, means, strict=True))
        for step, values in rows:
            if not all(_is_finite(value) for value in values):
                raise InputError(
                    f"{self.name}: the loss is NaN or Inf at step {step}. Lower learning_rate in "
                    f'[{self.name}.optimizer], or set precision = "bf16". The run resumes at its last checkpoint.'
                )
        if self.tensorboard is not None:
            for step, values in rows:
                self.tensorboard.log_losses(step, dict(zip(names, values, strict=True)))
        if self.accelerator.is_main_process:
            self.loss_log.append(names, rows)

    def _save(self, state: TrainState) -> None:
        weights = state.state_dict()  # In all processes, because gathering needs them.
        if not self.accelerator.is_main_process:
            return
        if self.tensorboard is not None:
            self.tensorboard.flush()
        scaler = self.accelerator.scaler
        content = {
            **describe_network(self.network),
            **weights,
            "step": self.step,
            "bank": None if self.bank is None else self.bank.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
        }
        write_checkpoint(self.folder, content, self.config.keep)

    def _resume(self, state: TrainState) -> None:
        """Load the last checkpoint, and remove later entries from the logs."""
        paths = list_checkpoints(self.folder)
        if not paths:
            if self.accelerator.is_main_process:
                self.loss_log.clear()
                discard_validations_after(self.folder, 0)
            return
        saved = read_checkpoint(paths[-1])
        try:
            state.load_state_dict(saved)
            if self.bank is not None:
                self.bank.load_state_dict(saved["bank"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise WeightsError(
                f"{paths[-1]}: does not match the configured model ({brief(error)}). Restore the configuration, or "
                "choose another output."
            ) from error
        self.step = saved["step"]
        if saved["scaler"] and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(saved["scaler"])
        if self.accelerator.is_main_process:
            remove_partial_checkpoints(self.folder)
            self.loss_log.discard_after(self.step)
            discard_validations_after(self.folder, self.step)


@contextmanager
def report_full_memory(device: torch.device, advice: str) -> Iterator[None]:
    """Report memory that runs out in the block as an InputError with advice."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(f"{device}: out of memory. {advice}") from error


def send_batch(batch: Batch, device: torch.device) -> Batch:
    """Move a micro-batch to the device without waiting; what only seeds random generators stays on the host."""
    return {key: value if key == SAMPLE_NUMBER else send(value, device) for key, value in batch.items()}


def _is_finite(value: float) -> bool:
    return abs(value) < float("inf")
