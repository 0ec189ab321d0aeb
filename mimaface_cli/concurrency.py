"""Streams of items: prefetch and consume in threads, map in parallel and in order, split in two."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from threadpoolctl import threadpool_limits

T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class _Item(Generic[T]):
    value: T


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None = None


def prefetch(items: Generator[T, None, None], depth: int = 4) -> Generator[T, None, None]:
    """Iterate over `items` in a thread that works ahead of the consumer.

    Closing this generator stops the thread and closes `items`, in that thread.

    Args:
        items: Generator to run in the thread.
        depth: Number of items that the queue holds.

    Yields:
        The items in order. An exception of `items` is raised here, after the items before it.
    """
    ready: queue.Queue[_Item[T] | _End] = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def produce() -> None:
        end = _End()
        try:
            for item in items:
                ready.put(_Item(item))
                if stop.is_set():
                    break
        except BaseException as error:  # the consumer raises it
            end = _End(error)
        finally:
            items.close()
            ready.put(end)

    # A daemon thread: a generator that is never closed must not keep the interpreter from exiting.
    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        while isinstance(entry := ready.get(), _Item):
            yield entry.value
        if entry.error is not None:
            raise entry.error
    finally:
        stop.set()
        while thread.is_alive():  # the thread may be waiting for space in the queue
            while not ready.empty():
                ready.get_nowait()
            thread.join(0.02)


def ordered_map(function: Callable[[T], R], items: Iterable[T], workers: int) -> Generator[R, None, None]:
    """Apply a function to items in parallel threads, lazily and in order.

    The calling thread iterates over `items`, at most `workers` items ahead of the result that the consumer holds.
    Closing the generator cancels the calls that have not started and waits for those that run. In the meantime, linear
    algebra runs in one thread a call: threads of its own would compete with these and wait in busy loops.

    Args:
        function: Function of one item; it runs in the threads.
        items: Arguments of the calls, consumed lazily.
        workers: Number of threads.

    Yields:
        The results in the order of the items. An exception of a call is raised at its place in the order.
    """
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[R]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def split_stream(
    items: Generator[T, None, None], first: Callable[[T], R], second: Callable[[T], S]
) -> tuple[Generator[R, None, None], Iterator[S]]:
    """Split a stream into two values of each item.

    Args:
        items: The stream; it is closed with the first of the returned iterators.
        first: Returns the value of an item for the first iterator, which drives the stream.
        second: Returns the value of an item for the second iterator.

    Returns:
        The iterators. A value of the second one can be read as soon as the first one has yielded that of the same item,
        and waits until then.
    """
    waiting: deque[S] = deque()

    def leading() -> Generator[R, None, None]:
        try:
            for item in items:
                waiting.append(second(item))
                yield first(item)
        finally:
            items.close()

    def trailing() -> Iterator[S]:
        while True:
            yield waiting.popleft()

    return leading(), trailing()


class BackgroundConsumer(Generic[T]):
    """A thread that calls a function with each item put, in order; ended by `finish` or `abort`.

    Args:
        consume: Function to call with each item.
        depth: Number of items that the queue holds.
    """

    def __init__(self, consume: Callable[[T], None], depth: int = 4) -> None:
        self._consume = consume
        self._waiting: queue.Queue[_Item[T] | _End] = queue.Queue(maxsize=depth)
        self._error: BaseException | None = None
        self._is_aborted = False
        self._thread = threading.Thread(target=self._work, name="background-consumer", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while isinstance(entry := self._waiting.get(), _Item):
            # After a failure the thread drops the items: the producer must never wait for a dead thread.
            if self._error is None and not self._is_aborted:
                try:
                    self._consume(entry.value)
                except BaseException as error:  # the producer raises it
                    self._error = error

    def put(self, item: T) -> None:
        """Queue an item; wait while the queue is full.

        Raises:
            BaseException: What `consume` raised for an earlier item.
        """
        if self._error is not None:
            raise self._error
        self._waiting.put(_Item(item))

    def finish(self) -> None:
        """Wait until every item is consumed and end the thread.

        Raises:
            BaseException: What `consume` raised.
        """
        self._waiting.put(_End())
        self._thread.join()
        if self._error is not None:
            raise self._error

    def abort(self) -> None:
        """Drop the queued items and end the thread; does nothing after `finish`."""
        self._is_aborted = True
        while self._thread.is_alive():
            try:
                self._waiting.put(_End(), timeout=0.02)
            except queue.Full:
                continue
            self._thread.join()
