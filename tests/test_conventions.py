"""Conventions of the code that no linter checks: sizes, module names, and messages without flags."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "mimaface_cli"
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_STORY_LINES = 40  # functions of apps/animate.py and apps/edit.py
# A flag, except in a command that a message tells to run.
FLAG = re.compile(r"^(?!.*\bmimaface [a-z]).*(?<![\w-])--[a-z][a-z-]+")

FILES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "examples").rglob("*.py")])


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef, path: Path) -> int:
    """Return the lines of a function; the parameters of a Typer command are its options and do not count."""
    is_command = path.parent == PACKAGE / "cli"
    first = function.body[0].lineno if is_command else function.lineno
    return (function.end_lineno or first) - first + 1


def test_files_are_short():
    long = {
        str(path.relative_to(ROOT)): n for path in FILES if (n := path.read_text("utf-8").count("\n")) > MAX_FILE_LINES
    }
    assert long == {}


def test_functions_are_short():
    long = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
        for path in FILES
        for function in functions(path)
        if body_lines(function, path) > MAX_FUNCTION_LINES
    ]
    assert long == []


@pytest.mark.parametrize("name", ["animate.py", "edit.py"])
def test_functions_of_the_main_applications_read_as_a_story(name):
    path = PACKAGE / "apps" / name
    long = []
    for function in functions(path):
        has_docstring = ast.get_docstring(function) is not None
        code = function.body[1:] if has_docstring else function.body
        if code and code[-1].end_lineno - code[0].lineno + 1 > MAX_STORY_LINES:
            long.append(function.name)
    assert long == []


def test_module_names_are_unique_outside_commands():
    """A command has one module in cli/ and one of the same name in the package that does its work."""
    names = Counter(
        path.stem
        for path in PACKAGE.rglob("*.py")
        if path.stem not in ("__init__", "__main__") and path.parent != PACKAGE / "cli"
    )
    repeated = {name for name, count in names.items() if count > 1}
    # Each engine has an engine.py; engines and drivers have a base.py; engines, drivers and weights a registry.py.
    assert repeated <= {"base", "engine", "registry"}


def strings(node: ast.AST) -> Iterator[str]:
    for child in ast.walk(node):
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.value


def test_library_messages_name_no_flags():
    named = []
    for path in PACKAGE.rglob("*.py"):
        if path.is_relative_to(PACKAGE / "cli") or path.name == "__main__.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            is_error = isinstance(node, ast.Raise)
            is_note = isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "append"
            if is_error or is_note:
                named += [f"{path.relative_to(ROOT)}:{node.lineno}" for text in strings(node) if FLAG.search(text)]
    assert named == []


def test_library_prints_nothing_and_never_exits():
    """Two modules run as processes of their own: the MATLAB reader and the worker of a batch."""
    processes = {PACKAGE / "weights" / "matlab.py", PACKAGE / "batch" / "worker.py"}
    calls = []
    for path in PACKAGE.rglob("*.py"):
        if path.is_relative_to(PACKAGE / "cli") or path.name == "__main__.py" or path in processes:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if name in ("print", "exit", "quit", "sys.exit", "os._exit"):
                    calls.append(f"{path.relative_to(ROOT)}:{node.lineno} {name}")
    assert calls == []
