"""What commands share on the terminal: lines, JSON, progress with time left, wrong options."""

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import typer

from mimaface_cli.cli.process import raise_if_stopped
from mimaface_cli.errors import InputError, OutputError

EVERY = 10.0  # seconds between progress lines where there is no terminal


def say(text: str) -> None:
    """One line for the user, on the error stream: the output stream belongs to results. Nobody need be listening."""
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(one_line(text) + "\n")


def fail(text: str) -> None:
    """The one line of a failure."""
    say(f"mimaface: {text}")


def write(text: str) -> None:
    """Lines on the output stream. Raises OutputError where they cannot be written; a reader who has seen enough and
    closed the pipe is none such."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError as error:
        with suppress(OSError, ValueError):  # what is still held back would fail once more at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise OutputError(f"standard output: cannot be written ({error.strerror}); send it elsewhere") from error


def write_json(values: dict[str, Any]) -> None:
    """One JSON object on the output stream, in ASCII: it survives every encoding and file name."""
    write(json.dumps(values))


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """A table on the output stream, with colours only on a terminal."""
    from io import StringIO

    from rich.console import Console
    from rich.table import Table

    made = Table(box=None, pad_edge=False)
    for name in header:
        made.add_column(name, justify="right" if name in ("lowest", "mean", "highest") else "left", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    terminal = sys.stdout is not None and sys.stdout.isatty()
    text = StringIO()
    Console(file=text, force_terminal=terminal, width=None if terminal else 120).print(made, markup=False)
    write("\n".join(line.rstrip() for line in text.getvalue().rstrip("\n").split("\n")))


def target(name: str) -> Path:
    """Where results go, by the name given: a trailing slash stands for numbered pictures in that folder."""
    return Path(name, "%05d.png") if name.endswith(("/", os.sep)) else Path(name)


def rate(text: str) -> Fraction:
    """Frames a second as written: 25, 29.97 (which is 30000/1001) or a fraction. Raises typer.BadParameter."""
    if not re.fullmatch(r"[0-9]{1,6}([.][0-9]{1,6}|/[1-9][0-9]{0,5})?", text) or not Fraction(text):
        raise typer.BadParameter(f"--frame-rate {text[:30]}: give frames a second, such as 25, 29.97 or 30000/1001")
    near = Fraction(round(Fraction(text) * 1001 / 1000) * 1000, 1001)  # 23.976, 29.97, 59.94
    return near if "." in text and abs(near - Fraction(text)) < Fraction(6, 1000) else Fraction(text)


@contextmanager
def options() -> Iterator[None]:
    """The block puts options together: what they refuse is a wrong option, not an unusable file."""
    try:
        yield
    except InputError as error:
        raise typer.BadParameter(str(error)) from error


def usage(error: Any) -> str:
    """The line for typer's own errors; "" where it has shown the help instead."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return ""
    text = error.format_message().removeprefix("Invalid value: ").replace("Value error, ", "").rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{text}; see {context.command_path} --help" if context else text


@contextmanager
def progress(quiet: bool = False, unit: str = "frames") -> Iterator[Any]:
    """A function (stage, done, total or None) that shows how far the work is: a bar on a terminal, else a line now
    and then; nothing when quiet. unit: what is counted; bytes are shown as MB."""
    if quiet or sys.stderr is None:
        yield lambda stage, done, total: raise_if_stopped()
    elif sys.stderr.isatty():
        yield from _bars(unit)
    else:
        yield _lines(unit)


def _bars(unit: str) -> Iterator[Any]:
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

    counts = (DownloadColumn(), TransferSpeedColumn()) if unit == "bytes" else (MofNCompleteColumn(),)
    columns = TextColumn("{task.description}"), BarColumn(), *counts, TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int | None) -> None:
            raise_if_stopped()
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield show


def _lines(unit: str) -> Any:
    scale, unit = (1e6, "MB") if unit == "bytes" else (1, unit)
    began: dict[str, float] = {}
    said: dict[str, float] = {}

    def show(stage: str, done: int, total: int | None) -> None:
        raise_if_stopped()
        now = time.monotonic()
        began.setdefault(stage, now)
        if now - said.setdefault(stage, now) < EVERY:
            return
        said[stage] = now
        rate = done / max(now - began[stage], 1e-6)
        left = f", about {(total - done) / rate:.0f} s left" if total and rate > 0 else ""
        what = "steps" if stage == "denoising" else unit
        counted = f"{done / scale:.0f}{f' of {total / scale:.0f}' if total else ''} {what}"
        say(f"{stage}: {counted}, {rate / scale:.1f} a second{left}")

    return show


def one_line(text: str) -> str:
    """What is not printable (line ends and escape sequences in file names) as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
