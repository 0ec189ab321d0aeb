"""Jobs of a batch, and their order: every job follows the jobs whose outputs it reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mimaface_cli.errors import InputError


@dataclass(frozen=True)
class Job:
    """One row of a job file: a run of animate.

    Attributes:
        id: Name of the job's record and log, unique for its values.
        row: Row in the file, counted from 1 as spreadsheets and editors do.
        source: The source as written in the file.
        driver: The driver as written in the file.
        output: The output as written in the file.
        options: Options of animate by long name without dashes; True for a switch.
        inputs: Absolute paths of the files that the job reads.
        outputs: Absolute paths of the files that the job writes.
        after: Ids of the jobs whose outputs this job reads.
    """

    id: str
    row: int
    source: str
    driver: str
    output: str
    options: Mapping[str, str | bool]
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    after: tuple[str, ...] = field(default=(), compare=False)

    @property
    def words(self) -> list[str]:
        """The arguments of `mimaface animate`, with paths relative to the job file's folder."""
        options = ["--" + name if value is True else f"--{name}={value}" for name, value in self.options.items()]
        return [f"--output={self.output}", *options, "--", self.source, self.driver]


def sort_jobs(path: Path, jobs: list[Job]) -> list[Job]:
    """Sort jobs so that each follows the jobs whose outputs it reads, and otherwise keep the order of the file.

    Args:
        path: The job file, for errors.
        jobs: The jobs in the order of the file.

    Raises:
        InputError: Two jobs write one output, or jobs need each other's outputs in a cycle.
    """
    writers: dict[Path, Job] = {}
    for job in jobs:
        for output in job.outputs:
            if output in writers:
                raise InputError(
                    f"{path}, row {job.row}: writes {output}, as row {writers[output].row} does. Give each job another "
                    "output."
                )
            writers[output] = job
    needs = {job.id: {writers[file].id for file in job.inputs if file in writers} for job in jobs}
    ordered: list[Job] = []
    ready: set[str] = set()
    waiting = jobs
    while waiting:
        free = [job for job in waiting if needs[job.id] <= ready]
        if not free:
            cycle = _find_cycle(waiting, needs)
            rows = " -> ".join(str(job.row) for job in [*cycle, cycle[0]])
            raise InputError(f"{path}: rows {rows} need each other's outputs, so none can run first. Remove one.")
        ordered += free
        ready |= {job.id for job in free}
        waiting = [job for job in waiting if job.id not in ready]
    return [replace(job, after=tuple(needs[job.id])) for job in ordered]


def _find_cycle(waiting: list[Job], needs: Mapping[str, set[str]]) -> list[Job]:
    """Return a cycle of jobs: each job needs the job before it, and the first job needs the last."""
    by_id = {job.id: job for job in waiting}
    visited: list[str] = []
    current = waiting[0].id
    while current not in visited:
        visited.append(current)
        current = min(other for other in needs[current] if other in by_id)
    return [by_id[key] for key in reversed(visited[visited.index(current) :])]
