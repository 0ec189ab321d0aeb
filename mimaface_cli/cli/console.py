"""What commands share on the terminal: lines, JSON, progress with time left, wrong options."""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from math import inf
from pathlib import Path
from typing import Any, TextIO

import typer

from mimaface_cli.cli.process import raise_if_stopped
from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.files import output_error

USAGE = 2  # exit code for wrong options
OFTEN = 0.5  # seconds between JSON lines of one stage
EVERY = 10.0  # seconds between progress lines where there is no terminal


@dataclass
class _Voice:
    """How this run speaks beside its results; see `voice`."""

    as_json: bool = False
    log: TextIO | None = None
    listener: Callable[[str, int, int | None], None] | None = None


_voice = _Voice()


@contextmanager
def voice() -> Iterator[None]:
    """The block may change how the program speaks; afterwards all is as before and the log is closed."""
    global _voice
    before, _voice = _voice, _Voice(listener=_voice.listener)
    try:
        yield
    finally:
        if _voice.log is not None:
            with suppress(OSError):
                _voice.log.close()
        _voice = before


@contextmanager
def heard_by(listener: Callable[[str, int, int | None], None]) -> Iterator[None]:
    """The block's progress goes to a function (stage, done, total or None), several times a second at most."""
    global _voice
    before, _voice = _voice, _Voice(listener=listener)
    try:
        yield
    finally:
        _voice = before


def speak(as_json: bool, log: Path | None) -> None:
    """as_json: every line on the error stream is one JSON object (README, "For scripts"). log: a file to which lines
    and progress are added as well. Raises OutputError where it cannot be opened.
    """
    _voice.as_json = as_json
    if log is not None:
        try:
            _voice.log = log.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
        except OSError as error:
            raise output_error(log, error) from error


def say(text: str) -> None:
    """One line for the user, on the error stream: the output stream belongs to results. Nobody need be listening."""
    note(text)
    if _voice.as_json:
        event("message", text=text)
    else:
        _stderr(one_line(text))


def notes(texts: list[str], quiet: bool = False) -> None:
    """What the user should know of a result; when quiet only the log file is told."""
    for text in texts:
        (note if quiet else say)(f"note: {text}")


def fail(text: str, code: int = 1) -> None:
    """The one line of a failure."""
    note(f"failed with exit code {code}: {text}")
    if _voice.as_json:
        event("error", text=text, code=code)
    else:
        _stderr(one_line(f"mimaface: {text}"))


def event(kind: str, **values: Any) -> None:
    """One JSON object on the error stream, where the user asked for those."""
    if _voice.as_json:
        _stderr(json.dumps({"event": kind, **values}))


def speaks_json() -> bool:
    """Whether the user asked for JSON lines on the error stream."""
    return _voice.as_json


def note(text: str) -> None:
    """A line with the time in the log file, where there is one; a log that cannot be written stops nothing."""
    if _voice.log is not None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        with suppress(OSError):
            _voice.log.write(f"{now} {one_line(text)}\n")


def _stderr(line: str) -> None:
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(line + "\n")


def write(text: str) -> None:
    """Lines on the output stream. Raises OutputError where they cannot be written; a reader who has seen enough and
    closed the pipe is none such.
    """
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
    """A table on the output stream, with colors only on a terminal."""
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
        error.exit_code = USAGE
        raise


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
    and then, or JSON lines where these were asked for; nothing when quiet. unit: what is counted; bytes are shown as
    MB.
    """
    shows: list[Callable[[str, int, int | None], None]] = []
    with ExitStack() as stack:
        if _voice.listener is not None:
            shows.append(_now_and_then(_voice.listener))
        if _voice.as_json:

            def tell(stage: str, done: int, total: int | None) -> None:
                event("progress", stage=stage, done=done, total=total, unit=unit)

            shows.append(_now_and_then(tell))
        elif not quiet and sys.stderr is not None:
            bars = sys.stderr.isatty()
            shows.append(stack.enter_context(_bars(unit)) if bars else _lines(unit, _stderr))
        if _voice.log is not None:
            shows.append(_lines(unit, note))

        def show(stage: str, done: int, total: int | None) -> None:
            raise_if_stopped()
            for one in shows:
                one(stage, done, total)

        yield show


def _now_and_then(tell: Callable[[str, int, int | None], None]) -> Callable[[str, int, int | None], None]:
    """A stage's first and last call, and those between at most twice a second."""
    told: dict[str, float] = {}

    def show(stage: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if done == total or now - told.get(stage, -inf) >= OFTEN:
            told[stage] = now
            tell(stage, done, total)

    return show


@contextmanager
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
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield show


def _lines(unit: str, tell: Callable[[str], None]) -> Any:
    scale, unit = (1e6, "MB") if unit == "bytes" else (1, unit)
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
        what = "steps" if stage == "denoising" else unit
        counted = f"{done / scale:.0f}{f' of {total / scale:.0f}' if total else ''} {what}"
        tell(f"{stage}: {counted}, {rate / scale:.1f} a second{left}")

    return show


def one_line(text: str) -> str:
    """What is not printable (line ends and escape sequences in file names) as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
