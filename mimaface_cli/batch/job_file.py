"""Job files: CSV or JSON lines, one job of animate per row."""

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mimaface_cli.apps.background_option import KEEP, TRANSPARENT, background_path
from mimaface_cli.batch.jobs import Job, sort_jobs
from mimaface_cli.engines.mesh.part_option import LEARNED, PAINTED
from mimaface_cli.errors import InputError
from mimaface_cli.files import check_input_file
from mimaface_cli.media.encoding import is_image_sequence

REQUIRED_COLUMNS = ("source", "driver", "output")
_INPUT_COLUMNS = ("source", "driver", "audio", "pose-from", "speakers", "background", "mouth", "eyes")
_OUTPUT_COLUMNS = ("output", "matte")
# Values that are not file names.
_KEYWORDS = {
    "audio": ("driver", "source", "none"),
    "background": (KEEP, TRANSPARENT),
    "mouth": (LEARNED, PAINTED),
    "eyes": (LEARNED, PAINTED),
}
_MAX_SIZE = 64_000_000  # bytes
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")

_Row = tuple[int, dict[str, str | bool]]


def read_jobs(path: Path, options: Mapping[str, bool], find_problem: Callable[[list[str]], str | None]) -> list[Job]:
    """Read the jobs of a file, sorted so that each job follows the jobs whose outputs it reads.

    Args:
        path: The job file.
        options: Options of animate by long name without dashes, no-… switches included; True for switches.
        find_problem: Returns the problem of a job's words, or None.

    Raises:
        InputError: For unknown columns, unreadable rows, wrong options, two jobs with one output, jobs that need each
            other, and a file without jobs; the message names the row.
    """
    path = Path(path)
    check_input_file(path)
    if path.stat().st_size > _MAX_SIZE:
        raise InputError(f"{path}: is larger than {_MAX_SIZE // 1_000_000} MB. Split it into several job files.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({error}). Save it as UTF-8.") from error
    read_rows = _json_rows if text.lstrip()[:1] == "{" else _csv_rows
    folder = Path(os.path.abspath(path.parent))
    jobs: list[Job] = []
    for row, values in read_rows(path, text, options):
        jobs.append(_make_job(row, values, folder))
        if problem := find_problem(jobs[-1].words):
            raise InputError(f"{path}, row {row}: {problem}")
    if not jobs:
        raise InputError(f"{path}: contains no jobs. Write a row per job, with {', '.join(REQUIRED_COLUMNS)}.")
    return sort_jobs(path, jobs)


def resolve_path(folder: Path, name: str) -> Path:
    """Return the real, absolute path of a name in a job file; for numbered images, that of their folder."""
    path = folder / name
    if is_image_sequence(path) and not path.exists():
        path = path.parent
    return Path(os.path.realpath(path))


def _csv_rows(path: Path, text: str, options: Mapping[str, bool]) -> Iterator[_Row]:
    """Yield the rows of a CSV with their numbers; the delimiter is the most frequent one in the first line."""
    header = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True)
    names: list[str] = []
    for row in range(1, text.count("\n") + 3):
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise InputError(f"{path}, row {row}: cannot be read ({error}). Fix its quotes.") from error
        if cells is None:
            return
        cells = [cell.strip() for cell in cells]
        if not any(cells):
            continue
        if not names:
            names = [_parse_column(path, row, cell, options) for cell in cells]
            repeated = next((name for name in names if names.count(name) > 1), None)
            if repeated:
                raise InputError(f"{path}, row {row}: the column {repeated} appears twice. Remove one.")
            continue
        if len(cells) > len(names):
            raise InputError(
                f"{path}, row {row}: has {len(cells)} cells for {len(names)} columns. Quote cells that contain commas."
            )
        yield row, _parse_values(path, row, dict(zip(names, cells, strict=False)), options)


