"""Writing files so that a reader sees the old one, the new one, or none: never a half."""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mimaface_cli.errors import InputError, MimafaceError, OutputError

_LONGEST_STEM = 200  # bytes; file systems take names of 255


def check_input_file(path: Path) -> None:
    """Raise InputError unless `path` is an ordinary file with something in it."""
    try:
        if not path.exists():
            raise InputError(f"{path}: no such file; check the path")
        if not path.is_file():
            raise InputError(f"{path}: is not an ordinary file; name a video, a picture or a folder of pictures")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: is empty (0 bytes); get the whole file")
        if not os.access(path, os.R_OK):
            raise InputError(f"{path}: cannot be read; change its permissions")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def check_output(path: Path, overwrite: bool = False, inputs: tuple[Path, ...] = ()) -> None:
    """Raise OutputError when writing `path` would destroy something or cannot work; touches nothing."""
    try:
        found = path.exists()
        if found and any(given.exists() and path.samefile(given) for given in inputs):
            raise OutputError(f"{path}: the output is the same file as an input; choose another name")
        if path.is_dir():
            raise OutputError(f"{path}: is a folder; name a file inside it")
        if found and not path.is_file():  # a device or a pipe, which renaming would remove
            raise OutputError(f"{path}: is not an ordinary file; choose another name")
        if found and not overwrite:
            raise OutputError(f"{path}: exists already; add --overwrite to replace it")
        check_folder(path.parent)
    except OSError as error:
        raise output_error(path, error) from error


def check_folder(folder: Path) -> None:
    """Raise OutputError unless `folder` is there and can be written to; touches nothing."""
    if not folder.is_dir():
        raise OutputError(f"{folder}: no such folder; create it first")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{folder}: cannot be written to; choose another place or change its permissions")


def temporary_path(path: Path) -> Path:
    """A hidden name beside `path`, of the same extension, that nobody uses."""
    return path.with_name(f".{_short_stem(path)}.{secrets.token_hex(4)}.part{path.suffix}")


def _short_stem(path: Path) -> str:
    """The stem, cut so that a temporary name around it is none too long."""
    return os.fsencode(path.stem)[:_LONGEST_STEM].decode(errors="ignore")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path` (same extension); rename it into place, or remove it on any failure.

    Raises OutputError when the system refuses the writing (no space, no permission).
    """
    temporary = temporary_path(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except MimafaceError:
        raise
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_partial_files(path: Path) -> None:
    """Remove what a killed run left of `path` under `atomic_path`'s names. Only for who knows that nobody writes
    there.
    """
    suffix = re.escape(path.suffix)
    ours = re.compile(rf"\.{re.escape(_short_stem(path))}\.[0-9a-f]{{8}}\.part{suffix}(\.signed{suffix})?")
    with suppress(OSError):
        for found in path.parent.iterdir():
            if ours.fullmatch(found.name):
                shutil.rmtree(found) if found.is_dir() else found.unlink(missing_ok=True)


def output_error(path: Path, error: OSError) -> OutputError:
    """The one line for a refused write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(f"{path}: no space left on the device; free some or choose another place")
    return OutputError(f"{path}: cannot be written ({error.strerror or error}); choose another place")
