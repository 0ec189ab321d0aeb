"""Imports run downward: a package imports only the layers below its own, and no two modules import each other."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "mimaface_cli"

# From top to bottom. A package imports its own modules and those of the layers below, never of its own layer's others.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"batch"},
    {"training", "builders", "evaluation", "apps"},
    {"provenance", "drivers"},
    {"engines"},
    {"face", "speech"},
    {"motion"},
    {"media", "weights"},
    {"cache"},
    {"fingerprint"},
    {"files", "concurrency"},
    {"options", "leftovers", "allocator"},
    {"errors", "progress"},
    {"__init__"},
]
# Packages of one layer that may import each other in this direction.
SIDEWAYS = {
    ("builders", "training"),
    ("speech", "face"),
    ("training", "evaluation"),
    ("evaluation", "apps"),
    ("builders", "evaluation"),
}
# The public API loads names from everywhere, but only on first use.
LAZY = {"mimaface_cli"}


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def imported_modules(name: str) -> set[str]:
    """Return the modules of the package that a module imports, anywhere in it, typing-only imports included."""
    imported = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names if alias.name in MODULES}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            for alias in node.names:
                member = f"{node.module}.{alias.name}"
                if member in MODULES:
                    imported.add(member)
                elif node.module in MODULES:
                    imported.add(str(node.module))
    return imported - {name}


GRAPH = {name: imported_modules(name) for name in MODULES if name not in LAZY}


def part_of(name: str) -> str:
    """Return the package or top-level module that a module belongs to."""
    return name.split(".")[1] if "." in name else "__init__"


LAYER_OF = {part: level for level, parts in enumerate(LAYERS) for part in parts}


def test_every_package_has_a_layer():
    assert {part_of(name) for name in MODULES} <= set(LAYER_OF)


@pytest.mark.parametrize("name", sorted(GRAPH))
def test_module_imports_only_lower_layers(name):
    part = part_of(name)
    upward = [
        other
        for other in sorted(GRAPH[name])
        if part_of(other) != part
        and LAYER_OF[part_of(other)] <= LAYER_OF[part]
        and (part, part_of(other)) not in SIDEWAYS
    ]
    assert upward == []


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules of a cycle, or an empty list."""
    finished: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return path[path.index(name) :]
        if name in finished:
            return []
        for other in sorted(graph.get(name, ())):
            if cycle := visit(other, [*path, name]):
                return cycle
        finished.add(name)
        return []

    for start in sorted(graph):
        if cycle := visit(start, []):
            return cycle
    return []


def test_no_modules_import_each_other():
    assert find_cycle(GRAPH) == []


def test_find_cycle_finds_a_cycle():
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]


def test_mesh_engine_does_not_import_the_diffusion_engine():
    allowed = "mimaface_cli.engines.diffusion.diffusion_options"
    for name, imported in GRAPH.items():
        if name.startswith("mimaface_cli.engines.mesh"):
            assert not {other for other in imported if ".engines.diffusion" in other and other != allowed}, name


def test_engine_names_are_compared_only_inside_engines():
    names = {"mesh", "diffusion"}
    comparisons = []
    for name, path in MODULES.items():
        if name.startswith("mimaface_cli.engines"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Compare):
                operands = [node.left, *node.comparators]
                values = {operand.value for operand in operands if isinstance(operand, ast.Constant)}
                if values & names:
                    comparisons.append(f"{name}:{node.lineno}")
    assert comparisons == []


def test_animation_loads_neither_speech_networks_nor_slow_libraries_until_needed():
    program = "import sys, mimaface_cli.apps.animate; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    slow = {"torch", "mediapipe", "diffusers", "transformers", "scipy.signal", "mimaface_cli.speech.embedded_speech"}
    assert not slow & set(run.stdout.split())
