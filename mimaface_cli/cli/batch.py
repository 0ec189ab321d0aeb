"""`mimaface batch`."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mimaface_cli.batch.batch_options import BatchOptions
from mimaface_cli.cli import console
from mimaface_cli.cli.messages import usage_line
from mimaface_cli.cli.options import RUN, AsJson, Quiet, field_option, plain_option
from mimaface_cli.cli.progress_display import show_progress
from mimaface_cli.progress import ProgressCallback

if TYPE_CHECKING:
    from mimaface_cli.batch.job_state import StateFolder
    from mimaface_cli.batch.jobs import Job
    from mimaface_cli.batch.scheduler import JobOutcome, Worker
    from mimaface_cli.batch.worker import WorkerProcess

_RESERVED = {"output", "json", "quiet", "help"}  # options of animate that a job cannot set
FAILED = 6


def command(
    context: typer.Context,
    jobs: Annotated[
        Path,
        typer.Argument(
            metavar="JOBS",
            show_default=False,
            help="CSV with a header, or JSON lines, with source, driver, output and any option of animate by its "
            "long name. Paths are relative to the file's folder.",
        ),
    ],
    workers: Annotated[int | None, field_option(BatchOptions, "workers", panel=RUN)] = BatchOptions.workers,
    ray: Annotated[
        str | None,
        plain_option(
            "Run the jobs on a Ray cluster: host:port, ray://host:port or auto.", panel=RUN, metavar="ADDRESS"
        ),
    ] = None,
    resume: Annotated[
        bool,
        plain_option(
            "Resume an interrupted batch; --no-resume discards earlier outcomes.", "--resume/--no-resume", panel=RUN
        ),
    ] = True,
    retry: Annotated[int, field_option(BatchOptions, "retry", panel=RUN)] = BatchOptions.retry,
    halt_on_error: Annotated[bool, field_option(BatchOptions, "halt_on_error", panel=RUN)] = BatchOptions.halt_on_error,
    skip_existing: Annotated[bool, field_option(BatchOptions, "skip_existing", panel=RUN)] = BatchOptions.skip_existing,
    timeout: Annotated[float | None, field_option(BatchOptions, "timeout", panel=RUN)] = BatchOptions.timeout,
    state: Annotated[
        Path | None,
        plain_option("Folder for the jobs' records and logs (default: JOBS.state).", panel=RUN, metavar="DIR"),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run many animate jobs unattended. Interrupted batches resume; several runners can share one batch.

    Examples:
      mimaface batch jobs.csv
      mimaface batch jobs.jsonl --retry 2 --json > report.json
      mimaface batch jobs.csv --ray 10.0.0.1:6379
    """
    with console.options():
        options = BatchOptions(workers, retry, halt_on_error, skip_existing, timeout)
    folder = Path(os.path.abspath(jobs.parent))
    # The first worker loads while this process reads the jobs.
    with _spare_worker(folder, ray is None) as spare:
        from mimaface_cli.batch.job_file import read_jobs
        from mimaface_cli.batch.job_state import StateFolder
        from mimaface_cli.batch.scheduler import run_batch
        from mimaface_cli.engines.registry import AUTO
        from mimaface_cli.engines.selection import may_use_gpu

        animate = _animate_command(context)
        job_list = read_jobs(jobs, _job_options(animate), lambda words: _parse_problem(animate, words))
        states = StateFolder(Path(os.path.abspath(state or jobs.with_name(jobs.name + ".state"))))
        uses_diffusion = any(may_use_gpu(str(job.options.get("engine", AUTO))) for job in job_list)
        if not resume:
            states.prepare()
            for job in job_list:
                states.discard_record(job.id)
        with (
            _open_workers(ray, folder, uses_diffusion, spare) as (default_workers, start_worker),
            show_progress(quiet, "jobs") as progress,
        ):
            options = replace(options, workers=options.workers or default_workers)
            outcomes = run_batch(job_list, states, start_worker, options, _BatchDisplay(progress, quiet))
    _report(outcomes, states, quiet, as_json)


def _report(outcomes: list["JobOutcome"], states: "StateFolder", quiet: bool, as_json: bool) -> None:
    """Print the outcomes of all jobs. Raises typer.Exit if jobs failed."""
    outcomes = sorted(outcomes, key=lambda outcome: outcome.job.row)
    failed = [outcome for outcome in outcomes if not outcome.is_success]
    if as_json:
        rows = [_json_row(outcome, states) for outcome in outcomes]
        console.write_json({"jobs": rows, "done": len(outcomes) - len(failed), "failed": len(failed)})
    elif not quiet:
        console.table(
            ("row", "output", "status", "frames", "seconds", "reason"), [_table_row(outcome) for outcome in outcomes]
        )
    if failed:
        first = failed[0]
        reason = f": {first.reply.reason.rstrip('.')}" if first.reply.reason else ""
        console.fail(
            f"{len(failed)} of {len(outcomes)} jobs are not done, the first in row {first.job.row}{reason}. "
            f"Logs are in {states.folder}. Run the same command to retry the jobs.",
            FAILED,
        )
        raise typer.Exit(FAILED)


