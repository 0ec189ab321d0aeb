"""Every failure a user can mend: one line that says what, where and how, and an exit code a script can read."""


class MimafaceError(Exception):
    """A failure with one clear line for the user. Anything else that escapes is a bug of ours."""

    exit_code = 1


class InputError(MimafaceError):
    """A given file cannot be used: missing, unreadable, the wrong kind, without a face."""

    exit_code = 3


class OutputError(MimafaceError):
    """A result cannot be written: it exists already, the place is read-only or full."""

    exit_code = 4


class WeightsError(MimafaceError):
    """A model file is missing, damaged or of the wrong kind, or an engine cannot run here."""

    exit_code = 5


def brief(error: object, most: int = 160) -> str:
    """What a library says of a failure, on one line and no longer than fits into ours; its kind where it says nothing."""
    return " ".join(str(error).split())[:most] or type(error).__name__
