"""Signals that end the program: they raise an exception, so that the cleanup of files and threads runs."""

import os
import signal
import time
from types import FrameType

CLEANUP_SECONDS = 2.0  # after an interruption, before another one ends the process at once
NOTHING_REMAINS = "no partial file was left"
_REASONS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "terminal closed"}


class Interrupted(SystemExit):
    """A signal that ends the program.

    Attributes:
        pending: The interruption in progress, or None.
        remains: What an interruption leaves behind now, and how to resume, for the error line.
        reason: Reason for the end of the program, for the error line.
    """

    pending: "Interrupted | None" = None
    remains: str = NOTHING_REMAINS

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number
        self.reason = _REASONS[signal.Signals(number).name]
        super().__init__(self.exit_code)

    @property
    def line(self) -> str:
        """The error line."""
        return f"{self.reason}; {self.remains}"


def raise_if_interrupted() -> None:
    """Raise the pending interruption again.

    The exception is lost where Python drops exceptions (finalizers, callbacks from native code) or replaces them (class
    bodies, imports of native modules).
    """
    if Interrupted.pending is not None:
        raise Interrupted.pending


def handle_signals() -> None:
    """Install the handlers; signals that the parent process ignores (nohup, a shell's &) stay ignored."""
    for name in _REASONS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _interrupt)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    """Raise Interrupted; a second Ctrl-C does not stop the cleanup, unless that takes long."""
    start = time.monotonic()

    def leave_late(number: int, _frame: FrameType | None) -> None:
        if time.monotonic() - start >= CLEANUP_SECONDS:
            os._exit(128 + number)  # the guard of `leftovers` removes partial files

    for name in _REASONS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), leave_late)
    Interrupted.pending = Interrupted(number)
    raise Interrupted.pending
