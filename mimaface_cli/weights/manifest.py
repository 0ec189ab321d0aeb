"""The record of what is installed in a weights folder: its manifest.json."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock

from mimaface_cli.errors import OutputError
from mimaface_cli.files import atomic_path

FILE_NAME = "manifest.json"
_VERSION = 1
_DAMAGED = -1  # in place of the time of change: no file's, so that the bytes are read each time


@dataclass(frozen=True)
class ManifestEntry:
    """One installed file: size in bytes, time of change, SHA-256 (hex); where it came from, and its hash there."""

    size: int
    mtime_ns: int
    sha256: str
    source: str
    source_sha256: str


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(folder: Path) -> dict[str, ManifestEntry]:
    """The entries by path in the folder; empty where there is no manifest, or none that can be read."""
    try:
        values = json.loads((folder / FILE_NAME).read_bytes())
        rows = values["files"].items() if values["version"] == _VERSION else ()
        return {str(path): _entry(row) for path, row in rows}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def record(folder: Path, path: str, entry: ManifestEntry) -> None:
    """Add or replace one entry; runs side by side wait for each other. Raises OutputError."""
    try:
        with FileLock(folder / f".{FILE_NAME}.lock"):
            entries = read(folder) | {path: entry}
            rows = {name: asdict(entries[name]) for name in sorted(entries)}
            with atomic_path(folder / FILE_NAME) as temporary:
                temporary.write_text(json.dumps({"version": _VERSION, "files": rows}, indent=1), encoding="ascii")
    except OSError as error:
        raise OutputError(f"{folder / FILE_NAME}: cannot be written ({error.strerror or error})") from error


def find_problem(folder: Path, path: str, entry: ManifestEntry, thorough: bool = False) -> str | None:
    """What tells the file from its entry, or None. Its bytes are read only if its time has changed, or when thorough.

    A file that was touched, or copied with its folder, and is still the same is noted as such; so is one found
    damaged, which a quick look would not see.
    """
    file = folder / path
    try:
        info = file.stat()
        if info.st_size != entry.size:
            return f"has {info.st_size} bytes instead of {entry.size}"
        if not thorough and info.st_mtime_ns == entry.mtime_ns:
            return None if os.access(file, os.R_OK) else "cannot be read: Permission denied"
        digest = sha256_of(file)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    whole = digest == entry.sha256
    noted = info.st_mtime_ns if whole else _DAMAGED
    if noted != entry.mtime_ns:
        with suppress(OutputError):  # the folder may be shared and read-only
            record(folder, path, replace(entry, mtime_ns=noted))
    return None if whole else f"has the SHA-256 {digest} instead of {entry.sha256}"


def _entry(row: Mapping[str, object]) -> ManifestEntry:
    entry = ManifestEntry(**row)
    if not all(isinstance(value, int) for value in (entry.size, entry.mtime_ns)):
        raise ValueError("not a number")
    if not all(isinstance(value, str) for value in (entry.sha256, entry.source, entry.source_sha256)):
        raise ValueError("not a text")
    return entry
