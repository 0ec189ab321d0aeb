"""Memory that the C library holds back is returned."""

import platform
import re
import subprocess
import sys

import pytest

from mimaface_cli import allocator

PROGRAM = """
import re, threading
from pathlib import Path
from mimaface_cli.allocator import release_free_memory

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

kept = []
def fill():
    blocks = []
    for _ in range(20):
        blocks += [bytearray(60_000) for _ in range(100)]  # below the size that glibc maps and unmaps alone
        kept.append(bytearray(1_000))  # the heap cannot shrink below it
thread = threading.Thread(target=fill)
thread.start(), thread.join()
full = resident()
print(release_free_memory(), full - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can return free pages")
def test_release_free_memory_returns_pages_that_glibc_holds_back():
    output = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    released = re.fullmatch(r"True (\d+)\n", output)
    assert released and int(released[1]) > 50_000  # KB, of 120,000


def test_release_free_memory_does_nothing_without_glibc(monkeypatch):
    monkeypatch.setattr(allocator, "_find_trim", lambda: None)
    assert not allocator.release_free_memory()
