"""One module per kind of fixture, named like the fixture's file (or the beginning of its name, up to _ - or .).

Each has check(fixture), which yields Checks. A module dropped in here is found by itself.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator

from tests.goldens.fixture import Check, Fixture

Checker = Callable[[Fixture], Iterator[Check]]


def checker_of(stem: str) -> Checker | None:
    """The checker of a fixture file by its name without extension: the longest kind that fits, or None."""
    kinds = [found.name for found in pkgutil.iter_modules(__path__)]
    fitting = [kind for kind in kinds if stem == kind or stem.startswith((f"{kind}_", f"{kind}-", f"{kind}."))]
    return importlib.import_module(f"{__name__}.{max(fitting, key=len)}").check if fitting else None
