"""Rewriting of command lines, for program options after the command and for options that take several values.

`--set yaw=20 jawOpen=0.4` becomes `--set yaw=20 --set jawOpen=0.4`.
"""

import re

_ASSIGNMENT = re.compile(r"([0-9.]+:)?[A-Za-z][A-Za-z0-9]*=.*", re.DOTALL)
_REPEATED = ("--set", "--add", "--scale", "--grid", "--key")
_GLOBAL = ("--progress", "--log-file")


def repeat_options(words: list[str]) -> list[str]:
    """Return the words, with assignment options repeated before each further assignment."""
    repeated: list[str] = []
    option: str | None = None
    for word in words:
        if word.startswith("-"):
            option = word if word in _REPEATED else None
        elif option is not None and repeated[-1] != option:
            if _ASSIGNMENT.fullmatch(word):
                repeated.append(option)
            else:
                option = None
        repeated.append(word)
    return repeated


def move_global_options(words: list[str]) -> list[str]:
    """Return the words, with the program's options moved before the command, where the parser expects them."""
    end = words.index("--") if "--" in words else len(words)
    front: list[str] = []
    rest: list[str] = []
    remaining = iter(words[:end])
    for word in remaining:
        if word in _GLOBAL:
            value = next(remaining, None)
            front += [word] if value is None else [word, value]
        elif word.startswith(tuple(name + "=" for name in _GLOBAL)):
            front.append(word)
        else:
            rest.append(word)
    return front + rest + words[end:]
