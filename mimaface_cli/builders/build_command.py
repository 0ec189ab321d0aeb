"""What the command lines of long builds share: progress with the elapsed time, and errors in one line."""

import re
import time
from collections.abc import Callable

from mimaface_cli.errors import MimafaceError

INTERRUPTED = 130  # exit code
Log = Callable[[str], None]


def describe_error(error: MimafaceError) -> str:
    """Return the line of an error, with option fields in backticks as flags."""
    return "error: " + re.sub(r"`([a-z_]+)`", lambda match: "--" + match[1].replace("_", "-"), str(error))


def run_build(build: Callable[[Log], None], write: Callable[[str], object]) -> int:
    """Run a build.

    Args:
        build: The build; its argument receives messages.
        write: Receives lines of text: messages with the elapsed seconds, and the error if the build fails.

    Returns:
        The exit code.
    """
    start = time.monotonic()

    def log(text: str) -> None:
        write(f"{time.monotonic() - start:6.0f} s  {text}\n")

    try:
        build(log)
    except MimafaceError as error:
        write(f"{describe_error(error)}\n")
        return error.exit_code
    except KeyboardInterrupt:
        write("interrupted. Run the same command to resume.\n")
        return INTERRUPTED
    return 0
