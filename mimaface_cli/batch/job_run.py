"""One job, done by a worker: claimed, run, and its outcome written down."""

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimaface_cli.batch.job_state import DONE, FAILED, RUNNING, Record, State, clear_leftovers, finished, present, stamp
from mimaface_cli.batch.jobs import Job
from mimaface_cli.cache import source_stamp
from mimaface_cli.errors import InputError, MimafaceError

BUSY, SKIPPED = "busy", "skipped"
CHANGED = 3  # exit code of an input that was replaced while it was read


@dataclass(frozen=True)
class Reply:
    """status: done, failed, skipped (its output was there already) or busy (another run does it). made: whether this
    call did it, rather than found it.
    """

    status: str
    attempts: int = 0
    code: int = 0
    reason: str = ""
    seconds: float = 0.0
    result: dict[str, Any] | None = None
    made: bool = False


@dataclass(frozen=True)
class Ran:
    """How a command line ended: exit code, the line of its failure, its JSON."""

    code: int
    reason: str
    result: dict[str, Any] | None


Run = Callable[[list[str], Path], Ran]  # words of `mimaface animate`; the log that what it says goes to


def perform(state: State, job: Job, budget: int, skip_existing: bool, run: Run) -> Reply:
    """Do a job unless it is done, another run holds it, or `budget` attempts were made; write down what became of
    it.
    """
    try:
        with state.held(job.id) as mine:
            return _perform(state, job, budget, skip_existing, run) if mine else Reply(BUSY)
    except MimafaceError as error:  # the state itself cannot be written
        return Reply(FAILED, budget, error.exit_code, str(error))


def _perform(state: State, job: Job, budget: int, skip_existing: bool, run: Run) -> Reply:
    before = state.record(job.id)
    again = "overwrite" in job.options
    if found := settled(before, job, budget):
        return found
    if before is not None and before.status == FAILED and before.attempts >= budget:
        return Reply(FAILED, before.attempts, before.code, before.reason, before.seconds)
    interrupted = before is not None and before.status == RUNNING
    there = any(present(output) for output in job.outputs)
    ours = not there or (before is not None and before.ours)
    if there and skip_existing and not ours:
        return Reply(SKIPPED)
    if interrupted:
        clear_leftovers(job)
    began = time.time()
    clock = time.monotonic()
    record = Record(
        RUNNING,
        (before.attempts if before is not None else 0) + 1,
        job.row,
        job.output,
        stamps={str(path): stamp(path) for path in job.inputs},
        ours=ours,
        began=began,
        worker=f"{socket.gethostname()} {os.getpid()}",
    )
    state.write(job.id, record)
    # Numbered pictures appear all at once, and last: after their matte and their record.
    if interrupted and ours and job.outputs[0].is_dir() and present(job.outputs[0]):
        stale = _changed(before, job)
        ran = Ran(CHANGED, _since(stale, job), None) if stale else Ran(0, "", None)
    else:
        given = _stamps(job)
        replaced = ["--overwrite"] if there and ours and not again else []
        ran = run([*replaced, *job.words], state.log(job.id))
        if not ran.code and (
            other := next((path for path, one in _stamps(job).items() if one != given.get(path)), None)
        ):
            ran = Ran(
                CHANGED, f"{other}: was changed while the job ran, so its result may be of both; run it again", None
            )
    seconds = time.monotonic() - clock
    ended = Record(
        FAILED if ran.code else DONE,
        record.attempts,
        job.row,
        job.output,
        ran.code,
        ran.reason,
        seconds,
        ran.result,
        record.stamps,
        ours and any(present(output) for output in job.outputs),
        began,
        time.time(),
        record.worker,
    )
    state.write(job.id, ended)
    return Reply(ended.status, ended.attempts, ended.code, ended.reason, seconds, ended.result, True)


def settled(before: Record | None, job: Job, budget: int) -> Reply | None:
    """The reply to a job that is done already, or whose inputs have changed since; None for one that is to be done."""
    if not finished(before, job):
        return None
    stale = _changed(before, job)
    if stale is None:
        return Reply(DONE, before.attempts, 0, "", before.seconds, before.result)
    if "overwrite" in job.options:
        return None
    return Reply(FAILED, budget, CHANGED, _since(stale, job))


def _since(stale: Path, job: Job) -> str:
    return f"{stale}: has changed since {job.output} was made from it; add overwrite to make it anew"


def _changed(before: Record, job: Job) -> Path | None:
    """An input that is another than when the job was done; one that is gone is none such."""
    stamps = before.stamps or {}
    for path in job.inputs:
        now = stamp(path)
        if now is not None and stamps.get(str(path)) is not None and list(now) != stamps[str(path)]:
            return path
    return None


def _stamps(job: Job) -> dict[Path, Any]:
    found: dict[Path, Any] = {}
    for path in job.inputs:
        with suppress(InputError, OSError):
            found[path] = source_stamp(path)
    return found
