"""Compiled inner loops: made by numba once, kept on disk where there is a place for them, free of Python's lock."""

from collections.abc import Callable

from numba import njit


def kernel(function: Callable | None = None, **options):
    """`numba.njit` without the lock and with its disk cache; without the cache where neither the package's folder nor
    the user's can be written (containers, system installs).
    """
    if function is None:
        return lambda given: kernel(given, **options)
    try:
        return njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:
        return njit(nogil=True, **options)(function)
