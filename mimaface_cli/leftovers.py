"""Removal of partial files when the process is killed, by a crash of a native library or by the system."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

# Waits until its parent has ended, however that happened, and then removes the paths that are still registered.
_PROGRAM = """
import os, shutil, sys
paths, rest = set(), b""
while data := os.read(0, 65536):
    *records, rest = (rest + data).split(b"\\0")
    for record in records:
        (paths.add if record[:1] == b"+" else paths.discard)(record[1:])
for path in paths:
    folder, name = os.path.split(path)
    for entry in os.listdir(folder) if os.path.isdir(folder) else ():
        if entry == name or entry.startswith(name + b".signed"):
            target = os.path.join(folder, entry)
            try:
                shutil.rmtree(target) if os.path.isdir(target) else os.unlink(target)
            except OSError:
                pass
"""


class _Guard:
    """The process that removes partial files; it is started at the first use, once for each process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = 0  # process that started the guard; a forked process needs one of its own
        self._pipe: IO[bytes] | None = None

    def send(self, record: bytes) -> None:
        with self._lock, suppress(OSError):  # without the guard, a killed process leaves its partial files
            if self._owner != os.getpid():
                self._owner, self._pipe = os.getpid(), None
                self._pipe = _start_guard()
            if self._pipe is not None:
                self._pipe.write(record + b"\0")
                self._pipe.flush()


def _start_guard() -> IO[bytes] | None:
    silent = subprocess.DEVNULL
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=silent,
        stderr=silent,
        start_new_session=True,  # Ctrl-C must not end it before its parent
    )
    process.returncode = 0  # it outlives this process, so it is never waited for
    return process.stdin


_guard = _Guard()


@contextmanager
def remove_if_killed(path: Path) -> Iterator[None]:
    """Have a partial file or folder removed if the process is killed inside the `with` block.

    Args:
        path: The file or folder; it need not exist yet.
    """
    name = os.fsencode(os.path.abspath(path))
    _guard.send(b"+" + name)
    try:
        yield
    finally:
        _guard.send(b"-" + name)
