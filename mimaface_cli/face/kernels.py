"""The decorator for inner loops that numba compiles."""

from collections.abc import Callable
from typing import Any, TypeVar, overload

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


@overload
def kernel(function: Function) -> Function: ...


@overload
def kernel(function: None = None, **options: Any) -> Callable[[Function], Function]: ...


def kernel(function: Function | None = None, **options: Any) -> Function | Callable[[Function], Function]:
    """Compile a function with `numba.njit`, without the GIL and with numba's disk cache.

    The disk cache is off where neither the package's folder nor the user's cache folder is writable, as in containers
    and system-wide installations.

    Args:
        function: Function to compile, or None when the decorator is used with options.
        **options: Further options of `numba.njit`. Use `nogil=False` for kernels of a few microseconds: another thread
            that takes the GIL meanwhile may keep it much longer.

    Returns:
        The compiled function, or a decorator where `function` is None.
    """
    if function is None:
        return lambda decorated: kernel(decorated, **options)
    options = {"nogil": True} | options
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:
        return njit(**options)(function)
