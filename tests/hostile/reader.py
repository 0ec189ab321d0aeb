"""File readers under test, each with a valid file to damage, and the check of their results."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mimaface_cli.errors import MimafaceError


@dataclass(frozen=True)
class Reader:
    """A reader to test.

    Args:
        name: Name of the reader.
        suffix: Suffix of the file.
        make: Function that returns the bytes of a valid file.
        read: Function that reads all of a file.
        ignores_damage: Whether the reader ignores damaged files without an error. Caches and manifests do, because
            they are created again.
        required_name: Name that the file must have, or "" for any.
    """

    name: str
    suffix: str
    make: Callable[[], bytes]
    read: Callable[[Path], object]
    ignores_damage: bool = False
    required_name: str = ""

    @property
    def file_name(self) -> str:
        return self.required_name or f"input{self.suffix}"


def try_to_read(reader: Reader, path: Path) -> str:
    """Read a file; return "read", or "refused" for a one-line error.

    Raises:
        AssertionError: If the error does not name the file or is too long for a line. (The command line escapes line
            breaks in errors.)
        Exception: Any other exception of the reader; a user would see a traceback.
    """
    try:
        reader.read(path)
    except MimafaceError as error:
        message = str(error)
        if path.name not in message or len(message) > 1000 or reader.ignores_damage:
            raise AssertionError(f"not one clear line: {message[:500]!r}") from error
        return "refused"
    return "read"
