"""Two small threads that let decoding and encoding overlap the work between them; queues are bounded, memory flat."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
_END = object()


def prefetch(items: Iterator[T], depth: int = 4) -> Iterator[T]:
    """Yield `items` in order while a thread prepares up to `depth` more.

    An exception in `items` is raised here, after the items before it. Closing this generator stops the thread and
    closes `items`.
    """
    ready: queue.Queue = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def work() -> None:
        last: object = _END
        try:
            for item in items:
                ready.put((item,))
                if stop.is_set():
                    break
        except BaseException as error:  # handed over to the consumer, who raises it
            last = error
        finally:
            items.close()
            ready.put(last)

    # A daemon: an iterator somebody forgot to close must not keep the interpreter from ending.
    thread = threading.Thread(target=work, name="read-ahead", daemon=True)
    thread.start()
    try:
        while type(item := ready.get()) is tuple:
            yield item[0]
        if item is not _END:
            raise item
    finally:
        stop.set()
        while thread.is_alive():  # the thread may be waiting for room: make some
            while not ready.empty():
                ready.get_nowait()
            thread.join(0.02)


class Worker(Generic[T]):
    """Runs `consume` on each item that is put, in order, in one thread. Ends by `finish` or `abort`."""

    def __init__(self, consume: Callable[[T], None], depth: int = 4) -> None:
        self._consume = consume
        self._waiting: queue.Queue = queue.Queue(maxsize=depth)
        self._error: BaseException | None = None
        self._aborted = False
        self._thread = threading.Thread(target=self._work, name="write-behind", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (item := self._waiting.get()) is not _END:
            # After a failure items are taken and dropped, so that the producer never waits for a dead thread.
            if self._error is None and not self._aborted:
                try:
                    self._consume(item)
                except BaseException as error:  # handed over to the producer, who raises it
                    self._error = error

    def put(self, item: T) -> None:
        """Queue one item, waiting for room. Raises what `consume` raised for an earlier one."""
        if self._error is not None:
            raise self._error
        self._waiting.put(item)

    def finish(self) -> None:
        """Wait until everything is consumed. Raises what `consume` raised."""
        self._waiting.put(_END)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def abort(self) -> None:
        """Drop what is queued and end the thread; harmless after `finish`."""
        self._aborted = True
        while self._thread.is_alive():
            try:
                self._waiting.put(_END, timeout=0.02)
            except queue.Full:
                continue
            self._thread.join()
