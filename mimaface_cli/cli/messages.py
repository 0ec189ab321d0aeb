"""Error lines of the command line: option fields are shown as flags."""

import re
from typing import Any

from mimaface_cli.cli.command_types import user_command_path
from mimaface_cli.cli.options import FIELDS_OF_FLAGS, flag_of
from mimaface_cli.errors import MimafaceError

_FIELD = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]*))?`")
_NOT_A_NUMBER = re.compile(r"Input should be a valid (integer|number).*")  # the words of Pydantic, which Typer uses
_ORIGINS = {"ENVIRONMENT": "from the environment", "DEFAULT_MAP": "from the configuration file"}


def error_line(error: MimafaceError, command: Any = None) -> str:
    """Return the line for an error of the library.

    Args:
        error: The error; its field, and option fields in backticks in its message, are shown as flags.
        command: The Typer command that ran, which defines the flags; without it, flags are derived from field names.

    Returns:
        One line, such as "--max-size: 8 is out of range. Give at least 64 pixels, or 0."
    """
    text = show_flags(error.message, command)
    return f"{_flag(_flags(command), error.field, None)}: {text}" if error.field else text


def show_flags(text: str, command: Any = None) -> str:
    """Return a text of the library with option fields in backticks replaced by the flags of a Typer command."""
    flags = _flags(command)
    return _FIELD.sub(lambda match: _flag(flags, match[1], match[2]), text)


def usage_line(error: Any) -> str:
    """Return the line for an error of the parser, or "" if the parser has printed the help instead."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return ""
    text = error.format_message().removeprefix("Invalid value: ").replace("Value error, ", "")
    if (number := _NOT_A_NUMBER.search(text)) and hasattr(error.__cause__, "errors"):
        value = str(error.__cause__.errors()[0]["input"])[:40]
        kind = "whole number" if number[1] == "integer" else "number"
        text = f"{text[: number.start()]}{value!r} is not a {kind}"
    context = getattr(error, "ctx", None)
    if context is None:
        return text
    option = getattr(error, "param", None)
    source = context.get_parameter_source(option.name) if option is not None else None
    if origin := _ORIGINS.get(getattr(source, "name", "")):
        text = text.replace("':", f"' ({origin}):", 1)
    return with_help_hint(text, user_command_path(context))


def with_help_hint(text: str, command_path: str) -> str:
    """Return a line that ends with the command that prints the help."""
    sentence = text.rstrip(".")
    end = "" if sentence.endswith("?") else "."
    return f"{sentence}{end} See {command_path} --help."


def _flags(command: Any) -> dict[str, tuple[str, str]]:
    """Map the names of fields to their flag and the flag that switches them off; arguments go by their metavar.

    Order of precedence: the parameter that has the field's name and sets the field, a parameter that sets the field
    under another name, any other parameter with the field's name.
    """
    same_name: dict[str, tuple[str, str]] = {}
    other_name: dict[str, tuple[str, str]] = {}
    any_name: dict[str, tuple[str, str]] = {}
    for option in getattr(command, "params", ()):
        flag = max(option.opts, key=len)
        if not flag.startswith("-"):
            any_name[option.name] = option.metavar or flag, ""
            continue
        pair = flag, max(option.secondary_opts, key=len, default="")
        for field in FIELDS_OF_FLAGS.get(flag, {option.name}):
            (same_name if field == option.name else other_name)[field] = pair
        any_name[option.name] = pair
    return any_name | other_name | same_name


def _flag(flags: dict[str, tuple[str, str]], field: str, value: str | None) -> str:
    """Return the flag of a field, with the value if the message gives one."""
    on, off = flags.get(field, (flag_of(field), "--no-" + field.replace("_", "-")))
    if value == "False":
        return off or on
    return f"{on} {value}" if value not in (None, "True") else on
