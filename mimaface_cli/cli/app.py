"""The `mimaface` command. This room parses and prints; the work is done by the library beneath it."""

import sys
from typing import Annotated

import typer

from mimaface_cli import __version__
from mimaface_cli.cli import animate, cache, doctor, extract
from mimaface_cli.errors import MimafaceError

app = typer.Typer(
    name="mimaface",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Make the face in a photo move, look and talk like the face in a video.\n\n"
    "[bold]mimaface animate photo.jpg drive.mp4 -o out.mp4[/bold]\n\n"
    "Exit codes: 0 done, 2 wrong options, 3 unusable input, 4 unusable output, 5 missing weights or engine, "
    "130 interrupted, 1 a fault of ours.",
)
app.command("animate")(animate.command)
app.command("extract")(extract.command)
app.add_typer(cache.app, name="cache")
app.command("doctor")(doctor.command)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"mimaface {__version__}")
        raise typer.Exit()


@app.callback()
def main(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback when something fails.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


def run() -> None:
    """Run the command line; every failure becomes one line and an exit code."""
    debug = "--debug" in sys.argv[1:]
    arguments = [word for word in sys.argv[1:] if word != "--debug"]  # taken anywhere, not only before the command
    try:
        app(arguments, standalone_mode=True)
    except MimafaceError as error:
        if debug:
            raise
        sys.stderr.write(f"mimaface: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("mimaface: interrupted; nothing was left behind\n")
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output went away
        sys.exit(0)
    except Exception as error:
        if debug:
            raise
        text = " ".join(str(error).split())[:300]
        sys.stderr.write(f"mimaface: {type(error).__name__}: {text}; this is a fault of ours: add --debug and report it\n")
        sys.exit(1)
