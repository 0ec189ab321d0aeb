"""The run of one job by a worker: lock it, run the command, record the outcome."""

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mimaface_cli.batch.job_state import (
    DONE,
    FAILED,
    RUNNING,
    JobRecord,
    StateFolder,
    clear_partial_outputs,
    file_stamp,
    is_finished,
    output_exists,
)
from mimaface_cli.batch.jobs import Job
from mimaface_cli.errors import InputError, MimafaceError
from mimaface_cli.fingerprint import source_stamp

BUSY, SKIPPED = "busy", "skipped"
INPUT_CHANGED = 3  # exit code


@dataclass(frozen=True)
class JobReply:
    """A worker's answer to a job.

    Attributes:
        status: "done", "failed", "skipped" (the output existed) or "busy" (another runner has the job).
        attempts: Number of started attempts, those of earlier runs included.
        code: Exit code of a failure.
        reason: Error line of a failure.
        seconds: Duration of the last attempt.
        result: JSON object that animate printed, or None.
        is_new: Whether this run started an attempt; False if an earlier run settled the job.
    """

    status: str
    attempts: int = 0
    code: int = 0
    reason: str = ""
    seconds: float = 0.0
    result: dict[str, Any] | None = None
    is_new: bool = False


@dataclass(frozen=True)
class CommandOutcome:
    """Outcome of a command line.

    Attributes:
        code: Exit code.
        reason: Error line of a failure.
        result: JSON object that the command printed, or None.
    """

    code: int
    reason: str
    result: dict[str, Any] | None


RunCommand = Callable[[list[str], Path], CommandOutcome]
"""Runs `mimaface animate` with the given words; the path is the log."""


def run_job(states: StateFolder, job: Job, budget: int, skip_existing: bool, run: RunCommand) -> JobReply:
    """Run a job and record the outcome, unless it is done, in use by another runner, or out of attempts.

    Args:
        states: The jobs' records.
        job: The job.
        budget: Maximum number of attempts, those of earlier runs included.
        skip_existing: Whether to skip the job if its output exists and another program wrote it.
        run: Runs the command line.
    """
    try:
        with states.lock(job.id) as is_locked:
            return _run_locked(states, job, budget, skip_existing, run) if is_locked else JobReply(BUSY)
    except MimafaceError as error:  # the record cannot be written
        return JobReply(FAILED, budget, error.exit_code, str(error))


def settled_reply(record: JobRecord | None, job: Job, budget: int) -> JobReply | None:
    """Return the reply for a job that needs no run, because it is done or its inputs have changed since; else None."""
    if record is None or not is_finished(record, job):
        return None
    changed = _changed_input(record, job)
    if changed is None:
        return JobReply(DONE, record.attempts, 0, "", record.seconds, record.result)
    if "overwrite" in job.options:
        return None
    return JobReply(FAILED, budget, INPUT_CHANGED, _changed_since(changed, job))


def _run_locked(states: StateFolder, job: Job, budget: int, skip_existing: bool, run: RunCommand) -> JobReply:
    """Run a job whose lock is held."""
    previous = states.load_record(job.id)
    reply = settled_reply(previous, job, budget)
    if reply is not None:
        return reply
    if previous is not None and previous.status == FAILED and previous.attempts >= budget:
        return JobReply(FAILED, previous.attempts, previous.code, previous.reason, previous.seconds)
    exists = any(output_exists(output) for output in job.outputs)
    may_replace = not exists or (previous is not None and previous.wrote_output)
    if exists and skip_existing and not may_replace:
        return JobReply(SKIPPED)
    interrupted = previous if previous is not None and previous.status == RUNNING else None
    if interrupted is not None:
        clear_partial_outputs(job)
    start_time = time.monotonic()
    record = JobRecord(
        RUNNING,
        (previous.attempts if previous is not None else 0) + 1,
        job.row,
        job.output,
        stamps={str(path): file_stamp(path) for path in job.inputs},
        wrote_output=may_replace,
        start_time=time.time(),
        worker=f"{socket.gethostname()} {os.getpid()}",
    )
    states.save_record(job.id, record)
    # The folder of numbered images is published as a whole, after their matte and their record.
    if interrupted is not None and may_replace and job.outputs[0].is_dir() and output_exists(job.outputs[0]):
        changed = _changed_input(interrupted, job)
        if changed is None:
            outcome = CommandOutcome(0, "", None)
        else:
            outcome = CommandOutcome(INPUT_CHANGED, _changed_since(changed, job), None)
    else:
        replaces = exists and may_replace and "overwrite" not in job.options
        outcome = _run_command(states, job, ["--overwrite"] if replaces else [], run)
    finished = replace(
        record,
        status=FAILED if outcome.code else DONE,
        code=outcome.code,
        reason=outcome.reason,
        seconds=time.monotonic() - start_time,
        result=outcome.result,
        wrote_output=may_replace and any(output_exists(output) for output in job.outputs),
        end_time=time.time(),
    )
    states.save_record(job.id, finished)
    return JobReply(
        finished.status, finished.attempts, finished.code, finished.reason, finished.seconds, finished.result, True
    )


def _run_command(states: StateFolder, job: Job, words: list[str], run: RunCommand) -> CommandOutcome:
    """Run the command of a job; report a failure if an input changed during the run."""
    stamps = _input_stamps(job)
    outcome = run([*words, *job.words], states.log_path(job.id))
    if outcome.code:
        return outcome
    for path, stamp in _input_stamps(job).items():
        if stamp != stamps.get(path):
            reason = f"{path}: changed while the job ran, so the result may mix both versions. Run the job again."
            return CommandOutcome(INPUT_CHANGED, reason, None)
    return outcome


def _changed_since(path: Path, job: Job) -> str:
    """Return the error line for an input that changed after the job was done."""
    return f"{path}: has changed since {job.output} was rendered. Set overwrite in the job to render it again."


def _changed_input(record: JobRecord, job: Job) -> Path | None:
    """Return an input that has changed since the record's attempt, or None; a missing input counts as unchanged."""
    stamps = record.stamps or {}
    for path in job.inputs:
        now = file_stamp(path)
        if now is not None and stamps.get(str(path)) is not None and now != stamps[str(path)]:
            return path
    return None


def _input_stamps(job: Job) -> dict[Path, Any]:
    """Return the stamps of the inputs that exist."""
    stamps: dict[Path, Any] = {}
    for path in job.inputs:
        with suppress(InputError, OSError):
            stamps[path] = source_stamp(path)
    return stamps
