"""One stage's training on accelerate: steps, moving average, a CSV of losses, checkpoints, and going on exactly."""

import csv
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from filelock import FileLock, Timeout
from torch import Tensor

from mimaface_cli.engines.diffusion.runtime import is_out_of_memory
from mimaface_cli.errors import InputError, OutputError, WeightsError, brief
from mimaface_cli.files import atomic_path, output_error, remove_partial_files
from mimaface_cli.training.config import Config, Optimizer
from mimaface_cli.training.initialization import Built, describe
from mimaface_cli.training.losses import MemoryBank
from mimaface_cli.training.sharding import check_plugins, make_trained
from mimaface_cli.training.tensorboard import Tracker, check_tensorboard
from mimaface_cli.training.train_state import Trained
from mimaface_cli.training.trainables import Denoiser
from mimaface_cli.training.validation import Validator, forget_after, write_look

LOSSES = "losses.csv"
FLUSH = 20  # steps between writings of the CSV
Report = Callable[[str, int, int | None], None]
Losses = Callable[[Denoiser, dict[str, Tensor]], dict[str, Tensor]]


@dataclass
class Run:
    """name: image or video. folder: of its checkpoints and losses. groups: AdamW's parameter groups. bank: of stage 1.

    validator: looks at it every so often, or None.
    """

    name: str
    config: Config
    optimizer: Optimizer
    network: Denoiser
    groups: list[dict[str, Any]]
    bank: MemoryBank | None = None
    report: Report = lambda stage, done, total: None
    validator: Validator | None = None
    tracker: Tracker | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.folder = Path(self.config.output) / self.name
        self.step = 0
        check_plugins()
        if self.config.tensorboard:
            check_tensorboard()
        # Asked for by name, for accelerate makes several processes on CPUs one run only then.
        cpu = not torch.accelerator.is_available()
        self.accelerator = Accelerator(cpu=cpu, mixed_precision=self.config.precision or None)
        if not self.accelerator.is_main_process:
            self.report = lambda stage, done, total: None
        processes = self.accelerator.num_processes
        self.micro = self.optimizer.micro or self.optimizer.batch // processes
        turn = self.micro * processes
        if not self.micro or self.optimizer.batch % turn:
            raise InputError(
                f"{self.name}.optimizer.batch: {self.optimizer.batch} samples cannot be shared out to {processes} processes "
                f"by {self.micro or 1} at once; change batch or micro"
            )
        self.accelerator.gradient_accumulation_steps = self.optimizer.batch // turn

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    def train(self, batches: Callable[["Run"], Iterator[dict[str, Tensor]]], losses: Losses) -> None:
        """Run to the last step, from the last checkpoint where there is one. losses: parts that are added up.

        Raises InputError (no memory, loss not finite), WeightsError (a checkpoint of another size), OutputError.
        """
        with ExitStack() as stack:
            if self.accelerator.is_main_process:
                self._claim(stack)
                stack.callback(lambda: self.tracker and self.tracker.close())
            self.accelerator.wait_for_everyone()
            try:
                self._train(batches, losses)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                raise InputError(
                    f"{self.device}: out of memory; set micro in [{self.name}.optimizer] below {self.micro}, or use "
                    'precision = "bf16" and gradient_checkpointing = true'
                ) from error

    def _claim(self, stack: ExitStack) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(self.folder / ".train.lock", timeout=0))
        except Timeout as error:
            raise OutputError(
                f"{self.folder}: another run trains there; wait for it, or choose another output"
            ) from error
        except OSError as error:
            raise output_error(self.folder, error) from error

    def _train(self, batches: Callable[["Run"], Iterator[dict[str, Tensor]]], losses: Losses) -> None:
        accelerator, steps = self.accelerator, self.optimizer.steps
        trained = make_trained(accelerator, self.network, self.groups, self.optimizer, self.micro)
        self._resume(trained)
        if self.config.tensorboard and accelerator.is_main_process:
            self.tracker = Tracker(self.folder, self.step)
        rows: list[tuple[int, dict[str, Tensor]]] = []
        parts: list[dict[str, Tensor]] = []
        self.report(self.name, self.step, steps)
        for batch in batches(self):
            batch = {key: value.to(self.device, non_blocking=True) for key, value in batch.items()}
            for group in trained.optimizer.param_groups:
                group["lr"] = self.optimizer.rate(self.step)
            with accelerator.accumulate(trained.module):
                part = losses(trained.module, batch)
                accelerator.backward(sum(part.values()))  # with DeepSpeed that is the step, too
                if accelerator.sync_gradients:
                    trained.mask()
                    if self.optimizer.clip_norm:
                        accelerator.clip_grad_norm_(trained.parameters, self.optimizer.clip_norm)
                trained.optimizer.step()
                trained.optimizer.zero_grad()
            parts.append({key: value.detach() for key, value in part.items()})
            if not accelerator.sync_gradients:
                continue
            # At the beginning the moving average forgets faster.
            trained.follow(min(self.optimizer.ema, (self.step + 1) / (self.step + 10)) if self.optimizer.ema else 0.0)
            self.step += 1
            rows.append((self.step, {key: torch.stack([each[key] for each in parts]).mean() for key in parts[0]}))
            parts.clear()
            if self.tracker is not None:
                self.tracker.losses(self.step, {"learning_rate": self.optimizer.rate(self.step - 1)})
            keep = self.step % self.config.save_every == 0 or self.step == steps
            if keep or len(rows) == FLUSH:
                self._write(rows)
            if self.validator is not None and self.validator.due(self.step, steps):
                self._validate(trained)  # before the checkpoint, which no look may then follow
            if keep:
                self._save(trained)
            self.report(self.name, self.step, steps)
        accelerator.wait_for_everyone()

    def _validate(self, trained: Trained) -> None:
        """The main process looks at the moving average while the others wait."""
        with trained.averaged() as network:
            if network is not None:
                self._look(network)
        self.accelerator.wait_for_everyone()

    def _look(self, network: Denoiser) -> None:
        look = self.validator.look(network, self.step)
        write_look(self.folder, look)
        if self.tracker is not None:
            self.tracker.look(look)

    def _write(self, rows: list[tuple[int, dict[str, Tensor]]]) -> None:
        """Add the steps' losses, each the mean over all processes, to the CSV. Raises InputError where one is no number."""
        means = self.accelerator.reduce(
            torch.stack([torch.stack(list(row.values())) for _, row in rows]), "mean"
        ).tolist()
        header, numbers = ["step", *rows[0][1]], [step for step, _ in rows]
        lines = [(step, *(f"{value:.7g}" for value in values)) for step, values in zip(numbers, means)]
        bad = next((step for step, values in zip(numbers, means) if not all(map(_is_finite, values))), None)
        rows.clear()
        if bad is not None:
            raise InputError(
                f"{self.name}: the loss is no number at step {bad}; lower learning_rate in [{self.name}.optimizer], or set "
                'precision = "bf16"; the last checkpoint is kept'
            )
        if self.tracker is not None:
            for step, values in zip(numbers, means):
                self.tracker.losses(step, dict(zip(header[1:], values)))
        if self.accelerator.is_main_process:
            path = self.folder / LOSSES
            new = not path.exists()
            with path.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerows([header, *lines] if new else lines)

    def _save(self, trained: Trained) -> None:
        """A checkpoint, whole or not at all; the oldest beyond those to keep go."""
        weights = trained.state()
        if not self.accelerator.is_main_process:
            return
        if self.tracker is not None:
            self.tracker.flush()
        scaler = self.accelerator.scaler
        state = {
            **describe(self.network),
            **weights,
            "step": self.step,
            "bank": None if self.bank is None else self.bank.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
        }
        with atomic_path(self.folder / f"step-{self.step:08d}.pt") as temporary:
            torch.save(state, temporary)
            with temporary.open("rb") as file:  # on the disk before it has its name: power may fail too
                os.fsync(file.fileno())
        for old in checkpoints(self.folder)[: -self.config.keep]:
            old.unlink(missing_ok=True)

    def _resume(self, trained: Trained) -> None:
        """Take up the last checkpoint; the CSV loses what came after it."""
        found = checkpoints(self.folder)
        if not found:
            if self.accelerator.is_main_process:
                (self.folder / LOSSES).unlink(missing_ok=True)
                forget_after(self.folder, 0)
            return
        state = read_checkpoint(found[-1])
        try:
            trained.load(state)
            if self.bank is not None:
                self.bank.load_state_dict(state["bank"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            why = brief(error)
            raise WeightsError(
                f"{found[-1]}: is of another model than the config's ({why}); change the config back, or choose another output"
            ) from error
        self.step = state["step"]
        if state["scaler"] and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        if self.accelerator.is_main_process:
            for old in self.folder.glob(".step-*.part.pt"):
                old.unlink()
            self._forget_after(self.step)
            forget_after(self.folder, self.step)

    def _forget_after(self, step: int) -> None:
        path = self.folder / LOSSES
        remove_partial_files(path)
        if path.exists():
            lines = path.read_text("utf-8").splitlines(keepends=True)
            kept = [line for line in lines[1:] if line.endswith("\n") and int(line.partition(",")[0]) <= step]
            with atomic_path(path) as temporary:
                temporary.write_text("".join([*lines[:1], *kept]), encoding="utf-8")


def checkpoints(folder: Path) -> list[Path]:
    """A stage's checkpoints, oldest first."""
    return sorted(path for path in folder.glob("step-*.pt") if re.fullmatch(r"step-\d{8,}\.pt", path.name))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's plain values and tensors, on the CPU. Raises WeightsError where it is damaged."""
    keys = {"unet_config", "clip_config", "heads", "network", "average", "optimizer", "step", "bank", "scaler"}
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        if not isinstance(state, dict) or state.keys() != keys or type(state["step"]) is not int:
            raise ValueError("holds something else")
    except Exception as error:  # zip files, pickles and torch have a dozen kinds
        why = brief(error, 120)
        raise WeightsError(
            f"{path}: is no checkpoint, or damaged ({why}); remove it to go on from the one before"
        ) from error
    return state


def read_result(folder: Path, stage: str) -> Built:
    """What a finished stage's last checkpoint has learned: the network with its moving average. Raises InputError."""
    found = checkpoints(folder / stage)
    if not found:
        raise InputError(f"{folder / stage}: holds no checkpoint; run mimaface train {stage} first")
    state = read_checkpoint(found[-1])
    return Built(state["unet_config"], state["clip_config"], state["heads"], {**state["network"], **state["average"]})


def _is_finite(value: float) -> bool:
    return abs(value) < float("inf")
