"""Worker processes, which run one job after another, so that programs and models are loaded once.

A worker is any command that reads tasks and writes answers as JSON lines; `serve` is its main loop. It ends when its
input ends, and so in any case when the parent process ends. This module imports only light modules, so that the first
worker and the parent process load at the same time.
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

from mimaface_cli.progress import ProgressCallback

if TYPE_CHECKING:
    from mimaface_cli.batch.job_run import JobReply, RunCommand
    from mimaface_cli.batch.job_state import StateFolder
    from mimaface_cli.batch.jobs import Job

_GRACE = 20.0  # seconds that a worker may take for its cleanup


class WorkerDiedError(Exception):
    """The process ended without an answer; the message describes how."""


class WorkerProcess:
    """Handle of a worker process in its parent process.

    Args:
        command: The command that starts the worker.
        folder: Working directory, to which the jobs' paths are relative.
        variables: Additional environment variables.
    """

    def __init__(self, command: list[str], folder: Path, variables: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={**os.environ, **(variables or {})},
            start_new_session=True,  # Ctrl-C interrupts only the parent process, which stops its workers
        )
        assert self._process.stdin is not None and self._process.stdout is not None  # both are pipes
        self._tasks: IO[bytes] = self._process.stdin
        self._answers: IO[bytes] = self._process.stdout
        self.pid = self._process.pid

    def run_task(self, task: Mapping[str, Any], progress: ProgressCallback, timeout: float | None = None) -> "JobReply":
        """Run a task (see `make_task`) and return the reply.

        Raises:
            WorkerDiedError: The process ended, or the task took more than `timeout` seconds.
        """
        from mimaface_cli.batch.job_run import JobReply

        is_late = threading.Event()

        def stop_late_task() -> None:
            is_late.set()
            self._process.kill()

        timer = threading.Timer(timeout, stop_late_task) if timeout else None
        try:
            if timer is not None:
                timer.start()
            with suppress(OSError):
                self._tasks.write(json.dumps(task).encode() + b"\n")
                self._tasks.flush()
            for line in self._answers:
                answer = json.loads(line)
                if "reply" in answer:
                    return JobReply(**answer["reply"])
                progress(*answer["progress"])
        finally:
            if timer is not None:
                timer.cancel()
        code = self._process.wait()
        if timeout and is_late.is_set():
            raise WorkerDiedError(f"took longer than {timeout:g} s and was stopped")
        raise WorkerDiedError(_describe_exit(code))

    def kill(self) -> None:
        """Kill a worker that has no task."""
        self._process.kill()
        self.stop()

    def stop(self) -> None:
        """End the worker; kill it if its cleanup takes longer than the grace period."""
        with suppress(OSError):
            self._tasks.close()
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()


def _describe_exit(code: int) -> str:
    """Return how a worker ended, by its exit code."""
    if code >= 0:
        return f"its worker ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"its worker was ended by {name}{' (possibly out of memory)' if name == 'SIGKILL' else ''}"


def make_task(states: "StateFolder", job: "Job", budget: int, skip_existing: bool) -> dict[str, Any]:
    """Return the task for a job as JSON values; see `run_job` for the arguments."""
    values = asdict(job) | {name: [str(path) for path in getattr(job, name)] for name in ("inputs", "outputs")}
    return {"state": str(states.folder), "job": values, "budget": budget, "skip_existing": skip_existing}


def serve(make_runner: Callable[[ProgressCallback], "RunCommand"]) -> None:
    """Run the tasks of the input stream and answer on the output stream, until the input ends.

    Anything else that is written to the output stream is discarded.

    Args:
        make_runner: Returns the function that runs a command line, for the callback that receives its progress.
    """
    from mimaface_cli.batch.job_run import run_job
    from mimaface_cli.batch.job_state import StateFolder
    from mimaface_cli.batch.jobs import Job

    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    lock = threading.Lock()

    def answer(**values: Any) -> None:
        with lock, suppress(OSError):  # if the parent process has ended, this process will end as well
            answers.write(json.dumps(values) + "\n")
            answers.flush()

    def report_progress(stage: str, done: int, total: int | None) -> None:
        answer(progress=[stage, done, total])

    runner = make_runner(report_progress)
    for task in _read_tasks(os.fdopen(os.dup(sys.stdin.fileno()), "rb")):
        values = task["job"]
        paths = {name: tuple(map(Path, values[name])) for name in ("inputs", "outputs")}
        job = Job(**values | paths | {"after": tuple(values["after"])})
        reply = run_job(StateFolder(Path(task["state"])), job, task["budget"], task["skip_existing"], runner)
        answer(reply=asdict(reply))


def _read_tasks(stream: IO[bytes]) -> Iterator[dict[str, Any]]:
    """Yield tasks as they arrive.

    If the stream ends during a task, the process terminates; if it does not within the grace period, it is killed.
    """
    lines: queue.Queue[bytes | None] = queue.Queue()
    is_busy = threading.Event()

    def read() -> None:
        for line in stream:
            lines.put(line)
        lines.put(None)
        if is_busy.is_set():
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(_GRACE)
            os._exit(1)

    threading.Thread(target=read, name="tasks", daemon=True).start()
    while (line := lines.get()) is not None:
        is_busy.set()
        yield json.loads(line)
        is_busy.clear()
