"""Workers: processes that live long and do one job after the other, so that programs and models are loaded once.

A worker is any command that reads tasks and writes answers as JSON lines (`serve` is its inside). It ends when its
input ends, that is with the process that started it, however that ended. This module is light, so that the first worker
loads beside the process that starts it.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimaface_cli.batch.job_run import Reply, Run
    from mimaface_cli.batch.job_state import State
    from mimaface_cli.batch.jobs import Job

_GRACE = 20.0  # seconds a worker has to clean up when it is asked to end
Progress = Callable[[str, int, int | None], None]


class WorkerDied(Exception):
    """The process ended without an answer; the text says how."""


class WorkerProcess:
    """The near end of a worker. command: what starts it. folder: which relative paths of jobs count from. variables: of
    its environment, over ours.
    """

    def __init__(self, command: list[str], folder: Path, variables: Mapping[str, str] = {}) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={**os.environ, **variables},
            start_new_session=True,  # Ctrl-C in a terminal goes to us, and we tell our workers
        )
        self.pid = self._process.pid

    def do(self, task: Mapping[str, Any], progress: Progress, timeout: float | None = None) -> "Reply":
        """Have a task (see `task`) done. Raises WorkerDied, also where it takes more than `timeout` seconds."""
        from mimaface_cli.batch.job_run import Reply

        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(timeout, end) if timeout else None
        try:
            if timer is not None:
                timer.start()
            with suppress(OSError):
                self._process.stdin.write(json.dumps(task).encode() + b"\n")
                self._process.stdin.flush()
            for line in self._process.stdout:
                answer = json.loads(line)
                if "reply" in answer:
                    return Reply(**answer["reply"])
                progress(*answer["progress"])
        finally:
            if timer is not None:
                timer.cancel()
        code = self._process.wait()
        raise WorkerDied(f"took longer than {timeout:g} s and was ended" if late.is_set() else _how(code))

    def kill(self) -> None:
        """End one that has done nothing."""
        self._process.kill()
        self.stop()

    def stop(self) -> None:
        """End it: it has some seconds to clean up."""
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def _how(code: int) -> str:
    if code >= 0:
        return f"its worker ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"its worker was ended by {name}{' (the memory may have run out)' if name == 'SIGKILL' else ''}"


def task(state: "State", job: "Job", budget: int, skip_existing: bool) -> dict[str, Any]:
    """What a worker is sent: a job and how far to go with it, as JSON values."""
    plain = asdict(job) | {name: [str(path) for path in getattr(job, name)] for name in ("inputs", "outputs")}
    return {"state": str(state.folder), "job": plain, "budget": budget, "skip_existing": skip_existing}


def serve(run: Callable[[Progress], "Run"]) -> None:
    """The inside of a worker: tasks from the input stream, answers on the output stream, until the input ends; whatever
    else writes to the output stream is lost. run: makes what runs a command line, given where its progress goes.
    """
    from mimaface_cli.batch.job_run import perform
    from mimaface_cli.batch.job_state import State
    from mimaface_cli.batch.jobs import Job

    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    lock = threading.Lock()

    def answer(**what: Any) -> None:
        with lock, suppress(OSError):  # nobody listens any more: the end is near
            answers.write(json.dumps(what) + "\n")
            answers.flush()

    runner = run(lambda stage, done, total: answer(progress=[stage, done, total]))
    for given in _tasks(os.fdopen(os.dup(sys.stdin.fileno()), "rb")):
        values = given["job"]
        paths = {name: tuple(map(Path, values[name])) for name in ("inputs", "outputs")}
        job = Job(**values | paths | {"after": tuple(values["after"])})
        reply = perform(State(Path(given["state"])), job, given["budget"], given["skip_existing"], runner)
        answer(reply=asdict(reply))


def _tasks(stream: IO[bytes]) -> Iterator[dict[str, Any]]:
    """The tasks as they come; where the stream ends while one is done, the process is asked to end, then made to."""
    waiting: queue.Queue[bytes | None] = queue.Queue()
    busy = threading.Event()

    def read() -> None:
        for line in stream:
            waiting.put(line)
        waiting.put(None)
        if busy.is_set():
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(_GRACE)
            os._exit(1)

    threading.Thread(target=read, name="tasks", daemon=True).start()
    while (line := waiting.get()) is not None:
        busy.set()
        yield json.loads(line)
        busy.clear()
