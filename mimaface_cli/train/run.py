"""One stage's training on accelerate: steps, moving average, a CSV of losses, checkpoints, and going on exactly."""

import csv
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from filelock import FileLock, Timeout
from torch import Tensor

from mimaface_cli.diffusion.runtime import is_out_of_memory
from mimaface_cli.errors import InputError, OutputError, WeightsError
from mimaface_cli.files import atomic_path, output_error, remove_leftovers
from mimaface_cli.train import sharding
from mimaface_cli.train.config import Config, Optimiser
from mimaface_cli.train.losses import MemoryBank
from mimaface_cli.train.networks import Denoiser
from mimaface_cli.train.start import Built, describe, rebuild
from mimaface_cli.train.track import Tracker, check_tensorboard
from mimaface_cli.train.validate import Validator, forget_after, write_look

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
    optimiser: Optimiser
    network: Denoiser
    groups: list[dict[str, Any]]
    bank: MemoryBank | None = None
    report: Report = lambda stage, done, total: None
    validator: Validator | None = None
    tracker: Tracker | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.folder = Path(self.config.output) / self.name
        self.step = 0
        sharding.check_plugins()
        if self.config.tensorboard:
            check_tensorboard()
        # Asked for by name, for accelerate makes several processes on CPUs one run only then.
        cpu = not torch.accelerator.is_available()
        self.accelerator = Accelerator(cpu=cpu, mixed_precision=self.config.precision or None)
        if not self.accelerator.is_main_process:
            self.report = lambda stage, done, total: None
        processes = self.accelerator.num_processes
        self.micro = self.optimiser.micro or self.optimiser.batch // processes
        turn = self.micro * processes
        if not self.micro or self.optimiser.batch % turn:
            raise InputError(
                f"{self.name}.optimiser.batch: {self.optimiser.batch} samples cannot be shared out to {processes} processes "
                f"by {self.micro or 1} at once; change batch or micro"
            )
        self.accelerator.gradient_accumulation_steps = self.optimiser.batch // turn

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
                    f"{self.device}: out of memory; set micro in [{self.name}.optimiser] below {self.micro}, or use "
                    'precision = "bf16" and gradient_checkpointing = true'
                ) from error

    def _claim(self, stack: ExitStack) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(self.folder / ".train.lock", timeout=0))
        except Timeout as error:
            raise OutputError(f"{self.folder}: another run trains there; wait for it, or choose another output") from error
        except OSError as error:
            raise output_error(self.folder, error) from error

    def _train(self, batches: Callable[["Run"], Iterator[dict[str, Tensor]]], losses: Losses) -> None:
        accelerator, steps = self.accelerator, self.optimiser.steps
        own = self.network
        made = torch.optim.AdamW(self.groups, self.optimiser.learning_rate, weight_decay=self.optimiser.weight_decay)
        network, optimizer = sharding.prepare(accelerator, own.train(), made)
        names = sharding.names_of(own)
        parameters = [parameter for group in made.param_groups for parameter in group["params"]]
        average = {names[id(parameter)]: parameter.detach().float().clone() for parameter in parameters}
        saved = self._resume(own, made, average)
        if saved and saved["scaler"] and accelerator.scaler is not None:
            accelerator.scaler.load_state_dict(saved["scaler"])
        del saved
        if self.config.tensorboard and accelerator.is_main_process:
            self.tracker = Tracker(self.folder, self.step)
        rows: list[tuple[int, dict[str, Tensor]]] = []
        parts: list[dict[str, Tensor]] = []
        self.report(self.name, self.step, steps)
        for batch in batches(self):
            batch = {key: value.to(self.device, non_blocking=True) for key, value in batch.items()}
            with accelerator.accumulate(network):
                part = losses(network, batch)
                accelerator.backward(sum(part.values()))
                if accelerator.sync_gradients and accelerator.is_fsdp2:
                    sharding.mask(own, names)
                if accelerator.sync_gradients and self.optimiser.clip_norm:
                    accelerator.clip_grad_norm_(parameters, self.optimiser.clip_norm)
                for group in optimizer.param_groups:
                    group["lr"] = self.optimiser.rate(self.step)
                optimizer.step()
                optimizer.zero_grad()
            parts.append({key: value.detach() for key, value in part.items()})
            if not accelerator.sync_gradients:
                continue
            self._follow(parameters, names, average)
            self.step += 1
            rows.append((self.step, {key: torch.stack([each[key] for each in parts]).mean() for key in parts[0]}))
            parts.clear()
            if self.tracker is not None:
                self.tracker.losses(self.step, {"learning_rate": optimizer.param_groups[0]["lr"]})
            keep = self.step % self.config.save_every == 0 or self.step == steps
            if keep or len(rows) == FLUSH:
                self._write(rows)
            if self.validator is not None and self.validator.due(self.step, steps):
                self._validate(own, parameters, names, average)  # before the checkpoint, which no look may then follow
            if keep:
                self._save(own, optimizer.optimizer, average)
            self.report(self.name, self.step, steps)
        accelerator.wait_for_everyone()

    @torch.no_grad()
    def _follow(self, parameters: list[Tensor], names: dict[int, str], average: dict[str, Tensor]) -> None:
        """The moving average takes a step; at the beginning it forgets faster."""
        decay = min(self.optimiser.ema, (self.step + 1) / (self.step + 10)) if self.optimiser.ema else 0.0
        # All in one call: a thousand small ones would leave a GPU waiting.
        averages = sharding.locals_of(average[names[id(parameter)]] for parameter in parameters)
        torch._foreach_lerp_(averages, sharding.locals_of(parameters), 1 - decay)

    @contextmanager
    def _averaged(self, parameters: list[Tensor], names: dict[int, str], average: dict[str, Tensor]) -> Iterator[None]:
        """The network as its moving average has it; then as it was, without a copy."""

        def swap() -> None:
            for parameter in parameters:
                name = names[id(parameter)]
                parameter.data, average[name] = average[name], parameter.data

        swap()
        try:
            yield
        finally:
            swap()

    def _validate(
        self, own: Denoiser, parameters: list[Tensor], names: dict[int, str], average: dict[str, Tensor]
    ) -> None:
        """The main process looks at the moving average while the others wait."""
        if self.accelerator.is_fsdp2:
            state = sharding.whole({**own.state_dict(), **average}, self.accelerator.is_main_process)
            if self.accelerator.is_main_process:
                with torch.random.fork_rng(devices=[]):  # no trace in the training
                    network = rebuild(Built(**describe(own), state=state))
                del state
                self._look(network.to(self.device))
        elif self.accelerator.is_main_process:
            with self._averaged(parameters, names, average):
                self._look(own)
        self.accelerator.wait_for_everyone()

    def _look(self, network: Denoiser) -> None:
        look = self.validator.look(network, self.step)
        write_look(self.folder, look)
        if self.tracker is not None:
            self.tracker.look(look)

    def _write(self, rows: list[tuple[int, dict[str, Tensor]]]) -> None:
        """Add the steps' losses, each the mean over all processes, to the CSV. Raises InputError where one is no number."""
        means = self.accelerator.reduce(torch.stack([torch.stack(list(row.values())) for _, row in rows]), "mean").tolist()
        header, numbers = ["step", *rows[0][1]], [step for step, _ in rows]
        lines = [(step, *(f"{value:.7g}" for value in values)) for step, values in zip(numbers, means)]
        bad = next((step for step, values in zip(numbers, means) if not all(map(_is_finite, values))), None)
        rows.clear()
        if bad is not None:
            raise InputError(
                f"{self.name}: the loss is no number at step {bad}; lower learning_rate in [{self.name}.optimiser], or set "
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

    def _save(self, own: Denoiser, optimizer: torch.optim.Optimizer, average: dict[str, Tensor]) -> None:
        """A checkpoint, whole or not at all; the oldest beyond those to keep go."""
        weights = {"network": own.state_dict(), "average": average, "optimizer": optimizer.state_dict()}
        if self.accelerator.is_fsdp2:
            weights = sharding.whole(weights, self.accelerator.is_main_process)
        if not self.accelerator.is_main_process:
            return
        if self.tracker is not None:
            self.tracker.flush()
        scaler = self.accelerator.scaler
        state = {
            **describe(own),
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

    def _resume(self, own: Denoiser, optimizer: torch.optim.Optimizer, average: dict[str, Tensor]) -> dict[str, Any] | None:
        """Take up the last checkpoint; the CSV loses what came after it."""
        found = checkpoints(self.folder)
        if not found:
            if self.accelerator.is_main_process:
                (self.folder / LOSSES).unlink(missing_ok=True)
                forget_after(self.folder, 0)
            return None
        state = read_checkpoint(found[-1])
        try:
            own.load_state_dict(sharding.split_state(state["network"], own.state_dict()))
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            optimizer.load_state_dict(sharding.split_optimizer(state["optimizer"], parameters))
            if state["average"].keys() != average.keys() or any(
                average[key].shape != value.shape for key, value in state["average"].items()
            ):
                raise ValueError("its moving average is of other parameters")
            if self.bank is not None:
                self.bank.load_state_dict(state["bank"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            why = " ".join(str(error).split())[:160]
            raise WeightsError(
                f"{found[-1]}: is of another model than the config's ({why}); change the config back, or choose another output"
            ) from error
        for key, value in sharding.split_state(state["average"], average).items():
            average[key].copy_(value)
        self.step = state["step"]
        if self.accelerator.is_main_process:
            for old in self.folder.glob(".step-*.part.pt"):
                old.unlink()
            self._forget_after(self.step)
            forget_after(self.folder, self.step)
        return state

    def _forget_after(self, step: int) -> None:
        path = self.folder / LOSSES
        remove_leftovers(path)
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
        why = " ".join(str(error).split())[:120]
        raise WeightsError(f"{path}: is no checkpoint, or damaged ({why}); remove it to go on from the one before") from error
    return state


def read_result(folder: Path, stage: str) -> Built:
    """What a finished stage's last checkpoint has learnt: the network with its moving average. Raises InputError."""
    found = checkpoints(folder / stage)
    if not found:
        raise InputError(f"{folder / stage}: holds no checkpoint; run mimaface train {stage} first")
    state = read_checkpoint(found[-1])
    return Built(state["unet_config"], state["clip_config"], state["heads"], {**state["network"], **state["average"]})


def _is_finite(value: float) -> bool:
    return abs(value) < float("inf")
