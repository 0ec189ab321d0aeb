"""What became of each job, on disk: one record a job, one lock a job, so that runs side by side share the work and a
run that is killed at any moment leaves whole records and no lock.

A job's lock is the system's own (flock): it ends with the process that holds it, whatever ends that process. The
process that does the job holds it, not the one that hands it out: while anybody still works on a job, nobody else can
begin it.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mimaface_cli.batch.jobs import Job
from mimaface_cli.errors import OutputError
from mimaface_cli.files import atomic_path, output_error, remove_partial_files
from mimaface_cli.provenance.record import sidecar

RUNNING, DONE, FAILED = "running", "done", "failed"


@dataclass(frozen=True)
class Record:
    """status: running (or interrupted while it was), done or failed. attempts: begun so far. code, reason: of a
    failure. seconds: of the last attempt. result: animate's own JSON. stamps: of the inputs when the attempt began, by
    path. ours: whether what lies at the output was written by this job, so that another attempt may replace it. began,
    ended: Unix times. worker: host and process id.
    """

    status: str
    attempts: int
    row: int = 0
    output: str = ""
    code: int = 0
    reason: str = ""
    seconds: float = 0.0
    result: dict[str, Any] | None = None
    stamps: dict[str, Any] | None = None
    ours: bool = False
    began: float = 0.0
    ended: float = 0.0
    worker: str = ""


class State:
    """The records under one folder, which is made when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def prepare(self) -> None:
        """Make the folder. Raises OutputError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(self.folder, error) from error
        if not os.access(self.folder, os.W_OK):
            raise OutputError(f"{self.folder}: cannot be written to; name another place with --state")

    def log(self, key: str) -> Path:
        """The job's log."""
        return self.folder / f"{key}.log"

    def record(self, key: str) -> Record | None:
        """What became of a job; None where nothing is known, also where its record is damaged."""
        try:
            values = json.loads((self.folder / f"{key}.json").read_bytes())
            record = Record(**values)
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        return record if _sound(record) else None

    def write(self, key: str, record: Record) -> None:
        """Replace a job's record. Raises OutputError."""
        with atomic_path(self.folder / f"{key}.json") as temporary:
            with temporary.open("w", encoding="ascii") as file:
                json.dump(asdict(record), file, indent=1)
                file.flush()
                os.fsync(file.fileno())  # a record must not outlive the power cut that its output did not

    @contextmanager
    def held(self, key: str, patience: float = 0.0) -> Iterator[bool]:
        """Hold a job's lock during the block; False where another process does, for longer than `patience` seconds."""
        lock = FileLock(self.folder / f"{key}.lock")
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            yield False
            return
        except OSError as error:
            raise output_error(self.folder, error) from error
        try:
            yield True
        finally:
            lock.release()

    def forget(self, key: str) -> None:
        """Remove a job's record, unless somebody works on it."""
        with self.held(key) as mine:
            if mine:
                with suppress(OSError):
                    (self.folder / f"{key}.json").unlink(missing_ok=True)

    def died(self, job: Job, reason: str) -> None:
        """A job's process ended without a word: say so in its record and clear away what it left half written, unless
        somebody works on it again.
        """
        with suppress(OutputError), self.held(job.id, 5.0) as mine:
            record = self.record(job.id)
            if mine and record is not None and record.status == RUNNING:
                clear_leftovers(job)
                # Numbered pictures that are there are whole, as the next attempt will find; nothing replaces them.
                status = RUNNING if record.ours and job.outputs[0].is_dir() and present(job.outputs[0]) else FAILED
                self.write(job.id, Record(**asdict(record) | {"status": status, "code": 1, "reason": reason}))


def clear_leftovers(job: Job) -> None:
    """Remove what a killed attempt left half written. Only for who holds the job's lock."""
    for output in job.outputs:
        remove_partial_files(output)
        remove_partial_files(sidecar(output))


def _sound(record: Record) -> bool:
    """Whether a record that was read has values of the right kinds."""
    kinds = {
        "code": int,
        "reason": str,
        "seconds": int | float,
        "result": dict | None,
        "stamps": dict | None,
        "ours": bool,
    }
    known = record.status in (RUNNING, DONE, FAILED) and type(record.attempts) is int and record.attempts >= 0
    return known and all(isinstance(getattr(record, name), kind) for name, kind in kinds.items())


def finished(record: Record | None, job: Job) -> bool:
    """Whether a job is done and what it made is still there."""
    return record is not None and record.status == DONE and all(present(output) for output in job.outputs)


def present(output: Path) -> bool:
    """Whether there is something at an output: a file, or a folder with something in it."""
    try:
        return output.is_file() or (output.is_dir() and any(output.iterdir()))
    except OSError:
        return False


def stamp(path: Path) -> Any:
    """What tells a file, or a folder's files, from a later version of them, across renames and copies of the disk;
    None for what is not there. JSON values.
    """
    try:
        if not path.is_dir():
            info = path.stat()
            return [info.st_size, info.st_mtime_ns]
        infos = [(member.name, member.stat()) for member in path.iterdir()]
        return [sum(info.st_size for _, info in infos), max((info.st_mtime_ns for _, info in infos), default=0)]
    except OSError:
        return None
