"""The manifest.json of a weights folder: installed files and their origin."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from mimaface_cli.errors import OutputError
from mimaface_cli.files import atomic_path

FILE_NAME = "manifest.json"
_VERSION = 1
_DAMAGED = -1  # recorded as the modification time of a damaged file: the hash is then computed every time


@dataclass(frozen=True)
class ManifestEntry:
    """One installed file.

    Attributes:
        size: Bytes.
        mtime_ns: Modification time in nanoseconds.
        sha256: SHA-256 of the installed file (hex).
        source: Where the file came from: an address, `repository@commit/path`, or a description.
        source_sha256: SHA-256 of the original file before conversion (hex).
    """

    size: int
    mtime_ns: int
    sha256: str
    source: str
    source_sha256: str


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes (hex).

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(folder: Path) -> dict[str, ManifestEntry]:
    """Read the manifest of a weights folder.

    Returns:
        Entries by path in the folder; empty if the manifest is missing or cannot be read.
    """
    try:
        values = json.loads((folder / FILE_NAME).read_bytes())
        rows = values["files"].items() if values["version"] == _VERSION else ()
        return {str(path): _parse_entry(row) for path, row in rows}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def record(folder: Path, path: str, entry: ManifestEntry) -> None:
    """Add or replace one entry. Concurrent processes wait for each other.

    Args:
        folder: The weights folder.
        path: The file's path in the folder, with forward slashes.
        entry: What to record.

    Raises:
        OutputError: The manifest cannot be written.
    """
    try:
        with FileLock(folder / f".{FILE_NAME}.lock"):
            entries = read(folder) | {path: entry}
            rows = {name: asdict(entries[name]) for name in sorted(entries)}
            with atomic_path(folder / FILE_NAME) as temporary:
                temporary.write_text(json.dumps({"version": _VERSION, "files": rows}, indent=1), encoding="ascii")
    except OSError as error:
        raise OutputError(
            f"{folder / FILE_NAME}: cannot be written ({error.strerror or error}). Check permissions and free space."
        ) from error


def find_problem(folder: Path, path: str, entry: ManifestEntry, thorough: bool = False) -> str | None:
    """Compare an installed file with its entry.

    The hash is computed only if the modification time differs or `thorough` is set. The result is recorded: an intact
    file that was touched or copied gets its new time, and a damaged file is checked in full from then on.

    Args:
        folder: The weights folder.
        path: The file's path in the folder.
        entry: The file's entry.
        thorough: Whether to compute the hash in any case.

    Returns:
        What is wrong with the file, or None.
    """
    file = folder / path
    try:
        info = file.stat()
        if info.st_size != entry.size:
            return f"has {info.st_size} bytes instead of {entry.size}"
        if not thorough and info.st_mtime_ns == entry.mtime_ns:
            return None if os.access(file, os.R_OK) else "cannot be read: Permission denied"
        sha256 = sha256_of(file)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    is_intact = sha256 == entry.sha256
    mtime_ns = info.st_mtime_ns if is_intact else _DAMAGED
    if mtime_ns != entry.mtime_ns:
        with suppress(OutputError):  # the folder may be shared and read-only
            record(folder, path, replace(entry, mtime_ns=mtime_ns))
    return None if is_intact else f"has the SHA-256 {sha256} instead of {entry.sha256}"


def _parse_entry(row: Mapping[str, Any]) -> ManifestEntry:
    entry = ManifestEntry(**row)
    if not all(isinstance(value, int) for value in (entry.size, entry.mtime_ns)):
        raise ValueError("size or mtime_ns is not an integer")
    if not all(isinstance(value, str) for value in (entry.sha256, entry.source, entry.source_sha256)):
        raise ValueError("sha256, source or source_sha256 is not a string")
    return entry
