"""Text from anywhere: read whole, within bounds, every fault told with its line."""

import csv
import io
from pathlib import Path

from mimaface_cli.errors import InputError

MAX_BYTES = 256 * 1024**2


def read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """A CSV file's header and its rows with their line numbers; blank lines are passed over. Raises InputError where it
    cannot be read, a name comes twice or a row has another number of fields.
    """
    text = read_text(path)
    lines = csv.reader(io.StringIO(text, newline=""))
    header: list[str] | None = None
    rows = []
    try:
        for row in lines:
            fields = [field.strip() for field in row]
            if not any(fields):
                continue
            if header is None:
                header = fields
                seen: set[str] = set()
                twice = next((name for name in header if name in seen or seen.add(name)), None)
                if twice is not None:
                    raise InputError(f"{path}: line {lines.line_num}: column {twice[:40]!r} is there twice")
                continue
            if len(fields) != len(header):
                raise InputError(
                    f"{path}: line {lines.line_num}: has {len(fields)} fields where the header has {len(header)}"
                )
            rows.append((lines.line_num, fields))
    except csv.Error as error:
        raise InputError(f"{path}: line {lines.line_num}: is not CSV ({error})") from error
    if header is None:
        raise InputError(f"{path}: is empty; write a header line and one line a moment")
    return header, rows


def read_text(path: Path) -> str:
    """A text file of bearable size, UTF-8 with or without its mark. Raises InputError."""
    try:
        if not path.is_file():  # also keeps a named pipe from blocking for ever
            kind = "is a folder; name a file" if path.is_dir() else "no such file; check the path"
            raise InputError(f"{path}: {kind}")
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: is larger than the {MAX_BYTES >> 20} MiB such a file may take")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text; save it as such") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from error
