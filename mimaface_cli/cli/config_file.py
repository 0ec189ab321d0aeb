"""Settings that stand in a file: what a command line and the environment leave open."""

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
_OTHERS = {VARIABLE, *(f"{PREFIX}_{name}" for name in ("CACHE_DIR", "WEIGHTS_DIR", "MIRROR"))}  # of no single option
_LARGEST = 1_000_000  # bytes


def config_file(environment: Mapping[str, str]) -> Path | None:
    """The file named by MIMAFACE_CONFIG (empty: none), else config.toml in the user's folder for such if it is
    there.
    """
    if VARIABLE in environment:
        named = environment[VARIABLE]
        return Path(named).expanduser() if named else None
    usual = platformdirs.user_config_path("mimaface", appauthor=False) / "config.toml"
    return usual if usual.is_file() else None


def load(program: Any, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Defaults for a program (a typer group) and its commands from the user's file: a table for each command, in it the
    options by long name. Raises InputError for a file that cannot be read, unknown names (with the nearest known one)
    and values of the wrong kind.
    """
    path = config_file(environment)
    if path is None:
        return {}
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path}: is too large for a configuration file")
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {VARIABLE}= goes without it") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is no TOML file ({str(error)[:100]}); mend it") from error
    return _table(path, values, program, "")


def _table(path: Path, values: dict[str, Any], command: Any, name: str) -> dict[str, Any]:
    """The values of one command, and the tables of the commands below it, by the names that the parser uses."""
    below = getattr(command, "commands", {})
    options = dict(_options(command))
    made: dict[str, Any] = {}
    for given, value in values.items():
        key = given.replace("_", "-")
        where = f"{path}: {f'[{name}] ' if name else ''}{given[:40]}"
        if key in below and isinstance(value, dict):
            made[key] = _table(path, value, below[key], f"{name}.{key}" if name else key)
        elif key in options:
            made[options[key].name] = _checked(where, value, options[key])
        else:
            near = get_close_matches(key, (*options, *below), 1, 0.5)
            hint = (
                f"did you mean {near[0]}?"
                if near
                else f"see mimaface {name.replace('.', ' ')} --help".replace("  ", " ")
            )
            raise InputError(f"{where}: no such setting; {hint}")
    return made


def unread(program: Any, environment: Mapping[str, str] = os.environ) -> list[str]:
    """A line for each variable of the environment that has our prefix and that nothing reads, with the nearest
    known.
    """
    known = _OTHERS | set(_variables(program, PREFIX))
    lines = []
    for name in sorted(name for name in environment if name.startswith(f"{PREFIX}_") and name not in known):
        near = get_close_matches(name, known, 1, 0.7)
        hint = f"did you mean {near[0]}?" if near else "settings are named MIMAFACE_<COMMAND>_<OPTION>"
        lines.append(f"{name[:80]}: no setting has that name, so it does nothing; {hint}")
    return lines


def _variables(command: Any, prefix: str) -> Iterator[str]:
    """The variables that the parser reads for a command and those below it."""
    for option in command.params:
        yield f"{prefix}_{option.name}".upper()
        named = getattr(option, "envvar", None)
        yield from [named] if isinstance(named, str) else named or ()
    for name, below in getattr(command, "commands", {}).items():
        yield from _variables(below, f"{prefix}_{name}".replace("-", "_").upper())


def _options(command: Any) -> Iterator[tuple[str, Any]]:
    """The options of a command by long name; those that show something and end are none to set."""
    for option in command.params:
        for word in option.opts:
            if word.startswith("--") and not option.is_eager and option.name != "help":
                yield word[2:], option


def _checked(where: str, value: Any, option: Any) -> Any:
    many = option.multiple
    plain = isinstance(value, str | int | float | bool)
    if not (plain or (many and isinstance(value, list) and all(isinstance(v, str | int | float) for v in value))):
        raise InputError(f"{where}: must be a text, a number, true or false{', or a list of these' if many else ''}")
    if getattr(option, "is_bool_flag", False) != isinstance(value, bool):
        raise InputError(f"{where}: {'is on or off: write true or false' if option.is_flag else 'takes a value'}")
    return value if isinstance(value, bool | list) else str(value)
