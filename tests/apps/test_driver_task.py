"""Loading of a driver in a thread: results, errors and the end of an extraction that nobody waits for."""

import threading
import time

import pytest

from mimaface_cli.apps.driver_task import DriverTask
from mimaface_cli.errors import InputError
from mimaface_cli.progress import ignore_progress


def test_result_is_what_load_returned_and_progress_is_passed_on():
    calls = []

    def load(progress):
        progress("extracting", 1, 2)
        return "driver"

    with DriverTask(load, lambda *call: calls.append(call)) as task:
        assert task.result() == "driver"
    assert calls == [("extracting", 1, 2)]


def test_result_raises_what_load_raised():
    def load(progress):
        raise InputError("no face")

    with DriverTask(load, ignore_progress) as task, pytest.raises(InputError, match="no face"):
        task.result()


def test_error_beside_the_task_stops_the_extraction():
    started, frames = threading.Event(), []

    def load(progress):
        for frame in range(10_000):
            progress("extracting", frame, None)
            frames.append(frame)
            started.set()
            time.sleep(0.001)

    with pytest.raises(InputError, match="photo"), DriverTask(load, ignore_progress):
        started.wait()
        raise InputError("photo")
    assert len(frames) < 5_000
