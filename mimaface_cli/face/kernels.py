"""Compiled inner loops: made by numba once, kept on disk where there is a place for them, free of Python's lock."""

import threading
from collections.abc import Callable
from typing import Any

_LOCK = threading.Lock()


class _Kernel:
    """A function that is compiled, or found compiled, when it is first called."""

    def __init__(self, function: Callable, options: dict[str, Any]) -> None:
        self._function, self._options = function, options
        self._compiled: Callable | None = None
        self.__doc__ = function.__doc__

    def __call__(self, *arguments: Any) -> Any:
        if self._compiled is None:
            with _LOCK:
                self._compiled = self._compiled or _compile(self._function, self._options)
        return self._compiled(*arguments)


def kernel(function: Callable | None = None, **options: Any) -> Any:
    """`numba.njit` without the lock and with its disk cache; without the cache where neither the package's folder nor
    the user's can be written (containers, system installs). numba is loaded when one is first called."""
    return _Kernel(function, options) if function else lambda given: _Kernel(given, options)


def _compile(function: Callable, options: dict[str, Any]) -> Callable:
    from numba import njit

    try:
        return njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:
        return njit(nogil=True, **options)(function)
