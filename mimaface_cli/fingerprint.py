"""Content hashes and change stamps of input files: the basis of cache keys and provenance records."""

import hashlib
import os
import stat
import time
from pathlib import Path
from typing import Any

from mimaface_cli.errors import InputError
from mimaface_cli.files import folder_members, is_image_folder

_SETTLED = 1_000_000_000  # nanoseconds after which two versions of a file have different time stamps
_MAX_HASHES = 256
_hashes: dict[tuple[str, Any], str] = {}  # of the inputs that this process hashed, by absolute path and stamp

FileStamp = tuple[tuple[Any, ...], ...]


def content_hash(path: Path | str) -> str:
    """Hash the bytes of a file, or the names and bytes of the files directly in a folder of images.

    Hidden files of a folder (.DS_Store and the like) do not count.

    Returns:
        SHA-256 as 64 hex digits.

    Raises:
        InputError: The input cannot be read, or changes while it is read.
    """
    path = Path(path)
    try:
        before = source_stamp(path)
        version = os.path.abspath(path), before
        if version in _hashes:
            return _hashes[version]
        content = _folder_hash(path) if is_image_folder(path) else _file_hash(path).hex()
    except OSError as error:
        raise _unreadable(path, error) from error
    if source_stamp(path) != before:
        raise InputError(f"{path}: changed while it was read. Wait until it is complete.")
    # Time stamps are coarse: a file that was just written may change again without a new stamp.
    if time.time_ns() - max(changed for *_, changed in before) > _SETTLED:
        if len(_hashes) >= _MAX_HASHES:
            _hashes.clear()
        _hashes[version] = content
    return content


def source_stamp(path: Path | str) -> FileStamp:
    """Return a stamp of the current version of an input, without reading its content; compare stamps for equality.

    Raises:
        InputError: The input is missing, unreadable, empty, or neither a file nor a folder.
    """
    path = Path(path)
    try:
        members = [(member.name, member.stat()) for member in _members(path)]
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file. Check the path.") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if not members:
        raise InputError(f"{path}: contains no files. Name a file, or a folder of images.")
    if not all(stat.S_ISREG(info.st_mode) for _, info in members):
        raise InputError(f"{path}: is neither a file nor a folder. Name a file or a folder.")
    return tuple(
        (name, info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns) for name, info in members
    )


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: cannot be read ({error.strerror or error}). Check its permissions.")


def _folder_hash(folder: Path) -> str:
    digest = hashlib.sha256(b"folder")
    for member in _members(folder):
        # A hash has a fixed length and a name holds no zero byte, so two folders never give the same stream.
        digest.update(os.fsencode(member.name) + b"\0" + _file_hash(member))
    return digest.hexdigest()


def _members(path: Path) -> list[Path]:
    """Return the file itself, or the visible files of a folder, in an order independent of the locale."""
    if not is_image_folder(path):
        return [path]
    return sorted(folder_members(path), key=lambda member: os.fsencode(member.name))


def _file_hash(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
