"""Time of the training: steps that fit into it, measured on the device, and calls that stop after a while."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mimaface_cli.files import atomic_path
from mimaface_cli.progress import ProgressCallback

SHARES = {"autoencoder": 0.25, "image": 0.45, "video": 0.25}
"""Shares of the time; the rest is for validation and for the measurements of a step."""
PROBE_SECONDS = 10.0
"""Duration of the measurement of a stage's steps, after its first report."""


class PieceEndedError(Exception):
    """The time of this call is over. The next call resumes."""


class _MeasuredError(Exception):
    """Enough steps were measured."""


class _BegunError(Exception):
    """The awaited stage has begun."""


def measure_step(train: Callable[[ProgressCallback], object], stage: str) -> float | None:
    """Run a training until one of its stages has been measured, and return the seconds of a step.

    Args:
        train: The training; its argument is its progress callback.
        stage: The stage.

    Returns:
        Seconds of a step, or None if the stage has too few steps to tell.
    """
    reports: list[tuple[float, int]] = []

    def progress(name: str, done: int, total: int | None) -> None:
        if name == stage and done > 0:
            reports.append((time.monotonic(), done))
            if reports[-1][0] - reports[0][0] >= PROBE_SECONDS:
                raise _MeasuredError

    with suppress(_MeasuredError):
        train(progress)
    if len(reports) < 2:
        return None
    (start, first), (end, last) = reports[0], reports[-1]
    return (end - start) / (last - first)


def run_until(train: Callable[[ProgressCallback], object], stage: str, progress: ProgressCallback) -> None:
    """Run a training until one of its stages begins.

    Args:
        train: The training; its argument is its progress callback.
        stage: The stage.
        progress: Gets the reports before that.
    """

    def report(name: str, done: int, total: int | None) -> None:
        if name == stage:
            raise _BegunError
        progress(name, done, total)

    with suppress(_BegunError):
        train(report)


def limit_time(progress: ProgressCallback, deadline: float, intervals: dict[str, int]) -> ProgressCallback:
    """Return a callback that ends a call in time, right after a checkpoint.

    Args:
        progress: Gets all reports.
        deadline: Time on the monotonic clock at which the call has to end; infinite for never.
        intervals: Steps between checkpoints, by stage.

    Returns:
        A callback that raises PieceEndedError if the next checkpoint would come too late. Every call gets to one
        checkpoint.
    """
    last: dict[str, tuple[int, float]] = {}  # steps and time of the last checkpoint, or of the first report

    def report(stage: str, done: int, total: int | None) -> None:
        progress(stage, done, total)
        now = time.monotonic()
        before, then = last.setdefault(stage, (done, now))
        if stage not in intervals or done in (before, total) or done % intervals[stage]:
            return
        last[stage] = done, now
        if now + (now - then) > deadline:
            raise PieceEndedError

    return report


class StepPlan:
    """Steps of each stage, which stay the same when a build resumes.

    Args:
        path: File of the plan.
        minutes: Minutes of training.
    """

    def __init__(self, path: Path, minutes: float) -> None:
        self.path, self.minutes = path, minutes
        self.steps: dict[str, int] = json.loads(path.read_text("utf-8")) if path.exists() else {}

    def plan(self, stage: str, measure: Callable[[], float | None], default: int) -> int:
        """Return the steps of a stage; the first time, measure a step and write the plan.

        Args:
            stage: The stage.
            measure: Returns the seconds of a step, or None.
            default: Steps without a limit of time, and where a step cannot be measured.
        """
        if not self.minutes:
            return default
        if stage not in self.steps:
            seconds = measure()
            self.steps[stage] = max(2, int(60 * self.minutes * SHARES[stage] / seconds)) if seconds else default
            with atomic_path(self.path) as temporary:
                temporary.write_text(json.dumps(self.steps, indent=1), "utf-8")
        return self.steps[stage]
