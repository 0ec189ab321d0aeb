"""The context object that commands receive: the command line, and a function that runs another one."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Invocation:
    """A running command line.

    Attributes:
        words: The command line without the program's name.
        run: Runs another command line; returns its exit code and, for a failure, its error line.
    """

    words: list[str]
    run: Callable[[list[str]], tuple[int, str]]
