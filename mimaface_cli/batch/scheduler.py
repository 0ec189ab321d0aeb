"""The loop of a batch: workers take what is ready, failures are tried again, and every job ends with an outcome."""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from mimaface_cli.batch.batch_options import BatchOptions
from mimaface_cli.batch.job_run import BUSY, Reply, settled
from mimaface_cli.batch.job_state import DONE, FAILED, State
from mimaface_cli.batch.jobs import Job
from mimaface_cli.batch.worker import Progress, WorkerDied, task

BLOCKED, LEFT = "blocked", "not started"
_AGAIN = 1.0  # seconds until a job that another run holds is asked for again
_PAUSE = 0.5  # seconds before a failed job is tried again, twice as long each time
_LONGEST_PAUSE = 60.0
_TICK = 0.2


@dataclass(frozen=True)
class Outcome:
    """How a job ended: done, skipped, failed, blocked (a job it needs failed) or not started."""

    job: Job
    status: str
    reply: Reply

    @property
    def good(self) -> bool:
        return self.status in (DONE, "skipped")


class Worker(Protocol):
    """What does tasks: `WorkerProcess`, here or on a cluster."""

    def do(self, task: Mapping[str, Any], progress: Progress, timeout: float | None = None) -> Reply: ...

    def stop(self) -> None: ...


class NoRoom(Exception):
    """No worker can be started now: the cluster has no room for it."""


class Watch(Protocol):
    """Who looks on; called from the thread that called `run_batch`, several times a second."""

    def ended(self, outcome: Outcome) -> None: ...

    def tick(self, done: int, total: int, stages: Mapping[int, tuple[Job, str, int, int | None]]) -> None: ...


def run_batch(
    jobs: list[Job], state: State, start: Callable[[int], Worker], options: BatchOptions, watch: Watch
) -> list[Outcome]:
    """Do all jobs. start: makes worker number n. Returns an outcome for each job, in the order of `jobs`; what the
    watch raises (a signal) stops the workers and passes on. Raises OutputError where the state's folder cannot be
    used.
    """
    state.prepare()
    board = Board(jobs, state, options)
    events: queue.Queue = queue.Queue()
    for outcome in board.news():
        events.put((0, outcome))
    stop = threading.Event()
    count = board.lanes
    lanes = [
        threading.Thread(target=_lane, args=(n, board, state, start, options, events, stop), daemon=True)
        for n in range(count)
    ]
    outcomes: dict[str, Outcome] = {}
    stages: dict[int, tuple[Job, str, int, int | None]] = {}
    faults: list[BaseException] = []
    for lane in lanes:
        lane.start()
    try:
        while count or not events.empty():
            with suppress(queue.Empty):
                number, what = events.get(timeout=_TICK)
                if what is None:
                    count -= 1
                elif isinstance(what, Outcome):
                    outcomes[what.job.id] = what
                    stages.pop(number, None)
                    watch.ended(what)
                elif isinstance(what, BaseException):
                    faults.append(what)
                    stop.set()
                    board.halt()
                else:
                    stages[number] = what
            watch.tick(len(outcomes), len(jobs), stages)
    finally:
        stop.set()
        board.halt()
        for lane in lanes:
            lane.join()
    if faults:
        raise faults[0]
    return [outcomes.get(job.id) or Outcome(job, LEFT, Reply(FAILED)) for job in jobs]


def _lane(
    number: int,
    board: "Board",
    state: State,
    start: Callable[[int], Worker],
    options: BatchOptions,
    events: queue.Queue,
    stop: threading.Event,
) -> None:
    """One worker's life: started when there is work, again when it died, ended when nothing is left."""
    worker: Worker | None = None
    stopped = threading.Thread(target=lambda: (stop.wait(), _end(worker)), daemon=True)
    stopped.start()
    try:
        while board.left():
            try:
                worker = worker or start(number)
            except NoRoom:
                if board.leave():
                    return
                continue
            if stop.is_set() or (job := board.take()) is None:
                return
            show = lambda stage, done, total, job=job: events.put((number, (job, stage, done, total)))  # noqa: E731
            try:
                asked = task(state, job, board.budget[job.id], options.skip_existing)
                reply = worker.do(asked, show, options.timeout)
            except WorkerDied as error:
                _end(worker)
                worker = None
                if stop.is_set():
                    return
                state.died(job, str(error))
                board.lost(job, str(error))
            else:
                board.give(job, reply)
            for outcome in board.news():
                events.put((number, outcome))
    except BaseException as error:  # handed to the thread that waits
        events.put((number, error))
    finally:
        for outcome in board.news():
            events.put((number, outcome))
        try:
            _end(worker)
        finally:
            events.put((number, None))  # the lane is over


