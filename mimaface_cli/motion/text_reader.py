"""Text and CSV files of untrusted origin: size limits, and errors that name the line."""

import csv
import io
from pathlib import Path
from typing import NamedTuple

from mimaface_cli.errors import InputError

MAX_BYTES = 256 * 1024**2


class TableRow(NamedTuple):
    """One row of a CSV file: its line number, from 1, and its fields without surrounding spaces."""

    line: int
    fields: list[str]


def read_table(path: Path) -> tuple[list[str], list[TableRow]]:
    """Read a CSV file; blank lines are skipped.

    Returns:
        The header, and the rows below it, each with as many fields as the header.

    Raises:
        InputError: If the file cannot be read, a column name is repeated, or a row has another number of fields.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    header: list[str] | None = None
    rows: list[TableRow] = []
    try:
        for values in reader:
            fields = [value.strip() for value in values]
            if not any(fields):
                continue
            if header is None:
                header = fields
                _check_header(path, reader.line_num, header)
            elif len(fields) != len(header):
                raise InputError(
                    f"{path}: line {reader.line_num}: has {len(fields)} fields, but the header has {len(header)}. "
                    "Give every line as many fields as the header."
                )
            else:
                rows.append(TableRow(reader.line_num, fields))
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: is not CSV ({error}). Save the file as CSV.") from error
    if header is None:
        raise InputError(f"{path}: is empty. Write a header line and at least one line of values.")
    return header, rows


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, with or without byte order mark.

    Raises:
        InputError: If the file is missing, too large, unreadable or not UTF-8.
    """
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder. Name a file.")
        if not path.is_file():  # a named pipe would block forever
            raise InputError(f"{path}: no such file. Check the path.")
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: is larger than the limit of {MAX_BYTES >> 20} MiB. Split the file.")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text. Save the file as UTF-8.") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}). Check its permissions.") from error


def _check_header(path: Path, line: int, header: list[str]) -> None:
    names: set[str] = set()
    for name in header:
        if name in names:
            raise InputError(f"{path}: line {line}: column {name[:40]!r} is repeated. Remove one of the columns.")
        names.add(name)
