"""The configuration file and the environment variables: defaults for options that a command line does not set."""

import os
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import platformdirs

from mimaface_cli.errors import InputError

PREFIX = "MIMAFACE"
VARIABLE = f"{PREFIX}_CONFIG"
_GENERAL = {VARIABLE, *(f"{PREFIX}_{name}" for name in ("CACHE_DIR", "WEIGHTS_DIR", "MIRROR"))}  # belong to no option
_MAX_SIZE = 1_000_000  # bytes


def config_path(environment: Mapping[str, str]) -> Path | None:
    """Return the path of the configuration file.

    Returns:
        The file that MIMAFACE_CONFIG names (None if it is empty), else config.toml in the user's configuration folder
        if it exists, else None.
    """
    if VARIABLE in environment:
        name = environment[VARIABLE]
        return Path(name).expanduser() if name else None
    default = platformdirs.user_config_path("mimaface", appauthor=False) / "config.toml"
    return default if default.is_file() else None


def load_config(program: Any, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Load the default options of a program and its commands from the configuration file.

    Args:
        program: The Typer group. The file has a table for each command, with the options by long name.
        environment: The environment variables.

    Returns:
        The defaults by parameter, nested by command, as the parser expects them.

    Raises:
        InputError: The file cannot be read, or has unknown names or values of the wrong type.
    """
    path = config_path(environment)
    if path is None:
        return {}
    try:
        if path.stat().st_size > _MAX_SIZE:
            raise InputError(f"{path}: is too large for a configuration file. Check the path.")
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}). Fix the path, or set {VARIABLE}= to use no file."
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not a TOML file ({str(error)[:100]}). Fix it.") from error
    return _read_table(path, values, program, "")


def unknown_variables(program: Any, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return a warning for each environment variable with the program's prefix that no option reads."""
    known = _GENERAL | set(_variables(program, PREFIX))
    lines = []
    for name in sorted(name for name in environment if name.startswith(f"{PREFIX}_") and name not in known):
        matches = get_close_matches(name, known, 1, 0.7)
        hint = f"Did you mean {matches[0]}?" if matches else "Options are named MIMAFACE_<COMMAND>_<OPTION>."
        lines.append(f"{name[:80]}: no option has this name; the variable is ignored. {hint}")
    return lines


def _read_table(path: Path, values: dict[str, Any], command: Any, name: str) -> dict[str, Any]:
    """Return the defaults of one command and of its subcommands, by the names that the parser uses."""
    subcommands = getattr(command, "commands", {})
    options = dict(_options(command))
    defaults: dict[str, Any] = {}
    for key, value in values.items():
        flag = key.replace("_", "-")
        where = f"{path}: {f'[{name}] ' if name else ''}{key[:40]}"
        if flag in subcommands and isinstance(value, dict):
            defaults[flag] = _read_table(path, value, subcommands[flag], f"{name}.{flag}" if name else flag)
        elif flag in options:
            defaults[options[flag].name] = _checked_value(where, value, options[flag])
        else:
            matches = get_close_matches(flag, (*options, *subcommands), 1, 0.5)
            command_path = " ".join(["mimaface", *name.split(".")]).strip()
            hint = f"Did you mean {matches[0]}?" if matches else f"See {command_path} --help."
            raise InputError(f"{where}: unknown option. {hint}")
    return defaults


def _variables(command: Any, prefix: str) -> Iterator[str]:
    """Yield the environment variables that the parser reads for a command and its subcommands."""
    for option in command.params:
        yield f"{prefix}_{option.name}".upper()
        names = getattr(option, "envvar", None)
        yield from [names] if isinstance(names, str) else names or ()
    for name, subcommand in getattr(command, "commands", {}).items():
        yield from _variables(subcommand, f"{prefix}_{name}".replace("-", "_").upper())


def _options(command: Any) -> Iterator[tuple[str, Any]]:
    """Yield the options of a command by long name, except those that print something and exit, such as --version."""
    for option in command.params:
        for word in option.opts:
            if word.startswith("--") and not option.is_eager and option.name != "help":
                yield word[2:], option


def _checked_value(where: str, value: Any, option: Any) -> Any:
    """Return a value in the form that the parser expects. Raises InputError for a value of the wrong type."""
    is_multiple = option.multiple
    is_plain = isinstance(value, str | int | float | bool)
    is_list = isinstance(value, list) and all(isinstance(entry, str | int | float) for entry in value)
    if not (is_plain or (is_multiple and is_list)):
        list_hint = ", or a list of these" if is_multiple else ""
        raise InputError(f"{where}: has the wrong type. Write text, a number, true or false{list_hint}.")
    if getattr(option, "is_bool_flag", False) != isinstance(value, bool):
        problem = "is a switch. Write true or false." if option.is_flag else "needs a value. Write text or a number."
        raise InputError(f"{where}: {problem}")
    return value if isinstance(value, bool | list) else str(value)
