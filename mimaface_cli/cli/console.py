"""Output of commands: lines and JSON events on the error stream, results on the output stream, lines in the log."""

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, TextIO

import typer

from mimaface_cli.cli.messages import show_flags
from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.files import output_error
from mimaface_cli.progress import ProgressCallback

USAGE = 2  # exit code of wrong options


@dataclass
class _Streams:
    """Destinations of one run's messages, and the Typer command whose flags they show."""

    command: Any = None
    as_json: bool = False
    log: TextIO | None = None
    listener: ProgressCallback | None = None


_stack = [_Streams()]
"""The current run is the last one; the runs of a worker are nested in the run of the worker command."""


@contextmanager
def session(command: Any = None) -> Iterator[None]:
    """Open a run; the end of the block closes its log and restores the streams of the enclosing run.

    Args:
        command: The Typer command that runs, whose flags notes show.
    """
    streams = _Streams(command, listener=_stack[-1].listener)
    _stack.append(streams)
    try:
        yield
    finally:
        if streams.log is not None:
            with suppress(OSError):
                streams.log.close()
        _stack.pop()


@contextmanager
def progress_listener(listener: ProgressCallback) -> Iterator[None]:
    """Send the progress of the runs in the block to a callback as well, at most a few times per second."""
    _stack.append(_Streams(listener=listener))
    try:
        yield
    finally:
        _stack.pop()


def configure(as_json: bool, log: Path | None) -> None:
    """Set how the current run prints.

    Args:
        as_json: Whether every line on the error stream is one JSON object.
        log: File to which lines and progress are appended, or None.

    Raises:
        OutputError: The log cannot be opened.
    """
    _stack[-1].as_json = as_json
    if log is not None:
        try:
            _stack[-1].log = log.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
        except OSError as error:
            raise output_error(log, error) from error


def has_json_events() -> bool:
    """Return whether the error stream carries JSON objects."""
    return _stack[-1].as_json


def has_log() -> bool:
    """Return whether the run has a log file."""
    return _stack[-1].log is not None


def listener() -> ProgressCallback | None:
    """Return the callback of `progress_listener`, or None."""
    return _stack[-1].listener


def info(text: str) -> None:
    """Print a line for the user on the error stream and in the log; the output stream is for results."""
    log(text)
    if _stack[-1].as_json:
        event("message", text=text)
    else:
        stderr_line(one_line(text))


def notes(texts: list[str], quiet: bool = False) -> list[str]:
    """Print notes about a result; with `quiet`, write them to the log only.

    Returns:
        The notes with option fields shown as flags.
    """
    shown = [show_flags(text, _stack[-1].command) for text in texts]
    for text in shown:
        (log if quiet else info)(f"note: {text}")
    return shown


def fail(text: str, code: int = 1) -> None:
    """Print the line of a failure."""
    log(f"failed with exit code {code}: {text}")
    if _stack[-1].as_json:
        event("error", text=text, code=code)
    else:
        stderr_line(one_line(f"mimaface: {text}"))


def event(kind: str, **values: Any) -> None:
    """Print a JSON object on the error stream, if the run prints JSON events."""
    if _stack[-1].as_json:
        stderr_line(json.dumps({"event": kind, **values}))


def log(text: str) -> None:
    """Append a line with the time to the log, if there is one; a full disk does not stop the run."""
    file = _stack[-1].log
    if file is not None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        with suppress(OSError):
            file.write(f"{now} {one_line(text)}\n")


def stderr_line(line: str) -> None:
    """Write a line to the error stream; a closed stream does not stop the run."""
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(line + "\n")


def write(text: str) -> None:
    """Write lines to the output stream.

    Raises:
        OutputError: The stream cannot be written. It is no error if the reader closed the pipe early.
    """
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError as error:
        with suppress(OSError, ValueError):  # buffered text would fail again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise OutputError(f"standard output: cannot be written ({error.strerror}). Redirect it.") from error


def write_json(values: dict[str, Any]) -> None:
    """Write a JSON object to the output stream, in ASCII, so that any encoding and file name works."""
    write(json.dumps(values))


def table(header: tuple[str, ...], rows: list[tuple[str, ...]], numbers: tuple[str, ...] = ()) -> None:
    """Write a table to the output stream, in color on a terminal.

    Args:
        header: Names of the columns.
        rows: Cells of each row, one per column.
        numbers: Names of the columns to align right.
    """
    from io import StringIO

    from rich.console import Console
    from rich.table import Table

    grid = Table(box=None, pad_edge=False)
    for name in header:
        grid.add_column(name, justify="right" if name in numbers else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    text = StringIO()
    Console(file=text, force_terminal=is_terminal, width=None if is_terminal else 120).print(grid, markup=False)
    write("\n".join(line.rstrip() for line in text.getvalue().rstrip("\n").split("\n")))


def one_line(text: str) -> str:
    """Escape unprintable characters, such as line breaks and escape sequences in file names."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def count(number: int, noun: str) -> str:
    """Return a number with its noun, such as "1 track" or "2 tracks"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def fraction(value: Fraction) -> str:
    """Return a fraction as text, such as "30000/1001"."""
    return f"{value.numerator}/{value.denominator}"


def output_path(name: str) -> Path:
    """Return the path of a result; a name with a trailing slash means numbered images in that folder."""
    return Path(name, "%05d.png") if name.endswith(("/", os.sep)) else Path(name)


def parse_frame_rate(text: str) -> Fraction:
    """Parse a frame rate: 25, 29.97 (meaning 30000/1001) or a fraction.

    Raises:
        typer.BadParameter: The text is not a frame rate.
    """
    if not re.fullmatch(r"[0-9]{1,6}([.][0-9]{1,6}|/[1-9][0-9]{0,5})?", text) or not Fraction(text):
        raise typer.BadParameter(
            f"--frame-rate: {text[:30]!r} is not a frame rate. Give 25, 29.97 or 30000/1001, for example."
        )
    ntsc = Fraction(round(Fraction(text) * 1001 / 1000) * 1000, 1001)  # 23.976, 29.97, 59.94
    return ntsc if "." in text and abs(ntsc - Fraction(text)) < Fraction(6, 1000) else Fraction(text)


@contextmanager
def options() -> Iterator[None]:
    """Report an InputError in the block as a wrong option (exit code 2), not as an unusable input."""
    try:
        yield
    except InputError as error:
        error.exit_code = USAGE
        raise
