"""Memory that the C library holds back.

glibc gives each thread a heap of its own. Frames and temporary arrays are allocated in one thread and freed in another,
so the heaps fragment, and free pages pile up while a long video is processed.
"""

import ctypes
from functools import cache
from typing import Any


def release_free_memory() -> bool:
    """Return the free pages of all heaps to the system; takes a few milliseconds.

    Returns:
        Whether the C library can do so. Only glibc can.
    """
    trim = _find_trim()
    if trim is None:
        return False
    trim(0)
    return True


@cache
def _find_trim() -> Any:
    """Return glibc's `malloc_trim`, or None."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # Windows has no such handle, other C libraries no such function
        return None
