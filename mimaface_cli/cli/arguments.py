"""Options that stand anywhere, and options that take several words: `--set yaw=20 jawOpen=0.4` is `--set yaw=20 --set
jawOpen=0.4`.
"""

import re
from typing import Any

from typer.core import TyperCommand

_ASSIGNMENT = re.compile(r"([0-9.]+:)?[A-Za-z][A-Za-z0-9]*=.*", re.DOTALL)
_GREEDY = ("--set", "--add", "--scale", "--grid", "--key")


class Assignments(TyperCommand):
    """A command whose assignment options go on to take words like NAME=VALUE until another word comes."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, repeat_options(args))


def repeat_options(words: list[str]) -> list[str]:
    """The words with each greedy option written again before every further assignment that follows it."""
    out: list[str] = []
    current: str | None = None
    for word in words:
        if word.startswith("-"):
            current = word if word in _GREEDY else None
        elif current is not None and out[-1] != current:
            if _ASSIGNMENT.fullmatch(word):
                out.append(current)
            else:
                current = None
        out.append(word)
    return out


_ANYWHERE = ("--progress", "--log-file")


def to_front(words: list[str]) -> list[str]:
    """The words with the options that every command knows moved before the command, to where the program takes them."""
    end = words.index("--") if "--" in words else len(words)
    front: list[str] = []
    rest: list[str] = []
    given = iter(words[:end])
    for word in given:
        if word in _ANYWHERE:
            front += [word, *(value for value in [next(given, None)] if value is not None)]
        elif word.startswith(tuple(name + "=" for name in _ANYWHERE)):
            front.append(word)
        else:
            rest.append(word)
    return front + rest + words[end:]
