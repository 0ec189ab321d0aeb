"""The `mimaface` command. This room parses and prints; the work is done by the library beneath it."""

import os
import shlex
import sys
import traceback
from functools import cache as once
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.main import get_command

from mimaface_cli import __version__
from mimaface_cli.cli import (
    animate,
    audio,
    batch,
    cache,
    console,
    doctor,
    edit,
    evaluate,
    extract,
    inspect,
    track,
    train,
    weights,
    worker,
)
from mimaface_cli.cli import config_file as settings
from mimaface_cli.cli.arguments import Assignments, to_front
from mimaface_cli.cli.messages import error_line
from mimaface_cli.cli.process import raise_if_stopped
from mimaface_cli.errors import MimafaceError

app = typer.Typer(
    name="mimaface",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Make the face in a photo move, look and talk like the face in a video.\n\n"
    "[bold]mimaface animate photo.jpg drive.mp4 -o out.mp4[/bold]",
    epilog="--progress, --log-file and --debug may stand anywhere in the command line.\n\n"
    "Exit codes: 0 done, 1 a fault of ours, 2 wrong options, 3 unusable input, 4 unusable output, 5 missing weights or "
    "engine, 6 jobs of a batch failed, 130 interrupted, 143 asked to end.",
)
app.command("animate")(animate.command)
app.command("batch")(batch.command)
app.command("worker", hidden=True)(worker.command)
app.command("extract")(extract.command)
app.command("audio")(audio.command)
app.command("edit", cls=Assignments)(edit.command)
app.add_typer(track.app, name="track")
app.add_typer(train.app, name="train")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(cache.app, name="cache")
app.add_typer(weights.app, name="weights")
app.command("inspect")(inspect.command)
app.command("doctor")(doctor.command)


def _show_version(wanted: bool) -> None:
    if wanted:
        console.write(f"mimaface {__version__}")
        raise typer.Exit()


@app.callback()
def main(
    context: typer.Context,
    progress: Annotated[
        Literal["auto", "json"],
        typer.Option("--progress", metavar="HOW", help="auto, or json: one JSON object a line on the error stream."),
    ] = "auto",
    log_file: Annotated[
        Path | None, typer.Option("--log-file", metavar="FILE", help="Add what is said, and progress, to this file.")
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback when something fails, and what native libraries log.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    console.speak(progress == "json", log_file)
    words = context.obj or []
    console.note(f"mimaface {__version__}: {shlex.join(words)}")
    for line in settings.unread(context.command):
        (console.note if {"-q", "--quiet"} & set(words) else console.say)(f"warning: {line}")


def run(words: list[str], debug: bool = False) -> int:
    """Run a command line (without the program's name and without --debug) and return the exit code; every failure
    becomes one line on the error stream, with `debug` after its traceback.
    """
    with console.voice():
        code, text = outcome(words, debug)
        if text:  # none where the help was shown in place of an error
            console.fail(text, code)
        else:
            console.note(f"ended with exit code {code}")
    return code


def outcome(words: list[str], debug: bool = False) -> tuple[int, str]:
    """Run a command line; its exit code and, of a failure, the line to be said."""
    try:
        # Settings: command line > environment (MIMAFACE_<COMMAND>_<OPTION>) > configuration file > default.
        made = _command()
        given = {"auto_envvar_prefix": settings.PREFIX, "default_map": settings.load(made, os.environ), "obj": words}
        return made(to_front(words), prog_name="mimaface", standalone_mode=False, **given) or 0, ""
    except Exception as error:
        raise_if_stopped()
        if debug:
            traceback.print_exc(file=sys.stderr)
        if not isinstance(error, MimafaceError):
            console.note("".join(traceback.format_exception(error)))
        return _told(error, words)


@once
def _command() -> Any:
    """Typer's own command; made once, since a worker runs many command lines."""
    return get_command(app)


def _command_of(words: list[str]) -> Any:
    """Return the Typer command that a command line names."""
    command = _command()
    for word in words:
        command = getattr(command, "commands", {}).get(word, command)
    return command


def _path_of(words: list[str]) -> str:
    """Return the command that a command line names, as the user types it."""
    command, path = _command(), ["mimaface"]
    for word in words:
        below = getattr(command, "commands", {})
        if word in below:
            command = below[word]
            path.append(word)
    return " ".join(path)


def _told(error: Exception, words: list[str]) -> tuple[int, str]:
    """The exit code of a failure and its line."""
    if isinstance(error, MimafaceError):
        line = error_line(error, _command_of(words))
        hint = f"; see {_path_of(words)} --help" if error.exit_code == console.USAGE else ""
        return error.exit_code, line.rstrip(".") + hint if hint else line
    if hasattr(error, "format_message"):  # typer's own errors: their base class moved between its versions
        return error.exit_code, console.usage(error)
    fault = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return 1, f"{fault}; this is a fault of ours: run again with --debug and report what it says"
