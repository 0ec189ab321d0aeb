"""Threads with bounded queues: order, errors, lookahead, and clean shutdown."""

import threading
import time
from collections.abc import Callable, Generator

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from mimaface_cli.concurrency import BackgroundConsumer, ordered_map, prefetch, split_stream


def is_running(thread_name: str) -> bool:
    return any(thread.name == thread_name for thread in threading.enumerate())


def wait_until(condition: Callable[[], bool], seconds: float = 2.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)


def count_up(
    stop: int, closed_by: list[str] | None = None, error: Exception | None = None
) -> Generator[int, None, None]:
    """Yield 0 to stop - 1, then raise `error`; append the name of the thread that closes it."""
    try:
        yield from range(stop)
        if error:
            raise error
    finally:
        if closed_by is not None:
            closed_by.append(threading.current_thread().name)


def test_prefetch_keeps_the_order_and_ends_its_thread():
    assert list(prefetch(count_up(1000))) == list(range(1000))
    assert list(prefetch(count_up(0))) == []
    assert not is_running("prefetch")


def test_prefetch_works_at_most_depth_items_ahead():
    produced = []

    def record() -> Generator[int, None, None]:
        for number in range(100):
            produced.append(number)
            yield number

    items = prefetch(record(), depth=4)
    assert next(items) == 0
    wait_until(lambda: len(produced) >= 6)
    time.sleep(0.05)
    assert 5 <= len(produced) <= 7
    items.close()


def test_prefetch_raises_an_error_after_the_items_before_it():
    items = prefetch(count_up(3, error=KeyError("x")))
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError):
        next(items)
    assert not is_running("prefetch")


@pytest.mark.parametrize("count", [1, 2, 50])
def test_prefetch_closes_its_source_in_the_thread_when_closed_early(count):
    closed_by = []
    items = prefetch(count_up(10**9, closed_by))
    for _ in range(count):
        next(items)
    items.close()
    assert closed_by == ["prefetch"] and not is_running("prefetch")


def test_prefetch_ends_its_thread_with_the_last_reference():
    items = prefetch(count_up(10**9))
    next(items)
    del items
    assert not is_running("prefetch")


def test_ordered_map_keeps_the_order_whatever_the_duration():
    def delay(number: int) -> int:
        time.sleep(0.002 * (number % 3 == 0))
        return number * number

    assert list(ordered_map(delay, range(50), workers=4)) == [number * number for number in range(50)]
    assert list(ordered_map(delay, [], workers=4)) == []


def test_ordered_map_runs_in_parallel():
    barrier = threading.Barrier(3, timeout=10)
    assert len(list(ordered_map(lambda _: barrier.wait(), range(6), workers=3))) == 6


@pytest.mark.parametrize("workers", [1, 3])
def test_ordered_map_takes_at_most_workers_items_ahead(workers):
    taken = []

    def record() -> Generator[int, None, None]:
        for number in range(100):
            taken.append(number)
            yield number

    results = ordered_map(lambda number: number, record(), workers)
    assert taken == []
    for number in range(10):
        assert next(results) == number
        assert len(taken) == number + 1 + workers
    results.close()
    assert len(taken) == 10 + workers


def test_ordered_map_raises_an_error_at_its_place():
    def invert(number: int) -> float:
        return 1 / (2 - number)

    results = ordered_map(invert, range(100), workers=4)
    assert [next(results), next(results)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []


def count_blas_threads(_: object = None) -> int:
    """Return the largest number of threads that a loaded library of linear algebra may start."""
    return max(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")


def test_ordered_map_limits_linear_algebra_to_one_thread_a_call():
    np.eye(2) @ np.eye(2)  # loads the library
    with threadpool_limits(2, "blas"):
        results = ordered_map(count_blas_threads, range(4), 2)
        assert list(results) == [1] * 4
        assert count_blas_threads() == 2
        results = ordered_map(count_blas_threads, range(4), 2)
        assert next(results) == 1
        results.close()
        assert count_blas_threads() == 2


def test_ordered_map_cancels_waiting_calls_and_waits_for_running_ones_when_closed():
    started, finished, release = [], [], threading.Event()

    def block(number: int) -> int:
        started.append(number)
        if number:
            release.wait(10)
        finished.append(number)
        return number

    results = ordered_map(block, range(100), workers=2)
    assert next(results) == 0
    wait_until(lambda: len(started) == 3)
    threading.Timer(0.05, release.set).start()
    results.close()
    assert sorted(started) == sorted(finished) == [0, 1, 2]


def test_split_stream_yields_the_values_of_each_item_in_step_and_closes_its_source():
    closed = []

    def count() -> Generator[int, None, None]:
        try:
            yield from range(5)
        finally:
            closed.append(True)

    doubled, negative = split_stream(count(), lambda item: 2 * item, lambda item: -item)
    assert (next(doubled), next(doubled), next(negative)) == (0, 2, 0)  # the second stream is read later
    assert (next(negative), next(doubled), next(negative)) == (-1, 4, -2)
    doubled.close()
    assert closed == [True]


def test_background_consumer_keeps_the_order_and_finishes():
    consumed = []
    consumer = BackgroundConsumer(consumed.append, depth=2)
    for number in range(500):
        consumer.put(number)
    consumer.finish()
    assert consumed == list(range(500)) and not is_running("background-consumer")
    consumer.abort()


def test_background_consumer_raises_its_error_and_never_blocks_the_producer():
    def fail(number):
        if number == 3:
            raise KeyError(number)

    consumer = BackgroundConsumer(fail, depth=2)
    with pytest.raises(KeyError):
        for number in range(1000):
            consumer.put(number)
    consumer.abort()
    assert not is_running("background-consumer")
    consumer = BackgroundConsumer(fail, depth=2)
    for number in range(1, 4):
        consumer.put(number)
    with pytest.raises(KeyError):
        consumer.finish()


def test_background_consumer_drops_waiting_items_when_aborted():
    consumed = []

    def consume_slowly(number):
        time.sleep(0.01)
        consumed.append(number)

    consumer = BackgroundConsumer(consume_slowly, depth=8)
    for number in range(9):
        consumer.put(number)
    consumer.abort()
    assert len(consumed) < 9 and not is_running("background-consumer")
