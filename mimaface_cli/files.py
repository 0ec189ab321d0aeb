"""Checks of input and output paths, and atomic writes."""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mimaface_cli.errors import InputError, MimafaceError, OutputError
from mimaface_cli.leftovers import remove_if_killed

_FRAME_NUMBER = re.compile(r"%(?:0(\d))?d")
_MAX_STEM_BYTES = 200  # of the 255 that file systems allow; the rest is for the other parts of a temporary name


def check_input_file(path: Path) -> None:
    """Check that a path is a readable, regular file that is not empty.

    Raises:
        InputError: If it is not.
    """
    try:
        if not path.exists():
            raise InputError(f"{path}: no such file. Check the path.")
        if not path.is_file():
            raise InputError(f"{path}: not a regular file. Choose another file.")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty (0 bytes). Get the complete file.")
        if not os.access(path, os.R_OK):
            raise InputError(f"{path}: the file cannot be read. Change its permissions.")
    except OSError as error:
        raise input_error(path, error) from error


def is_image_folder(path: Path) -> bool:
    """Return whether a path is a folder, or names numbered files of a folder, such as frames/%05d.png."""
    return path.is_dir() or _number_pattern(path) is not None


def folder_members(path: Path) -> list[Path]:
    """Return the visible files directly in a folder, or those that a pattern such as frames/%05d.png names.

    Raises:
        OSError: If the folder cannot be read.
    """
    pattern = _number_pattern(path)
    folder = path if pattern is None else path.parent
    return [
        entry
        for entry in folder.iterdir()
        if not entry.name.startswith(".") and (pattern is None or pattern.fullmatch(entry.name)) and entry.is_file()
    ]


def _number_pattern(path: Path) -> re.Pattern[str] | None:
    """Return the pattern of the file names if a path is no file itself and has one number such as %05d, else None."""
    head, *numbers = _FRAME_NUMBER.split(path.name)
    if len(numbers) != 2 or path.exists():
        return None
    width, tail = numbers
    return re.compile(rf"{re.escape(head)}\d{{{width or 1},}}{re.escape(tail)}")


def check_output(path: Path, overwrite: bool = False, inputs: tuple[Path, ...] = ()) -> None:
    """Check that a file can be written without overwriting anything else; changes nothing on disk.

    Args:
        path: File to write.
        overwrite: Whether the file may exist already.
        inputs: Files that must not be overwritten.

    Raises:
        OutputError: If the file exists and `overwrite` is not set, if it is one of the inputs, or if its folder is
            missing or not writable.
    """
    try:
        exists = path.exists()
        if exists and any(source.exists() and path.samefile(source) for source in inputs):
            raise OutputError(f"{path}: the output is the same file as an input. Choose another name.")
        if path.is_dir():
            raise OutputError(f"{path}: is a folder. Name a file inside it.")
        if exists and not path.is_file():  # a device or a pipe, which the final rename would replace
            raise OutputError(f"{path}: not a regular file. Choose another name.")
        if exists and not overwrite:
            raise OutputError(f"{path}: the file exists already. Set `overwrite` to replace it.")
        check_folder(path.parent)
    except OSError as error:
        raise output_error(path, error) from error


def check_folder(folder: Path) -> None:
    """Check that a folder exists and is writable; changes nothing on disk.

    Raises:
        OutputError: If it is not.
    """
    if not folder.is_dir():
        raise OutputError(f"{folder}: no such folder. Create it first.")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{folder}: cannot be written to. Choose another folder or change its permissions.")


def temporary_path(path: Path) -> Path:
    """Return an unused hidden path in the same folder, with the same suffix."""
    return path.with_name(f".{_short_stem(path)}.{secrets.token_hex(4)}.part{path.suffix}")


def _short_stem(path: Path) -> str:
    """Return the stem, truncated to leave room for the rest of a temporary name."""
    return os.fsencode(path.stem)[:_MAX_STEM_BYTES].decode(errors="ignore")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Provide a temporary path to write to, and rename it to `path` at the end.

    A reader sees the old file, the new one, or none, never a partial one. Any failure removes the temporary file, also
    the end of the process by a signal.

    Args:
        path: Final path of the file.

    Yields:
        A hidden path in the same folder, with the same suffix.

    Raises:
        OutputError: If the system refuses a write (no space, no permission).
    """
    temporary = temporary_path(path)
    with remove_if_killed(temporary):
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
    """Remove the temporary files that a killed run left while it wrote `path`.

    Call it only if no other process can be writing the same file.
    """
    suffix = re.escape(path.suffix)
    partial_name = re.compile(rf"\.{re.escape(_short_stem(path))}\.[0-9a-f]{{8}}\.part{suffix}(\.signed{suffix})?")
    with suppress(OSError):
        for entry in path.parent.iterdir():
            if not partial_name.fullmatch(entry.name):
                continue
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)


def input_error(path: Path, error: OSError) -> InputError:
    """Return the InputError for a read that the system refused."""
    return InputError(f"{path}: cannot be read ({error.strerror or error}). Check the path and its permissions.")


def output_error(path: Path, error: OSError) -> OutputError:
    """Return the OutputError for a write that the system refused."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(f"{path}: no space left on the device. Free some or choose another folder.")
    if error.errno == errno.ENAMETOOLONG:
        return OutputError(f"{path.name[:40]}…: the name is too long. Use a shorter name.")
    return OutputError(f"{path}: cannot be written ({error.strerror or error}). Choose another folder.")
