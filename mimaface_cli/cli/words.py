"""Options that take several words: `--set yaw=20 jawOpen=0.4` is `--set yaw=20 --set jawOpen=0.4`."""

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
