"""Cache of a build: arrays that take long to compute, so that an interrupted build resumes."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mimaface_cli.files import atomic_path

Arrays = dict[str, np.ndarray]


def hash_parts(*parts: object) -> str:
    """Return a hash (hex) of arrays and of other values by their text."""
    digest = hashlib.sha256()
    for part in parts:
        content = np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray) else repr(part).encode()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:20]


def load_arrays(path: Path) -> Arrays:
    """Load the arrays of a cached file."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def save_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays to a file of the cache."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # the names of arrays are no parameters


def get_or_compute(path: Path, compute: Callable[[], Arrays]) -> Arrays:
    """Load cached arrays, or compute and store them."""
    if not path.exists():
        save_arrays(path, compute())
    return load_arrays(path)
