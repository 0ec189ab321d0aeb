"""The command-line program: its commands, and how one command line runs."""

import os
import shlex
import sys
import traceback
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.main import get_command

from mimaface_cli import __version__
from mimaface_cli.cli import (
    animate,
    audio,
    batch,
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
from mimaface_cli.cli import cache as cache_commands
from mimaface_cli.cli.arguments import move_global_options
from mimaface_cli.cli.command_types import AssignmentCommand, Command, CommandGroup, DefaultCommandGroup
from mimaface_cli.cli.config_file import PREFIX, load_config, unknown_variables
from mimaface_cli.cli.interrupt import raise_if_interrupted
from mimaface_cli.cli.invocation import Invocation
from mimaface_cli.cli.messages import error_line, usage_line, with_help_hint
from mimaface_cli.errors import MimafaceError

WELCOME = """mimaface makes the face in a photo move, look and talk like the face in a video.

  mimaface animate photo.jpg talk.mp4 -o out.mp4                  follow a video
  mimaface animate photo.jpg speech.wav -o out.mp4                speak an audio file
  mimaface edit photo.jpg -o turned.png --set yaw=20 jawOpen=0.4  turn the head, open the mouth

Run mimaface --help for all commands, and mimaface doctor to check the installation."""

app = typer.Typer(
    cls=CommandGroup,
    name="mimaface",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Make the face in a photo move, look and talk like the face in a video.\n\n"
    "[bold]mimaface animate photo.jpg talk.mp4 -o out.mp4[/bold]",
    epilog="--progress, --log-file and --debug can stand anywhere in the command line.\n\n"
    "Environment variables: every option can be set by MIMAFACE_<COMMAND>_<OPTION>, such as "
    "MIMAFACE_ANIMATE_REGION=lips; MIMAFACE_CONFIG names the configuration file (TOML, a table per command).\n\n"
    "Exit codes: 0 success, 1 internal error, 2 wrong options, 3 unusable input, 4 unusable output, 5 missing weights "
    "or engine, 6 failed jobs of a batch, 130 interrupted, 143 terminated.",
)
app.command("animate", cls=Command)(animate.command)
app.command("batch", cls=Command)(batch.command)
app.command("worker", hidden=True)(worker.command)
app.command("extract", cls=Command)(extract.command)
app.command("audio", cls=Command)(audio.command)
app.command("edit", cls=AssignmentCommand)(edit.command)
app.add_typer(track.app, name="track")
app.add_typer(train.app, name="train")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(cache_commands.app, name="cache")
app.add_typer(weights.app, name="weights")
app.command("inspect", cls=Command)(inspect.command)
app.command("doctor", cls=Command)(doctor.command)


def _show_version(is_set: bool) -> None:
    if is_set:
        console.write(f"mimaface {__version__}")
        raise typer.Exit()


@app.callback()
def main(
    context: typer.Context,
    progress: Annotated[
        Literal["auto", "json"],
        typer.Option(
            "--progress",
            metavar="FORMAT",
            show_envvar=False,
            show_default=False,
            help="auto: bars or text lines. json: JSON lines on the error stream (default: auto).",
        ),
    ] = "auto",
    log_file: Annotated[
        Path | None,
        typer.Option(
            "--log-file", metavar="FILE", show_envvar=False, help="Append messages and progress to this file."
        ),
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", show_envvar=False, help="Show tracebacks and the logs of native libraries.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", show_envvar=False, help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Set up the output streams; without a command, print the welcome."""
    console.configure(progress == "json", log_file)
    words = context.obj.words if isinstance(context.obj, Invocation) else []
    console.log(f"mimaface {__version__}: {shlex.join(words)}")
    for line in unknown_variables(context.command):
        (console.log if {"-q", "--quiet"} & set(words) else console.info)(f"warning: {line}")
    if context.invoked_subcommand is None:
        console.write(WELCOME)


def run(words: list[str], debug: bool = False) -> int:
    """Run a command line; print a failure as one line on the error stream.

    Args:
        words: The command line, without the program's name and without --debug.
        debug: Whether to print the traceback of a failure.

    Returns:
        The exit code.
    """
    with console.session(_find_command(words)[0]):
        code, text = run_in_session(words, debug)
        if text:  # empty if the help was printed instead of an error
            console.fail(text, code)
        else:
            console.log(f"ended with exit code {code}")
    return code


def run_in_session(words: list[str], debug: bool = False) -> tuple[int, str]:
    """Run a command line within the current console session.

    Returns:
        The exit code and, for a failure, its error line.
    """
    try:
        # Order of precedence: command line, environment (MIMAFACE_<COMMAND>_<OPTION>), configuration file, default.
        program = _program()
        code = program(
            move_global_options(words),
            prog_name="mimaface",
            standalone_mode=False,
            auto_envvar_prefix=PREFIX,
            default_map=load_config(program, os.environ),
            obj=Invocation(words, run_in_session),
        )
        return code or 0, ""
    except Exception as error:
        raise_if_interrupted()
        if debug:
            traceback.print_exc(file=sys.stderr)
        if not isinstance(error, MimafaceError):
            console.log("".join(traceback.format_exception(error)))
        return _failure(error, words)


@cache
def _program() -> Any:
    """Return the Typer command; cached, because a worker runs many command lines."""
    program: Any = get_command(app)
    for option in program.params:
        option.show_envvar = False  # Typer shows it for its completion options
    return program


def _find_command(words: list[str]) -> tuple[Any, str]:
    """Return the Typer command that a command line names, and how the user calls it."""
    command, path = _program(), ["mimaface"]
    for word in words:
        subcommands = getattr(command, "commands", {})
        if word in subcommands:
            command = subcommands[word]
            path.append(word)
    if isinstance(command, DefaultCommandGroup):
        command = command.default_command
    return command, " ".join(path)


def _failure(error: Exception, words: list[str]) -> tuple[int, str]:
    """Return the exit code and the error line of a failure."""
    if isinstance(error, MimafaceError):
        command, path = _find_command(words)
        if error.exit_code == console.USAGE:
            return console.USAGE, with_help_hint(error_line(error, command), path)
        return error.exit_code, error_line(error, command)
    if hasattr(error, "format_message"):  # Typer's errors; their base class differs between its versions
        return getattr(error, "exit_code", console.USAGE), usage_line(error)
    cause = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return 1, f"{cause}: internal error; rerun with --debug and report the traceback"