def _worker_command() -> list[str]:
    """Return the command that starts a worker process."""
    return [sys.executable, "-m", "mimaface_cli", "worker"]


@contextmanager
def _spare_worker(folder: Path, is_local: bool) -> Iterator[list["WorkerProcess"]]:
    """Yield a list with one started worker, or an empty list if the jobs run on a cluster.

    The caller takes the worker from the list; a worker that remains in the list is killed.
    """
    from mimaface_cli.batch.worker import WorkerProcess

    spare = [WorkerProcess(_worker_command(), folder)] if is_local and folder.is_dir() else []
    try:
        yield spare
    finally:
        for worker in spare:
            worker.kill()


def _open_workers(
    ray: str | None, folder: Path, uses_diffusion: bool, spare: list["WorkerProcess"]
) -> AbstractContextManager[tuple[int, Callable[[int], "Worker"]]]:
    """Return a context that yields the default number of workers and the function that starts a worker."""
    if ray is not None:
        from mimaface_cli.batch import cluster

        return cluster.join_cluster(ray, _worker_command(), folder, uses_diffusion)
    from mimaface_cli.batch.resources import plan_workers
    from mimaface_cli.batch.worker import WorkerProcess

    default_workers, environments = plan_workers(uses_diffusion)

    def start_worker(number: int) -> "Worker":
        if environments:
            return WorkerProcess(_worker_command(), folder, environments[number % len(environments)])
        with suppress(IndexError):
            return spare.pop()
        return WorkerProcess(_worker_command(), folder)

    return nullcontext((default_workers, start_worker))


class _BatchDisplay:
    """Prints the outcomes and the progress of the jobs."""

    def __init__(self, progress: ProgressCallback, quiet: bool) -> None:
        self._progress, self._quiet = progress, quiet
        self._last_stages: dict[int, tuple[str, int]] = {}

    def on_outcome(self, outcome: "JobOutcome") -> None:
        """Print the outcome of a job."""
        job, reply = outcome.job, outcome.reply
        if not outcome.is_success:
            text = f"{outcome.status}: {reply.reason}"
        elif reply.is_new:
            text = f"{outcome.status} in {reply.seconds:.1f} s"
        else:
            text = f"{outcome.status} in an earlier run"
        console.event("job", row=job.row, output=job.output, status=outcome.status, reason=reply.reason)
        is_printed = not self._quiet and not console.has_json_events()
        (console.info if is_printed else console.log)(f"row {job.row}: {job.output}: {text}")

    def on_tick(self, done: int, total: int, stages: Mapping[int, tuple["Job", str, int, int | None]]) -> None:
        """Show the number of finished jobs and the progress of the running jobs."""
        self._progress("jobs", done, total)
        for job, stage, stage_done, stage_total in stages.values():
            if self._last_stages.get(job.row) != (stage, stage_done):
                self._last_stages[job.row] = stage, stage_done
                console.event("progress", stage=stage, done=stage_done, total=stage_total, row=job.row)


def _animate_command(context: typer.Context) -> Any:
    """Return the Typer command of animate."""
    program: Any = context.find_root().command
    return program.commands["animate"]


def _job_options(animate: Any) -> dict[str, bool]:
    """Return the options of animate that a job can set: by long name, whether the option is a switch."""
    return {
        flag[2:]: option.is_flag
        for option in animate.params
        for flag in (*option.opts, *option.secondary_opts)
        if flag.startswith("--") and flag[2:] not in _RESERVED
    }


def _parse_problem(animate: Any, words: list[str]) -> str | None:
    """Return the parser's error for the words of a job, or None."""
    try:
        animate.make_context("mimaface animate", list(words))
    except Exception as error:
        if hasattr(error, "format_message"):
            return usage_line(error)
        raise
    return None


def _json_row(outcome: "JobOutcome", states: "StateFolder") -> dict[str, Any]:
    """Return the JSON object that describes a job."""
    job, reply = outcome.job, outcome.reply
    return {
        "row": job.row,
        "source": job.source,
        "driver": job.driver,
        "output": job.output,
        "status": outcome.status,
        "ran_now": reply.is_new,
        "attempts": reply.attempts,
        "exit_code": reply.code,
        "reason": reply.reason,
        "seconds": reply.seconds,
        "log": str(states.log_path(job.id)),
        "result": reply.result,
    }


def _table_row(outcome: "JobOutcome") -> tuple[str, ...]:
    """Return the cells of a job in the table."""
    reply = outcome.reply
    frames = str(reply.result["frames"]) if reply.result else ""
    seconds = f"{reply.seconds:.1f}" if reply.seconds else ""
    return str(outcome.job.row), outcome.job.output, outcome.status, frames, seconds, reply.reason[:60]
