"""Progress of long work: bars on a terminal, else lines with the time left, or JSON events."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from math import inf
from typing import TYPE_CHECKING

from mimaface_cli.cli import console
from mimaface_cli.cli.interrupt import NOTHING_REMAINS, Interrupted, raise_if_interrupted
from mimaface_cli.progress import ProgressCallback

if TYPE_CHECKING:
    from rich.progress import ProgressColumn, TaskID

EVENT_INTERVAL = 0.5  # seconds between JSON events of one stage
LINE_INTERVAL = 10.0  # seconds between progress lines without a terminal
REFRESH_INTERVAL = 0.25  # seconds between redrawn bars, so that a logged terminal of a long run stays small
TICKS_PER_SECOND = 1.0  # of bars that nobody reports to
DENOISING, ANIMATING = "denoising", "animating"  # stages of `animate`
FIRST_CLIP = "first clip"  # a part of DENOISING, shown as the time until the first frames


@contextmanager
def show_progress(
    quiet: bool = False, unit: str = "frames", remains: Mapping[str, str] | None = None
) -> Iterator[ProgressCallback]:
    """Yield a progress callback that shows the progress of the work.

    Args:
        quiet: Whether to show nothing; JSON events and the log still get the progress.
        unit: Unit of the counts; bytes are shown in MB.
        remains: What an interruption leaves behind once a stage has begun, by stage; "" for any other stage.
    """
    remains = remains or {}
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
            if text := remains.get(stage, remains.get("")):
                Interrupted.remains = text
            for display in displays:
                display(stage, done, total)

        yield show
        Interrupted.remains = NOTHING_REMAINS  # not after an interruption, whose line is still to be printed


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
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TransferSpeedColumn

    counts: list[ProgressColumn] = (
        [DownloadColumn(), TransferSpeedColumn()] if unit == "bytes" else [MofNCompleteColumn()]
    )
    columns = [TextColumn("{task.description}"), BarColumn(), *counts, TextColumn("{task.fields[speed]}")]
    # The refreshes of its thread keep the time left going between the reports of long steps.
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, refresh_per_second=TICKS_PER_SECOND) as bars:
        tasks: dict[str, TaskID] = {}
        clocks: dict[str, StageClock] = {}
        last_refresh = -inf

        def show(stage: str, done: int, total: int | None) -> None:
            nonlocal last_refresh
            now = time.monotonic()
            if stage == FIRST_CLIP:
                clocks.setdefault(stage, StageClock()).update(now, done, total)
                return
            is_new = stage not in tasks
            if is_new:
                for name in [name for name in tasks if clocks[name].is_announcement]:
                    bars.remove_task(tasks.pop(name))
                    del clocks[name]
                tasks[stage], clocks[stage] = bars.add_task(stage, total=total, speed=""), StageClock()
            clocks[stage].update(now, done, total)
            bars.update(tasks[stage], completed=done, total=total, speed=_describe_speed(stage, clocks, now))
            if is_new or now - last_refresh >= REFRESH_INTERVAL:
                last_refresh = now
                bars.refresh()

        yield show


class StageClock:
    """Times of a stage: seconds per unit and seconds left.

    The first unit is not counted: it includes what happens once, such as loading, compilation and warm-up.

    Attributes:
        done: Units done.
        total: Units of the stage, or None.
    """

    def __init__(self) -> None:
        self.done = 0
        self.total: int | None = None
        self._last: float | None = None
        self._first = 0
        self._base: tuple[int, float] | None = None

    @property
    def is_announcement(self) -> bool:
        """Whether the stage has only been named so far."""
        return self.total is None and self.done == 0

    def update(self, now: float, done: int, total: int | None) -> None:
        """Record a report.

        Args:
            now: Time of the report in seconds.
            done: Units done.
            total: Units of the stage, or None.
        """
        if self._last is None or done < self.done:  # the first report, or a repeated clip
            self._first, self._base = done, None
        elif self._base is None and done > self._first:
            self._base = done, now
        self.done, self.total, self._last = done, total, now

    def seconds_per_unit(self) -> float | None:
        """Return the mean seconds of a unit, or None before the second one."""
        if self._base is None or self._last is None or self.done <= self._base[0]:
            return None
        return (self._last - self._base[1]) / (self.done - self._base[0])

    def seconds_left(self, now: float) -> float | None:
        """Return the seconds until the end of the stage, or None if they are unknown."""
        rate = self.seconds_per_unit()
        if rate is None or self.total is None or self._last is None:
            return None
        return max(0.0, rate * (self.total - self.done) - (now - self._last))


def _describe_speed(stage: str, clocks: dict[str, StageClock], now: float) -> str:
    """Return the seconds of a unit where it takes long, and the time left, for a person who waits."""
    clock = clocks[stage]
    seconds, left = clock.seconds_per_unit(), clock.seconds_left(now)
    steps = clocks.get(DENOISING)
    if seconds is None or left is None or (stage != DENOISING and steps is not None and steps.done != steps.total):
        return ""  # frames come in bursts, one for each clip; the steps tell the time
    parts = [f"about {format_duration(left)} left"] if clock.done != clock.total else []
    if stage == DENOISING:
        first = clocks.get(FIRST_CLIP)
        if first is not None and first.total is not None and first.done < first.total:
            parts.insert(0, f"first frames in about {format_duration(seconds * (first.total - first.done))}")
        frames = clocks.get(ANIMATING)
        if frames is not None and frames.total and clock.total:
            parts.insert(0, f"{seconds * clock.total / frames.total:.1f} s a frame")
        parts.insert(0, f"{seconds:.1f} s a step")
    return ", ".join(parts)


def format_duration(seconds: float) -> str:
    """Return a duration as 42 s, 3 min 20 s or 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _lines(unit: str, write_line: Callable[[str], None]) -> ProgressCallback:
    """Return a callback that writes a line per stage, at most one every LINE_INTERVAL seconds."""
    scale, unit = (1e6, "MB") if unit == "bytes" else (1.0, unit)
    clocks: dict[str, StageClock] = {}
    last_times: dict[str, float] = {}

    def show(stage: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        clock = clocks.setdefault(stage, StageClock())
        clock.update(now, done, total)
        if stage == FIRST_CLIP:
            return
        # The first step of a large model takes minutes: say at once that it has begun.
        first = -inf if stage == DENOISING else now
        if now - last_times.setdefault(stage, first) < LINE_INTERVAL:
            return
        last_times[stage] = now
        speed = _describe_speed(stage, clocks, now)
        seconds = clock.seconds_per_unit()
        if stage != DENOISING and seconds:
            speed = f"{1 / (seconds * scale):.1f} per second{', ' if speed else ''}{speed}"
        stage_unit = "steps" if stage == DENOISING else unit
        amount = f"{done / scale:.0f}{f' of {total / scale:.0f}' if total else ''} {stage_unit}"
        write_line(f"{stage}: {amount}{', ' if speed else ''}{speed}")

    return show
