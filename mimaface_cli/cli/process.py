"""The process around the command line: its streams, its signals, its exit code. Light, so that both are in order
before anything heavy is loaded.
"""

import atexit
import logging
import os
import signal
import sys
import warnings
from contextlib import suppress
from types import FrameType
from typing import NoReturn

_WORDS = {"SIGINT": "interrupted", "SIGTERM": "asked to end", "SIGHUP": "the terminal is gone"}


class Stopped(SystemExit):
    """A signal asked the program to end: unwinds the stack, so that temporary files go and threads end."""

    pending: "Stopped | None" = None

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.reason = _WORDS[signal.Signals(number).name]


def main() -> NoReturn:
    """The `mimaface` command: runs the words of the command line and ends the process."""
    ended: list[int] = []
    atexit.register(_leave, ended)  # the first to be registered is the last to be called
    words = sys.argv[1:]
    debug = "--debug" in words  # taken anywhere, not only before the command
    _mend_streams()
    if not debug:
        _hush()
    try:
        _heed_signals()
        from mimaface_cli.cli.app import run

        code = run([word for word in words if word != "--debug"], debug)
    except BaseException:
        # Not only as `Stopped`: Python and native modules give another exception to what cuts their loading short.
        if Stopped.pending is None:
            raise
        if sys.stderr is not None:
            with suppress(OSError):
                sys.stderr.write(f"mimaface: {Stopped.pending.reason}; no half-written file was left\n")
        code = Stopped.pending.code
    ended.append(code)
    sys.exit(code)


def _leave(ended: list[int]) -> None:
    """Leave at once: all is written, and Python would take half a second to take down what MediaPipe has loaded."""
    if ended:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(ended[0])


def raise_if_stopped() -> None:
    """Raise again a `Stopped` that got lost where exceptions are dropped (finalizers, callbacks of native code) or
    turned into others (class bodies, the loading of native modules).
    """
    if Stopped.pending is not None:
        raise Stopped.pending


def _heed_signals() -> None:
    """Let the usual ways to end a program clean up; what the starter (nohup, a shell's &) ignores stays so."""
    for name in _WORDS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    for name in _WORDS:  # an impatient second Ctrl-C must not cut the cleaning short
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    Stopped.pending = Stopped(number)
    raise Stopped.pending


def _mend_streams() -> None:
    """Give closed streams a place, or the next opened file would become the error stream that native code writes to;
    and let no file name be unprintable.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _hush() -> None:
    """Keep the error stream for our own lines: MediaPipe, FFmpeg and encoders log to file descriptor 2, Python
    libraries warn and log.
    """
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda _: None  # what finalizers of native objects complain of at the very end
    logging.getLogger().addHandler(logging.NullHandler())
    if sys.stderr is None:
        return
    with suppress(OSError, ValueError):  # no real file behind the stream: nothing native can reach it
        own = os.dup(sys.stderr.fileno())
        sys.stderr = open(own, "w", encoding=sys.stderr.encoding, errors="backslashreplace", buffering=1)
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 2)
        os.close(sink)
