"""State of the jobs on disk: a record and a lock per job.

Several runners can share a batch. A runner that is killed at any moment leaves complete records and no lock, because a
job's lock is a lock of the operating system (flock) that ends with its process. The process that runs the job holds the
lock, not the process that schedules it, so that no other runner starts a job that is still running.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mimaface_cli.batch.jobs import Job
from mimaface_cli.errors import OutputError
from mimaface_cli.files import atomic_path, output_error, remove_partial_files
from mimaface_cli.provenance.record import record_path

RUNNING, DONE, FAILED = "running", "done", "failed"


@dataclass(frozen=True)
class JobRecord:
    """Record of a job; stored as JSON with these names.

    Attributes:
        status: "running" (also if the attempt was interrupted), "done" or "failed".
        attempts: Number of started attempts.
        row: Row in the job file.
        output: The output as written in the job file.
        code: Exit code of a failure.
        reason: Error line of a failure.
        seconds: Duration of the last attempt.
        result: JSON object that animate printed, or None.
        stamps: Size and modification time of the inputs at the start of the attempt, by path.
        wrote_output: Whether this job wrote the file at the output, so that another attempt may replace it.
        start_time: Unix time of the attempt's start.
        end_time: Unix time of the attempt's end.
        worker: Host and process id.
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
    wrote_output: bool = False
    start_time: float = 0.0
    end_time: float = 0.0
    worker: str = ""

    @property
    def is_valid(self) -> bool:
        """Whether the values, which come from a file, have the right types."""
        types = {
            "code": int,
            "reason": str,
            "seconds": int | float,
            "result": dict | None,
            "stamps": dict | None,
            "wrote_output": bool,
        }
        is_known = self.status in (RUNNING, DONE, FAILED) and type(self.attempts) is int and self.attempts >= 0
        return is_known and all(isinstance(getattr(self, name), kind) for name, kind in types.items())


class StateFolder:
    """The folder with the jobs' records, locks and logs; `prepare` creates it."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def prepare(self) -> None:
        """Create the folder. Raises OutputError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(self.folder, error) from error
        if not os.access(self.folder, os.W_OK):
            raise OutputError(f"{self.folder}: cannot be written. Set `state` to another folder.")

    def log_path(self, key: str) -> Path:
        """Return the path of a job's log."""
        return self.folder / f"{key}.log"

    def load_record(self, key: str) -> JobRecord | None:
        """Return the record of a job, or None if it is missing or damaged."""
        try:
            values = json.loads((self.folder / f"{key}.json").read_bytes())
            record = JobRecord(**values)
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        return record if record.is_valid else None

    def save_record(self, key: str, record: JobRecord) -> None:
        """Replace the record of a job. Raises OutputError."""
        with atomic_path(self.folder / f"{key}.json") as temporary, temporary.open("w", encoding="ascii") as file:
            json.dump(asdict(record), file, indent=1)
            file.flush()
            os.fsync(file.fileno())  # otherwise a power failure could leave an empty record

    @contextmanager
    def lock(self, key: str, timeout: float = 0.0) -> Iterator[bool]:
        """Hold the lock of a job during the block.

        Args:
            key: Id of the job.
            timeout: Seconds to wait for the lock.

        Yields:
            Whether the lock is held; False if another process holds it.

        Raises:
            OutputError: The folder cannot be written.
        """
        lock = FileLock(self.folder / f"{key}.lock")
        try:
            lock.acquire(timeout=timeout)
        except Timeout:
            yield False
            return
        except OSError as error:
            raise output_error(self.folder, error) from error
        try:
            yield True
        finally:
            lock.release()

    def discard_record(self, key: str) -> None:
        """Remove the record of a job, unless the job is running."""
        with self.lock(key) as is_locked:
            if is_locked:
                with suppress(OSError):
                    (self.folder / f"{key}.json").unlink(missing_ok=True)

    def record_death(self, job: Job, reason: str) -> None:
        """Record the death of a job's process and remove its partial files, unless the job is running again."""
        with suppress(OutputError), self.lock(job.id, 5.0) as is_locked:
            record = self.load_record(job.id)
            if is_locked and record is not None and record.status == RUNNING:
                clear_partial_outputs(job)
                # Numbered images appear only when complete: the next attempt recognizes them and does not replace them.
                is_complete = record.wrote_output and job.outputs[0].is_dir() and output_exists(job.outputs[0])
                status = RUNNING if is_complete else FAILED
                self.save_record(job.id, replace(record, status=status, code=1, reason=reason))


def clear_partial_outputs(job: Job) -> None:
    """Remove the partial files of a killed attempt; the caller must hold the job's lock."""
    for output in job.outputs:
        remove_partial_files(output)
        remove_partial_files(record_path(output))


def is_finished(record: JobRecord | None, job: Job) -> bool:
    """Return whether a job is done and its outputs still exist."""
    return record is not None and record.status == DONE and all(output_exists(output) for output in job.outputs)


def output_exists(output: Path) -> bool:
    """Return whether an output exists: a file, or a folder that is not empty."""
    try:
        return output.is_file() or (output.is_dir() and any(output.iterdir()))
    except OSError:
        return False


def file_stamp(path: Path) -> list[int] | None:
    """Return size and modification time of a file, or their sum and maximum over a folder; None if it is missing.

    The stamp differs between versions of a file. Renaming the file or copying the disk does not change it.
    """
    try:
        if not path.is_dir():
            info = path.stat()
            return [info.st_size, info.st_mtime_ns]
        infos = [member.stat() for member in path.iterdir()]
        return [sum(info.st_size for info in infos), max((info.st_mtime_ns for info in infos), default=0)]
    except OSError:
        return None
