"""The two threads: order, errors, and clean ends."""

import threading
import time

import pytest

from mimaface_cli.concurrency import Worker, prefetch


def running(name):
    return any(thread.name == name for thread in threading.enumerate())


def counted(stop, closed=None, error=None):
    try:
        for number in range(stop):
            yield number
        if error:
            raise error
    finally:
        if closed is not None:
            closed.append(threading.current_thread().name)


def test_read_ahead_keeps_order_and_ends():
    assert list(prefetch(counted(1000))) == list(range(1000))
    assert list(prefetch(counted(0))) == []
    assert not running("read-ahead")


def test_read_ahead_runs_ahead_but_not_far():
    seen = []

    def noted():
        for number in range(100):
            seen.append(number)
            yield number

    items = prefetch(noted(), depth=4)
    assert next(items) == 0
    deadline = time.monotonic() + 2
    while len(seen) < 6 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    assert 5 <= len(seen) <= 7
    items.close()


def test_an_error_comes_after_the_items_before_it():
    items = prefetch(counted(3, error=KeyError("x")))
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError):
        next(items)
    assert not running("read-ahead")


@pytest.mark.parametrize("taken", [1, 2, 50])
def test_closing_early_closes_the_source_in_its_own_thread(taken):
    closed = []
    items = prefetch(counted(10**9, closed))
    for _ in range(taken):
        next(items)
    items.close()
    assert closed == ["read-ahead"] and not running("read-ahead")


def test_a_forgotten_iterator_is_closed_with_its_last_reference():
    items = prefetch(counted(10**9))
    next(items)
    del items
    assert not running("read-ahead")


def test_worker_keeps_order_and_finishes():
    seen = []
    worker = Worker(seen.append, depth=2)
    for number in range(500):
        worker.put(number)
    worker.finish()
    assert seen == list(range(500)) and not running("write-behind")
    worker.abort()


def test_worker_hands_its_error_over_and_never_blocks_the_producer():
    def fail(number):
        if number == 3:
            raise KeyError(number)

    worker = Worker(fail, depth=2)
    with pytest.raises(KeyError):
        for number in range(1000):
            worker.put(number)
    worker.abort()
    assert not running("write-behind")
    worker = Worker(fail, depth=2)
    for number in range(1, 4):
        worker.put(number)
    with pytest.raises(KeyError):
        worker.finish()


def test_worker_aborts_in_the_middle():
    seen = []

    def slow(number):
        time.sleep(0.01)
        seen.append(number)

    worker = Worker(slow, depth=8)
    for number in range(9):
        worker.put(number)
    worker.abort()
    assert len(seen) < 9 and not running("write-behind")
