"""The context object of a command line: what commands can know about the run that they belong to."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Invocation:
    """A command line that runs.

    Attributes:
        words: The command line without the program's name.
        run: Runs another command line; returns its exit code and, for a failure, its error line.
    """

    words: list[str]
    run: Callable[[list[str]], tuple[int, str]]
