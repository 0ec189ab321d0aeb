"""Errors of the package: each message is one line that states the problem and how to fix it."""


class MimafaceError(Exception):
    """Failure that the user can fix. Any other exception is an internal error.

    A message names options by their field in backticks, as in "Set `overwrite` to replace it." or "Set `engine=mesh`.";
    `mimaface_cli.cli.messages` shows these as flags.

    Args:
        message: What is wrong and how to fix it: `<path>: <problem>. <fix>.` or, with a field, `<problem>. <fix>.`
        field: Name of the option with the invalid value, or None.
    """

    exit_code = 1

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class InputError(MimafaceError):
    """An input or an option cannot be used: missing, unreadable, the wrong kind, out of range, without a face."""

    exit_code = 3


class OutputError(MimafaceError):
    """A result cannot be written: it exists already, or the disk is read-only or full."""

    exit_code = 4


class WeightsError(MimafaceError):
    """A model file is missing, damaged or of the wrong kind, or an engine cannot run here."""

    exit_code = 5


def brief(error: object, limit: int = 160) -> str:
    """Return a library's error message on one line, cut to a length.

    Args:
        error: The exception, or its text.
        limit: Number of characters to keep.

    Returns:
        The text with single spaces, or the name of the type if the text is empty.
    """
    return " ".join(str(error).split())[:limit] or type(error).__name__
