"""The queue of a batch: it selects the next job and holds the jobs that must wait."""

import threading
import time
from dataclasses import dataclass

from mimaface_cli.batch.batch_options import BatchOptions
from mimaface_cli.batch.job_run import BUSY, SKIPPED, JobReply, settled_reply
from mimaface_cli.batch.job_state import DONE, FAILED, StateFolder
from mimaface_cli.batch.jobs import Job

BLOCKED = "blocked"
_BUSY_PAUSE = 1.0  # seconds until a job of another runner is checked again
_RETRY_PAUSE = 0.5  # seconds until a failed job is retried; doubles with each retry
_MAX_RETRY_PAUSE = 60.0
_TICK = 0.2  # seconds between two checks for a ready job


@dataclass(frozen=True)
class JobOutcome:
    """Outcome of a job.

    Attributes:
        job: The job.
        status: "done", "skipped", "failed", "blocked" (a job that it needs failed) or "not started".
        reply: The worker's reply.
    """

    job: Job
    status: str
    reply: JobReply

    @property
    def is_success(self) -> bool:
        """Whether the output exists."""
        return self.status in (DONE, SKIPPED)


class JobQueue:
    """Jobs that wait: for jobs that they need, for the pause after a failure, or for another runner.

    Attributes:
        budget: Maximum number of attempts, those of earlier runs included, by job id.
        slots: Number of workers in use.
    """

    def __init__(self, jobs: list[Job], states: StateFolder, options: BatchOptions) -> None:
        self._options = options
        self._waiting = list(jobs)
        self._outcomes: dict[str, JobOutcome] = {}
        self._new_outcomes: list[JobOutcome] = []
        self._running: dict[str, Job] = {}
        self._not_before: dict[str, float] = {}
        self._deaths: dict[str, int] = {}
        self._cached_drivers: set[str] = set()
        self._is_halted = False
        self._changed = threading.Condition()
        self._rows = {job.id: job.row for job in jobs}
        self.budget: dict[str, int] = {}
        for job in jobs:
            record = states.load_record(job.id)
            budget = (record.attempts if record is not None else 0) + 1 + options.retry
            self.budget[job.id] = budget
            if reply := settled_reply(record, job, budget):
                self._waiting.remove(job)
                if reply.status == DONE:
                    self._cached_drivers.add(job.driver)
                self._finish(JobOutcome(job, reply.status, reply))
        self.slots = max(1, min(options.workers or 1, len(self._waiting)))

    def has_work(self) -> bool:
        """Return whether a job waits or runs."""
        with self._changed:
            self._finish_blocked()
            return not self._is_halted and bool(self._waiting or self._running)

    def drop_slot(self) -> bool:
        """Give up a worker that cannot be started; return False if it is the only one left."""
        with self._changed:
            is_last = self.slots == 1
            self.slots -= not is_last
            return not is_last

    def take_job(self) -> Job | None:
        """Wait for the next ready job and return it; return None if no job is left."""
        with self._changed:
            while True:
                self._finish_blocked()
                if self._is_halted or not (self._waiting or self._running):
                    return None
                now = time.monotonic()
                ready = [
                    job
                    for job in self._waiting
                    if self._not_before.get(job.id, 0.0) <= now and all(self._is_done(key) for key in job.after)
                ]
                if ready:
                    # Two jobs with the same new driver would wait for each other: prefer one with another driver.
                    new_drivers = {job.driver for job in self._running.values()} - self._cached_drivers
                    job = next((job for job in ready if job.driver not in new_drivers), ready[0])
                    self._waiting.remove(job)
                    self._running[job.id] = job
                    return job
                self._changed.wait(_TICK)

    def put_reply(self, job: Job, reply: JobReply) -> None:
        """Process a worker's reply: finish the job, or queue it for another attempt."""
        with self._changed:
            del self._running[job.id]
            if reply.status == BUSY:
                self._postpone(job, _BUSY_PAUSE)
            elif reply.status == FAILED and reply.attempts < self.budget[job.id]:
                retries = reply.attempts - (self.budget[job.id] - self._options.retry)
                self._postpone(job, min(_MAX_RETRY_PAUSE, _RETRY_PAUSE * 2.0 ** max(0, retries)))
            else:
                self._cached_drivers.add(job.driver)
                self._finish(JobOutcome(job, reply.status, reply))
            self._changed.notify_all()

    def put_worker_death(self, job: Job, reason: str) -> None:
        """Process the death of a worker: the first one does not count as an attempt, later ones count as retries."""
        with self._changed:
            deaths = self._deaths[job.id] = self._deaths.get(job.id, 0) + 1
            if deaths == 1:
                self.budget[job.id] += 1
            attempts = self.budget[job.id] if deaths > 1 + self._options.retry else 0
        self.put_reply(job, JobReply(FAILED, attempts, 1, reason, is_new=True))

    def halt(self) -> None:
        """Start no further job."""
        with self._changed:
            self._is_halted = True
            self._changed.notify_all()

    def take_outcomes(self) -> list[JobOutcome]:
        """Return the outcomes since the last call."""
        with self._changed:
            outcomes, self._new_outcomes = self._new_outcomes, []
            return outcomes

    def _is_done(self, key: str) -> bool:
        """Return whether a needed job is done; a job outside the batch counts as done."""
        return key not in self._rows or (key in self._outcomes and self._outcomes[key].is_success)

    def _has_failed(self, key: str) -> bool:
        return key in self._outcomes and not self._outcomes[key].is_success

    def _postpone(self, job: Job, pause: float) -> None:
        self._not_before[job.id] = time.monotonic() + pause
        self._waiting.append(job)

    def _finish(self, outcome: JobOutcome) -> None:
        self._outcomes[outcome.job.id] = outcome
        self._new_outcomes.append(outcome)
        if not outcome.is_success and self._options.halt_on_error:
            self._is_halted = True

    def _finish_blocked(self) -> None:
        """Finish the jobs that need a job that failed."""
        while blocked := next((job for job in self._waiting if any(map(self._has_failed, job.after))), None):
            self._waiting.remove(blocked)
            cause = next(key for key in blocked.after if self._has_failed(key))
            reason = f"needs the output of row {self._rows[cause]}, which failed"
            self._finish(JobOutcome(blocked, BLOCKED, JobReply(FAILED, 0, 1, reason)))
