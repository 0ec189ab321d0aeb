"""Show the library's errors on the command line: option fields become flags."""

import re
from typing import Any

from mimaface_cli.errors import MimafaceError

_FIELD = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]*))?`")


def error_line(error: MimafaceError, command: Any = None) -> str:
    """Return the line for an error of the library.

    Args:
        error: The error; its field, and option fields in backticks in its message, are shown as flags.
        command: The Typer command that ran, which knows its flags; without it flags are made from the names.

    Returns:
        One line, such as "--max-size: must be 0 or at least 64 pixels".
    """
    flags = _flags(command)
    text = _FIELD.sub(lambda match: _flag(flags, match[1], match[2]), error.message)
    return f"{_flag(flags, error.field, None)}: {text}" if error.field else text


def _flags(command: Any) -> dict[str, tuple[str, str]]:
    """Map each option's field to its flag and to the flag that switches it off."""
    options = getattr(command, "params", ())
    return {
        option.name: (max(option.opts, key=len), max(option.secondary_opts, key=len, default=""))
        for option in options
        if any(name.startswith("-") for name in option.opts)
    }


def _flag(flags: dict[str, tuple[str, str]], field: str, value: str | None) -> str:
    """Return the flag of a field, with its value where the message gives one."""
    on, off = flags.get(field, ("--" + field.replace("_", "-"), "--no-" + field.replace("_", "-")))
    if value == "False":
        return off or on
    return f"{on} {value}" if value not in (None, "True") else on
