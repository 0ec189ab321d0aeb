"""Loading of a driver in a thread, while the photo that it will move is prepared."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from mimaface_cli.drivers.base import Driver
from mimaface_cli.progress import ProgressCallback


class _CancelledError(Exception):
    """The run failed elsewhere, so nobody waits for the driver."""


class DriverTask:
    """A driver that is being loaded in a thread. Leaving the context ends the thread, at the next frame.

    Args:
        load: Loads the driver; it is called with a progress callback.
        progress: Called in the thread with the stage, the units done and the total.
    """

    def __init__(self, load: Callable[[ProgressCallback], Driver], progress: ProgressCallback) -> None:
        self._progress = progress
        self._is_cancelled = threading.Event()
        self._pool = ThreadPoolExecutor(1, "driver")
        self._future = self._pool.submit(load, self._report)

    def _report(self, stage: str, done: int, total: int | None) -> None:
        if self._is_cancelled.is_set():
            raise _CancelledError
        self._progress(stage, done, total)

    def result(self) -> Driver:
        """Wait for the driver. Raises what loading raised."""
        return self._future.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_cancelled.set()
        self._pool.shutdown(wait=True)
