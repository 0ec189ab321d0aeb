"""`mimaface batch`."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mimaface_cli.cli import console

if TYPE_CHECKING:
    from mimaface_cli.batch.jobs import Job
    from mimaface_cli.batch.scheduler import Outcome
    from mimaface_cli.batch.worker import WorkerProcess

_OURS = {"output", "json", "quiet", "help"}  # of animate's options: what a row cannot set
FAILED = 6


def command(
    context: typer.Context,
    jobs: Annotated[
        Path,
        typer.Argument(
            metavar="JOBS",
            show_default=False,
            help="CSV with a header, or JSON lines: source, driver, output, and any option of animate by its long name. "
            "Paths count from the file's folder.",
        ),
    ],
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N", show_default=False, help="Jobs at once; by default one for each GPU, else by cores and memory."
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Hand the jobs to a Ray cluster: host:port, ray://host:port or auto."),
    ] = None,
    resume: Annotated[
        bool, typer.Option(help="Go on where an earlier run of these jobs stopped; or forget what it did.")
    ] = True,
    retry: Annotated[int, typer.Option(metavar="N", min=0, help="Try a failed job this many times more.")] = 0,
    halt_on_error: Annotated[
        bool, typer.Option("--halt-on-error", help="Begin no further job after one has failed.")
    ] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out jobs whose output is there already.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="End a job that takes longer, as failed.", show_default=False),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", show_default=False, help="Where records and logs of the jobs are kept (default: JOBS.state)."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object about all jobs.")] = False,
) -> None:
    """Do many jobs of animate, unattended: what is interrupted goes on when started again, several runs share the work.

    Examples:
      mimaface batch jobs.csv

      mimaface batch jobs.jsonl --retry 2 --json > report.json

      mimaface batch jobs.csv --ray 10.0.0.1:6379
    """
    if workers is not None and not 1 <= workers <= 1000:
        raise typer.BadParameter(f"--workers {workers}: give a number from 1 to 1000")
    if timeout is not None and not timeout > 0:
        raise typer.BadParameter(f"--timeout {timeout:g}: give seconds above 0")
    folder = Path(os.path.abspath(jobs.parent))
    with nullcontext([]) if ray is not None else _loading(folder) as spare:
        from mimaface_cli.batch.batch_options import BatchOptions
        from mimaface_cli.batch.job_state import State
        from mimaface_cli.batch.jobs import read_jobs
        from mimaface_cli.batch.scheduler import run_batch
        from mimaface_cli.engines.selection import missing_files

        animate = context.parent.command.commands["animate"]
        listed = read_jobs(jobs, _known(animate), lambda words: _wrong(animate, words))
        kept = State(state or jobs.with_name(jobs.name + ".state"))
        kept = State(Path(os.path.abspath(kept.folder)))
        diffusion = not missing_files() and any(job.options.get("engine") != "mesh" for job in listed)
        if not resume:
            kept.prepare()
            for job in listed:
                kept.forget(job.id)
        with _machine(ray, folder, diffusion, spare) as (usual, start), console.progress(quiet, "jobs") as report:
            options = BatchOptions(workers or usual, retry, halt_on_error, skip_existing, timeout)
            outcomes = run_batch(listed, kept, start, options, _Watch(report, quiet))
    failed = [outcome for outcome in outcomes if not outcome.good]
    if as_json:
        rows = [_row(outcome, kept) for outcome in sorted(outcomes, key=lambda outcome: outcome.job.row)]
        console.write_json({"jobs": rows, "done": len(outcomes) - len(failed), "failed": len(failed)})
    elif not quiet:
        _table(outcomes)
    if failed:
        first = min(failed, key=lambda outcome: outcome.job.row)
        console.fail(
            f"{len(failed)} of {len(outcomes)} jobs are not done, the first in row {first.job.row}"
            f"{f' ({first.reply.reason})' if first.reply.reason else ''}; logs are in {kept.folder}, and the same "
            f"command tries them again",
            FAILED,
        )
        raise typer.Exit(FAILED)


def _command() -> list[str]:
    return [sys.executable, "-m", "mimaface_cli", "worker"]


@contextmanager
def _loading(folder: Path) -> Iterator[list["WorkerProcess"]]:
    """A worker that loads while the jobs are read, for who takes it out of the list."""
    from mimaface_cli.batch.worker import WorkerProcess

    spare = [WorkerProcess(_command(), folder)] if folder.is_dir() else []
    try:
        yield spare
    finally:
        for worker in spare:
            worker.kill()


def _machine(
    ray: str | None, folder: Path, diffusion: bool, spare: list["WorkerProcess"]
) -> AbstractContextManager[tuple[int, Callable[[int], Any]]]:
    """What does the work: how many workers by default, and what starts one."""
    if ray is not None:
        from mimaface_cli.batch import cluster

        return cluster.joined(ray, _command(), folder, diffusion)
    from mimaface_cli.batch.resources import workers_for
    from mimaface_cli.batch.worker import WorkerProcess

    usual, variables = workers_for(diffusion)

    def start(number: int) -> WorkerProcess:
        if variables:
            return WorkerProcess(_command(), folder, variables[number % len(variables)])
        with suppress(IndexError):
            return spare.pop()
        return WorkerProcess(_command(), folder)

    return nullcontext((usual, start))


class _Watch:
    """Says how the jobs get on."""

    def __init__(self, report: Any, quiet: bool) -> None:
        self._report, self._quiet = report, quiet
        self._told: dict[int, tuple[str, int]] = {}

    def ended(self, outcome: "Outcome") -> None:
        job, reply = outcome.job, outcome.reply
        how = f"{outcome.status} in {reply.seconds:.1f} s" if reply.made else f"{outcome.status} before"
        text = f"row {job.row}: {job.output}: {how if outcome.good else f'{outcome.status}: {reply.reason}'}"
        console.event("job", row=job.row, output=job.output, status=outcome.status, reason=reply.reason)
        if not self._quiet and not console.speaks_json():
            console.say(text)
        else:
            console.note(text)

    def tick(self, done: int, total: int, stages: Mapping[int, tuple["Job", str, int, int | None]]) -> None:
        self._report("jobs", done, total)
        for job, stage, at, count in stages.values():
            if self._told.get(job.row) != (stage, at):
                self._told[job.row] = stage, at
                console.event("progress", stage=stage, done=at, total=count, row=job.row)


def _known(animate: Any) -> dict[str, bool]:
    """Animate's options by long name, True for flags."""
    return {
        word[2:]: option.is_flag
        for option in animate.params
        for word in (*option.opts, *option.secondary_opts)
        if word.startswith("--") and word[2:] not in _OURS
    }


