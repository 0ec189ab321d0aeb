"""Registry of engines by name. Importing this module loads no engine."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from mimaface_cli.errors import InputError

if TYPE_CHECKING:
    from mimaface_cli.engines.base import Engine

AUTO = "auto"

# In the order in which automatic selection tries them: name and "module:class", or a function that returns the engine.
_engines: "dict[str, str | Callable[[], Engine]]" = {
    "diffusion": "mimaface_cli.engines.diffusion.engine:DiffusionEngine",
    "mesh": "mimaface_cli.engines.mesh.engine:MeshEngine",
}


def engine_names() -> tuple[str, ...]:
    """Return the names of all engines, in the order in which automatic selection tries them."""
    return tuple(_engines)


def register_engine(name: str, create: "str | Callable[[], Engine]") -> None:
    """Add an engine; automatic selection tries it last.

    Args:
        name: Name of the engine, as `AnimateOptions.engine` takes it.
        create: Returns the engine, or "module:class".

    Raises:
        ValueError: The name is taken.
    """
    if name in (AUTO, *_engines):
        raise ValueError(f"engine {name!r} is registered already")
    _engines[name] = create


def unregister_engine(name: str) -> None:
    """Remove an engine. Raises KeyError for an unknown name."""
    del _engines[name]


def unknown_engine_error(name: str, names: Sequence[str]) -> InputError:
    """Return the error for an engine name that is not one of `names`."""
    return InputError(f"unknown engine {name[:40]!r}. Choose {', '.join(names[:-1])} or {names[-1]}.", field="engine")


def create_engine(name: str) -> "Engine":
    """Return an engine by name.

    Raises:
        InputError: There is no engine of that name.
    """
    if name not in _engines:
        raise unknown_engine_error(name, (*_engines, AUTO))
    create = _engines[name]
    if isinstance(create, str):
        module, _, attribute = create.partition(":")
        create = getattr(import_module(module), attribute)
    return create()
