"""The scheduler of a batch: workers take ready jobs, failed jobs are retried, every job gets an outcome."""

import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from mimaface_cli.batch.batch_options import BatchOptions
from mimaface_cli.batch.job_queue import JobOutcome, JobQueue
from mimaface_cli.batch.job_run import JobReply
from mimaface_cli.batch.job_state import FAILED, StateFolder
from mimaface_cli.batch.jobs import Job
from mimaface_cli.batch.worker import WorkerDiedError, make_task
from mimaface_cli.progress import ProgressCallback

NOT_STARTED = "not started"
_TICK = 0.2  # seconds between two calls of the observer

_Stage = tuple[Job, str, int, int | None]


class Worker(Protocol):
    """Runs tasks: a `WorkerProcess` on this machine, or a `RayWorker` on a cluster."""

    def run_task(self, task: Mapping[str, Any], progress: ProgressCallback, timeout: float | None = None) -> JobReply:
        """Run a task and return the reply. Raises WorkerDiedError."""

    def stop(self) -> None:
        """End the worker."""


class NoCapacityError(Exception):
    """The cluster has no resources to start another worker now."""


class BatchObserver(Protocol):
    """Observer of a batch; `run_batch` calls it several times per second, from the thread that it runs in."""

    def on_outcome(self, outcome: JobOutcome) -> None:
        """Receive the outcome of a job."""

    def on_tick(self, done: int, total: int, stages: Mapping[int, _Stage]) -> None:
        """Receive the number of finished jobs and, by worker, the stages of the running jobs."""


def run_batch(
    jobs: list[Job],
    states: StateFolder,
    start_worker: Callable[[int], Worker],
    options: BatchOptions,
    observer: BatchObserver,
) -> list[JobOutcome]:
    """Run all jobs.

    Args:
        jobs: The jobs; each comes after those that it needs.
        states: The jobs' records.
        start_worker: Starts a worker; its argument is the worker's number.
        options: Options of the batch.
        observer: Receives outcomes and progress; an exception that it raises (a signal) stops the workers.

    Returns:
        An outcome for each job, in the order of `jobs`.

    Raises:
        OutputError: The folder of the records cannot be written.
    """
    states.prepare()
    run = _BatchRun(JobQueue(jobs, states, options), states, start_worker, options)
    outcomes: dict[str, JobOutcome] = {}
    stages: dict[int, _Stage] = {}
    run.start()
    try:
        while run.is_active:
            with suppress(queue.Empty):
                number, event = run.events.get(timeout=_TICK)
                if event is None:
                    run.active_slots -= 1
                elif isinstance(event, JobOutcome):
                    outcomes[event.job.id] = event
                    stages.pop(number, None)
                    observer.on_outcome(event)
                elif isinstance(event, BaseException):
                    run.fail(event)
                else:
                    stages[number] = event
            observer.on_tick(len(outcomes), len(jobs), stages)
    finally:
        run.stop()
    if run.errors:
        raise run.errors[0]
    return [outcomes.get(job.id) or JobOutcome(job, NOT_STARTED, JobReply(FAILED)) for job in jobs]


class _BatchRun:
    """The threads of a batch, one per worker, and the events that they send to the main thread.

    An event has the number of the worker slot and a stage, an outcome, an exception, or None at the slot's end.
    """

    def __init__(
        self, jobs: JobQueue, states: StateFolder, start_worker: Callable[[int], Worker], options: BatchOptions
    ) -> None:
        self._jobs = jobs
        self._states = states
        self._start_worker = start_worker
        self._options = options
        self._is_stopped = threading.Event()
        self.events: queue.Queue[tuple[int, _Stage | JobOutcome | BaseException | None]] = queue.Queue()
        self.errors: list[BaseException] = []
        self.active_slots = jobs.slots
        self._threads = [
            threading.Thread(target=self._run_slot, args=(number,), daemon=True) for number in range(jobs.slots)
        ]

    @property
    def is_active(self) -> bool:
        """Whether a slot is running or an event is waiting."""
        return self.active_slots > 0 or not self.events.empty()

    def start(self) -> None:
        """Start the slots, after the outcomes of jobs that need no run."""
        self._send_outcomes(0)
        for thread in self._threads:
            thread.start()

    def fail(self, error: BaseException) -> None:
        """Stop everything after an error of a slot."""
        self.errors.append(error)
        self._is_stopped.set()
        self._jobs.halt()

    def stop(self) -> None:
        """Stop the slots and wait for them."""
        self._is_stopped.set()
        self._jobs.halt()
        for thread in self._threads:
            thread.join()

    def _send_outcomes(self, number: int) -> None:
        for outcome in self._jobs.take_outcomes():
            self.events.put((number, outcome))

    def _run_slot(self, number: int) -> None:
        """Run jobs with one worker: start it if there is work, restart it after a death, end it at the end."""
        slot = _WorkerSlot()

        def stop_with_batch() -> None:
            self._is_stopped.wait()
            slot.stop_worker()

        threading.Thread(target=stop_with_batch, daemon=True).start()
        try:
            while self._jobs.has_work():
                try:
                    worker = slot.worker = slot.worker or self._start_worker(number)
                except NoCapacityError:
                    if self._jobs.drop_slot():
                        return
                    continue
                if self._is_stopped.is_set() or (job := self._jobs.take_job()) is None:
                    return
                if not self._run_job(number, slot, worker, job):
                    return
                self._send_outcomes(number)
        except BaseException as error:  # the main thread raises it
            self.events.put((number, error))
        finally:
            self._send_outcomes(number)
            try:
                slot.stop_worker()
            finally:
                self.events.put((number, None))

    def _run_job(self, number: int, slot: "_WorkerSlot", worker: Worker, job: Job) -> bool:
        """Run a job; return False if the batch was stopped meanwhile."""

        def show(stage: str, done: int, total: int | None) -> None:
            self.events.put((number, (job, stage, done, total)))

        try:
            task = make_task(self._states, job, self._jobs.budget[job.id], self._options.skip_existing)
            reply = worker.run_task(task, show, self._options.timeout)
        except WorkerDiedError as error:
            slot.stop_worker()
            slot.worker = None
            if self._is_stopped.is_set():
                return False
            self._states.record_death(job, str(error))
            self._jobs.put_worker_death(job, str(error))
        else:
            self._jobs.put_reply(job, reply)
        return True


class _WorkerSlot:
    """Holder of one slot's current worker."""

    def __init__(self) -> None:
        self.worker: Worker | None = None

    def stop_worker(self) -> None:
        """End the worker, if there is one."""
        if self.worker is not None:
            self.worker.stop()