def _wrong(animate: Any, words: list[str]) -> str | None:
    """What animate's parser has against a job's words."""
    try:
        animate.make_context("mimaface animate", list(words))
    except Exception as error:
        if hasattr(error, "format_message"):
            return console.usage(error)
        raise
    return None


def _row(outcome: "Outcome", kept: Any) -> dict[str, Any]:
    job, reply = outcome.job, outcome.reply
    return {
        "row": job.row,
        "source": job.source,
        "driver": job.driver,
        "output": job.output,
        "status": outcome.status,
        "made_now": reply.made,
        "attempts": reply.attempts,
        "exit_code": reply.code,
        "reason": reply.reason,
        "seconds": reply.seconds,
        "log": str(kept.log(job.id)),
        "result": reply.result,
    }


def _table(outcomes: list["Outcome"]) -> None:
    rows = []
    for outcome in sorted(outcomes, key=lambda outcome: outcome.job.row):
        reply = outcome.reply
        frames = str(reply.result["frames"]) if reply.result else ""
        seconds = f"{reply.seconds:.1f}" if reply.seconds else ""
        rows.append((str(outcome.job.row), outcome.job.output, outcome.status, frames, seconds, reply.reason[:60]))
    console.table(("row", "output", "status", "frames", "seconds", "reason"), rows)