def _json_rows(path: Path, text: str, options: Mapping[str, bool]) -> Iterator[_Row]:
    """Yield the rows of a file of JSON lines with their numbers."""
    for row, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line, object_pairs_hook=_unique_names)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{path}, row {row}: is not a JSON object ({str(error)[:80]}). Write one job per line."
            ) from error
        if not isinstance(values, dict):
            raise InputError(f"{path}, row {row}: is not a JSON object. Write one job per line.")
        for name, value in values.items():
            if value is not None and not isinstance(value, str | int | float | bool):
                raise InputError(f"{path}, row {row}: {name[:40]} must be text, a number, true or false.")
        by_column = {_parse_column(path, row, name, options): value for name, value in values.items()}
        yield row, _parse_values(path, row, by_column, options)


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object. Raises ValueError if a name appears twice."""
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name appears twice")
    return values


def _parse_column(path: Path, row: int, text: str, options: Mapping[str, bool]) -> str:
    """Return a column's name in the form of option names. Raises InputError for an unknown name."""
    name = text.strip().removeprefix("--").replace("_", "-").lower()
    if name in REQUIRED_COLUMNS or name in options:
        return name
    matches = get_close_matches(name, (*REQUIRED_COLUMNS, *options), 1, 0.5)
    hint = f"Did you mean {matches[0]}?" if matches else "See mimaface animate --help-all for the names of the options."
    raise InputError(f"{path}, row {row}: unknown column '{text[:40]}'. {hint}")


def _parse_values(path: Path, row: int, cells: Mapping[str, Any], options: Mapping[str, bool]) -> dict[str, str | bool]:
    """Return the values of a row: text, or True for a switch; empty cells and switches that are off are omitted."""
    values: dict[str, str | bool] = {}
    for name, value in cells.items():
        if value is None or value == "":
            continue
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if "\0" in text or "\n" in text or "\r" in text:
            raise InputError(f"{path}, row {row}: {name} contains a line break or a zero byte. Remove it.")
        if not options.get(name, False):
            values[name] = text
        elif text.lower() in _TRUE:
            values[name] = True
        elif text.lower() not in _FALSE:
            raise InputError(f"{path}, row {row}: {name} is a switch. Write true or false, not '{text[:40]}'.")
        elif f"no-{name}" in options:  # on by default
            values[f"no-{name}"] = True
    contradiction = next((name for name in values if f"no-{name}" in values), None)
    if contradiction:
        raise InputError(f"{path}, row {row}: has both {contradiction} and no-{contradiction}. Remove one.")
    for name in REQUIRED_COLUMNS:
        if name not in values:
            raise InputError(f"{path}, row {row}: has no {name}. Every job needs {', '.join(REQUIRED_COLUMNS)}.")
    return values


def _is_color(column: str, text: str) -> bool:
    """Return whether the value of a column is a background color; a wrong color is reported with the job's options."""
    if column != "background":
        return False
    try:
        return background_path(text) is None
    except InputError:
        return True


def _make_job(row: int, values: dict[str, str | bool], folder: Path) -> Job:
    """Return the job of a row; its id is a hash of the folder and the values."""
    inputs = tuple(
        resolve_path(folder, str(values[name]))
        for name in _INPUT_COLUMNS
        if name in values and values[name] not in _KEYWORDS.get(name, ()) and not _is_color(name, str(values[name]))
    )
    outputs = tuple(resolve_path(folder, str(values[name])) for name in _OUTPUT_COLUMNS if name in values)
    content = json.dumps([str(folder), sorted(values.items())])
    stem = re.sub(r"[^\w-]+", "_", outputs[0].stem, flags=re.ASCII)[:40]
    key = f"{stem}-{hashlib.sha256(content.encode(errors='surrogatepass')).hexdigest()[:12]}"
    options = {name: value for name, value in values.items() if name not in REQUIRED_COLUMNS}
    source, driver, output = (str(values[name]) for name in REQUIRED_COLUMNS)
    return Job(key, row, source, driver, output, options, inputs, outputs)
