"""The measurement programs import what they measure; no other test runs most of them."""

from importlib import import_module
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
PROGRAMS = sorted(
    ".".join(path.relative_to(FOLDER.parent.parent).with_suffix("").parts)
    for path in FOLDER.rglob("*.py")
    if not path.name.startswith(("__", "test_"))
)


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_imports(name):
    import_module(name)
