"""Progress of long work: bars on a terminal, else lines with the time left, or JSON events."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from math import inf
from typing import TYPE_CHECKING

from mimaface_cli.cli import console
from mimaface_cli.cli.interrupt import raise_if_interrupted
from mimaface_cli.progress import ProgressCallback

if TYPE_CHECKING:
    from rich.progress import ProgressColumn, TaskID

EVENT_INTERVAL = 0.5  # seconds between JSON events of one stage
LINE_INTERVAL = 10.0  # seconds between progress lines without a terminal


@contextmanager
def show_progress(quiet: bool = False, unit: str = "frames") -> Iterator[ProgressCallback]:
    """Yield a progress callback that shows the progress of the work.

    Args:
        quiet: Whether to show nothing; JSON events and the log still get the progress.
        unit: Unit of the counts; bytes are shown in MB.
    """
    displays: list[ProgressCallback] = []
    with ExitStack() as stack:
        listener = console.listener()
        if listener is not None:
            displays.append(_limit_rate(listener))
        if console.has_json_events():

            def emit(stage: str, done: int, total: int | None) -> None:
                console.event("progress", stage=stage, done=done, total=total, unit=unit)

            displays.append(_limit_rate(emit))
        elif not quiet and sys.stderr is not None:
            is_terminal = sys.stderr.isatty()
            displays.append(stack.enter_context(_bars(unit)) if is_terminal else _lines(unit, console.stderr_line))
        if console.has_log():
            displays.append(_lines(unit, console.log))

        def show(stage: str, done: int, total: int | None) -> None:
            raise_if_interrupted()
            for display in displays:
                display(stage, done, total)

        yield show


def _limit_rate(callback: ProgressCallback) -> ProgressCallback:
    """Pass on the first and the last call of a stage, and the others at most twice a second."""
    last_times: dict[str, float] = {}

    def show(stage: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if done == total or now - last_times.get(stage, -inf) >= EVENT_INTERVAL:
            last_times[stage] = now
            callback(stage, done, total)

    return show


@contextmanager
def _bars(unit: str) -> Iterator[ProgressCallback]:
    """Yield a callback that shows a bar for each stage."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    counts: list[ProgressColumn] = (
        [DownloadColumn(), TransferSpeedColumn()] if unit == "bytes" else [MofNCompleteColumn()]
    )
    columns = [TextColumn("{task.description}"), BarColumn(), *counts, TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield show


def _lines(unit: str, write_line: Callable[[str], None]) -> ProgressCallback:
    """Return a callback that writes a line per stage, at most one every LINE_INTERVAL seconds."""
    scale, unit = (1e6, "MB") if unit == "bytes" else (1.0, unit)
    start_times: dict[str, float] = {}
    last_times: dict[str, float] = {}

    def show(stage: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        start_times.setdefault(stage, now)
        if now - last_times.setdefault(stage, now) < LINE_INTERVAL:
            return
        last_times[stage] = now
        rate = done / max(now - start_times[stage], 1e-6)
        time_left = f", about {(total - done) / rate:.0f} s left" if total and rate > 0 else ""
        stage_unit = "steps" if stage == "denoising" else unit
        amount = f"{done / scale:.0f}{f' of {total / scale:.0f}' if total else ''} {stage_unit}"
        write_line(f"{stage}: {amount}, {rate / scale:.1f} per second{time_left}")

    return show
