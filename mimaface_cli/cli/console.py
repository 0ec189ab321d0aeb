"""What commands share on the terminal: progress with time left, plain lines where nobody watches, JSON."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

EVERY = 10.0  # seconds between progress lines where there is no terminal


def say(text: str) -> None:
    """A line for the user, on the error stream: the output stream belongs to --json."""
    sys.stderr.write(text + "\n")


def write_json(values: dict[str, Any]) -> None:
    """One JSON object on the output stream."""
    sys.stdout.write(json.dumps(values, ensure_ascii=False) + "\n")
    sys.stdout.flush()


@contextmanager
def progress(quiet: bool = False) -> Iterator[Any]:
    """A function (stage, done, total or None) that shows how far the work is: a bar on a terminal, else a line now
    and then; nothing when quiet."""
    if quiet:
        yield lambda stage, done, total: None
    elif sys.stderr.isatty():
        yield from _bars()
    else:
        yield _lines()


def _bars() -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield show


def _lines() -> Any:
    began: dict[str, float] = {}
    said: dict[str, float] = {}

    def show(stage: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        began.setdefault(stage, now)
        if now - said.setdefault(stage, now) < EVERY:
            return
        said[stage] = now
        rate = done / max(now - began[stage], 1e-6)
        left = f", about {(total - done) / rate:.0f} s left" if total and rate > 0 else ""
        say(f"{stage}: {done}{f' of {total}' if total else ''} frames, {rate:.1f} a second{left}")

    return show
