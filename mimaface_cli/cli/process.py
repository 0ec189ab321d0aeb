"""The `mimaface` process: its streams, its signals and its exit code.

Imports only light modules, so that streams and signals are set up before anything heavy is loaded.
"""

import atexit
import logging
import os
import sys
import warnings
from contextlib import suppress
from typing import NoReturn

from mimaface_cli.cli.interrupt import Interrupted, handle_signals


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    exit_codes: list[int] = []
    atexit.register(_exit_at_once, exit_codes)  # the first function registered is called last
    words = sys.argv[1:]
    debug = "--debug" in words  # accepted anywhere, not only before the command
    _prepare_streams()
    if not debug:
        _silence_libraries()
    try:
        handle_signals()
        from mimaface_cli.cli.app import run

        code = run([word for word in words if word != "--debug"], debug)
    except BaseException:
        # Python and native modules replace the exception if a signal arrives while they are imported.
        if Interrupted.pending is None:
            raise
        if sys.stderr is not None:
            with suppress(OSError):
                sys.stderr.write(f"mimaface: {Interrupted.pending.line}\n")
        code = Interrupted.pending.exit_code
    exit_codes.append(code)
    sys.exit(code)


def _exit_at_once(exit_codes: list[int]) -> None:
    """Exit without Python's teardown, which takes half a second for the libraries that MediaPipe loads."""
    if exit_codes:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(exit_codes[0])


def _prepare_streams() -> None:
    """Redirect closed standard streams to the null device, and make every file name printable.

    Without the redirection, the next opened file would get descriptor 2, to which native code logs.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _silence_libraries() -> None:
    """Discard the messages of libraries, so that the error stream has only lines of this program.

    MediaPipe, FFmpeg and encoders log to file descriptor 2; Python libraries use `warnings` and `logging`.
    """
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda _: None  # errors in finalizers of native objects at exit
    logging.getLogger().addHandler(logging.NullHandler())
    if sys.stderr is None:
        return
    with suppress(OSError, ValueError):  # a stream without a descriptor, to which native code cannot write
        descriptor = os.dup(sys.stderr.fileno())
        sys.stderr = open(  # noqa: SIM115 - stays open until the process ends
            descriptor, "w", encoding=sys.stderr.encoding, errors="backslashreplace", buffering=1
        )
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)
