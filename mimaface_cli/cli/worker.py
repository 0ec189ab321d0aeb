"""`mimaface worker`: a worker process of `mimaface batch`."""

import json
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mimaface_cli.cli import console
from mimaface_cli.cli.invocation import Invocation
from mimaface_cli.progress import ProgressCallback

if TYPE_CHECKING:
    from mimaface_cli.batch.job_run import CommandOutcome, RunCommand


def command(context: typer.Context) -> None:
    """Run the jobs that arrive as JSON lines on the input stream, until it ends."""
    # Load what every job needs while the parent process reads the list of jobs.
    from mimaface_cli.apps import animate  # noqa: F401 - loaded for its side effect on the import cache
    from mimaface_cli.batch.worker import serve
    from mimaface_cli.face import landmarks

    with landmarks.native_silence():
        landmarks.load_mediapipe()
    program: Any = context.find_root().command
    serve(_runner_factory(context.obj, program.commands["animate"]))


def _runner_factory(invocation: Invocation, animate: Any) -> Callable[[ProgressCallback], "RunCommand"]:
    """Return a function that creates, for a progress callback, a runner of `animate` command lines."""

    def make_runner(progress: ProgressCallback) -> "RunCommand":
        from mimaface_cli.batch.job_run import CommandOutcome

        def run(words: list[str], log: Path) -> "CommandOutcome":
            with console.progress_listener(progress), console.session(animate), redirect_stdout(StringIO()) as output:
                code, reason = invocation.run(["--log-file", str(log), "animate", "--json", *words])
                console.log(f"failed with exit code {code}: {reason}" if code else "done")
            return CommandOutcome(code, reason, None if code else json.loads(output.getvalue()))

        return run

    return make_runner
