"""One module per kind of fixture, named like the fixture's file (or the beginning of its name, up to _ - or .).

Each has check(fixture), which yields Checks. Modules of this package are discovered automatically.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator

from tests.goldens.fixture import Check, Fixture

Checker = Callable[[Fixture], Iterator[Check]]


def checker_of(stem: str) -> Checker | None:
    """Return the checker of a fixture by its file name without extension: the longest kind that matches, or None."""
    kinds = [module.name for module in pkgutil.iter_modules(__path__)]
    fitting = [kind for kind in kinds if stem == kind or stem.startswith((f"{kind}_", f"{kind}-", f"{kind}."))]
    return importlib.import_module(f"{__name__}.{max(fitting, key=len)}").check if fitting else None