def _end(worker: Worker | None) -> None:
    if worker is not None:
        worker.stop()


class Board:
    """Who does what: jobs wait for those they need, for a pause after a failure, or for another run that holds them."""

    def __init__(self, jobs: list[Job], state: State, options: BatchOptions) -> None:
        self._options = options
        self._waiting = list(jobs)
        self._ended: dict[str, Outcome] = {}
        self._news: list[Outcome] = []
        self._running: dict[str, Job] = {}
        self._not_before: dict[str, float] = {}
        self._deaths: dict[str, int] = {}
        self._warm: set[str] = set()  # drivers that were read
        self._halted = False
        self._changed = threading.Condition()
        self._rows = {job.id: job.row for job in jobs}
        self.budget: dict[str, int] = {}
        """Attempts, earlier runs' included, after which a job has failed for good."""
        for job in jobs:
            record = state.record(job.id)
            budget = self.budget[job.id] = (record.attempts if record is not None else 0) + 1 + options.retry
            if reply := settled(record, job, budget):
                self._waiting.remove(job)
                self._warm |= {job.driver} if reply.status == DONE else set()
                self._end(Outcome(job, reply.status, reply))
        self.lanes = max(1, min(options.workers or 1, len(self._waiting)))
        """How many workers are at it."""

    def left(self) -> bool:
        """Whether anything may still be to do."""
        with self._changed:
            self._block()
            return not self._halted and bool(self._waiting or self._running)

    def leave(self) -> bool:
        """Whether a worker that could not be started may be given up: others go on."""
        with self._changed:
            last = self.lanes == 1
            self.lanes -= not last
            return not last

    def take(self) -> Job | None:
        """The next job, waiting until one is ready; None where none will be."""
        with self._changed:
            while True:
                self._block()
                if self._halted or not (self._waiting or self._running):
                    return None
                now = time.monotonic()
                ready = [
                    job
                    for job in self._waiting
                    if self._not_before.get(job.id, 0.0) <= now and all(self._good(other) for other in job.after)
                ]
                if ready:
                    # Two that read the same new driver would wait for one another: take one that does not, if there is.
                    reading = {job.driver for job in self._running.values()} - self._warm
                    job = next((job for job in ready if job.driver not in reading), ready[0])
                    self._waiting.remove(job)
                    self._running[job.id] = job
                    return job
                self._changed.wait(_TICK)

    def give(self, job: Job, reply: Reply) -> None:
        """A worker's answer to a job."""
        with self._changed:
            del self._running[job.id]
            if reply.status == BUSY:
                self._later(job, _AGAIN)
            elif reply.status == FAILED and reply.attempts < self.budget[job.id]:
                used = reply.attempts - (self.budget[job.id] - self._options.retry)
                self._later(job, min(_LONGEST_PAUSE, _PAUSE * 2.0 ** max(0, used)))
            else:
                self._warm.add(job.driver)
                self._end(Outcome(job, reply.status, reply))
            self._changed.notify_all()

    def lost(self, job: Job, reason: str) -> None:
        """A worker died over a job: it is tried once more at no cost, then by `retry`."""
        with self._changed:
            deaths = self._deaths[job.id] = self._deaths.get(job.id, 0) + 1
            if deaths == 1:
                self.budget[job.id] += 1
            attempts = self.budget[job.id] if deaths > 1 + self._options.retry else 0
        self.give(job, Reply(FAILED, attempts, 1, reason, made=True))

    def halt(self) -> None:
        """Hand out no more."""
        with self._changed:
            self._halted = True
            self._changed.notify_all()

    def news(self) -> list[Outcome]:
        """Outcomes since it was last asked."""
        with self._changed:
            news, self._news = self._news, []
            return news

    def _good(self, key: str) -> bool:
        """Whether a job that is waited for is done; one that is not in the list was never ours to wait for."""
        return key not in self._rows or (key in self._ended and self._ended[key].good)

    def _later(self, job: Job, pause: float) -> None:
        self._not_before[job.id] = time.monotonic() + pause
        self._waiting.append(job)

    def _end(self, outcome: Outcome) -> None:
        self._ended[outcome.job.id] = outcome
        self._news.append(outcome)
        if not outcome.good and self._options.halt_on_error:
            self._halted = True

    def _block(self) -> None:
        """End the jobs that wait for one that failed."""
        while blocked := next((job for job in self._waiting if any(self._bad(other) for other in job.after)), None):
            self._waiting.remove(blocked)
            culprit = next(other for other in blocked.after if self._bad(other))
            reason = f"row {self._rows[culprit]}, whose output it takes, failed"
            self._end(Outcome(blocked, BLOCKED, Reply(FAILED, 0, 1, reason)))

    def _bad(self, key: str) -> bool:
        return key in self._ended and not self._ended[key].good
