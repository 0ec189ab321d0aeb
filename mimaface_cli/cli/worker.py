"""`mimaface worker`: the inside of a batch's worker, for `mimaface batch` alone."""

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from mimaface_cli.cli import console

if TYPE_CHECKING:
    from mimaface_cli.batch.job_run import Ran, Run
    from mimaface_cli.batch.worker import Progress


def command() -> None:
    """Do jobs that come as JSON lines on the input stream, until it ends."""
    # What every job needs is loaded while the jobs are read.
    from mimaface_cli.apps import animate  # noqa: F401
    from mimaface_cli.batch.worker import serve
    from mimaface_cli.face import landmarks

    with landmarks.native_silence():
        landmarks.load_mediapipe()
    serve(_runner)


def _runner(progress: "Progress") -> "Run":
    from mimaface_cli.batch.job_run import Ran
    from mimaface_cli.cli.app import outcome

    def run(words: list[str], log: Path) -> "Ran":
        with console.heard_by(progress), console.voice(), redirect_stdout(StringIO()) as out:
            code, reason = outcome(["--log-file", str(log), "animate", "--json", *words])
            console.note(f"failed with exit code {code}: {reason}" if code else "done")
        return Ran(code, reason, None if code else json.loads(out.getvalue()))

    return run
