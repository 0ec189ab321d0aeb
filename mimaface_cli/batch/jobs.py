"""A job file, CSV or JSON lines, becomes jobs in an order in which none comes before what it needs."""

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mimaface_cli.errors import InputError
from mimaface_cli.files import check_input_file
from mimaface_cli.media.encoding import is_image_sequence

NEEDED = ("source", "driver", "output")
INPUTS = ("source", "driver", "audio", "pose-from")
OUTPUTS = ("output", "matte")
_NO_FILE = {"audio": ("driver", "none")}  # words that stand where a file's name may
_LARGEST = 64_000_000  # bytes
_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True)
class Job:
    """One row. row: its number in the file, as spreadsheets and editors count. options: of animate, by long name
    without dashes, True for a flag. inputs, outputs: absolute paths. after: the ids of the jobs whose outputs it
    takes.
    """

    id: str
    row: int
    source: str
    driver: str
    output: str
    options: Mapping[str, str | bool]
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    after: tuple[str, ...] = field(default=(), compare=False)

    @property
    def words(self) -> list[str]:
        """What is given to `mimaface animate`; paths count from the job file's folder."""
        given = ["--" + name if value is True else f"--{name}={value}" for name, value in self.options.items()]
        return [f"--output={self.output}", *given, "--", self.source, self.driver]


def read_jobs(path: Path, known: Mapping[str, bool], check: Callable[[list[str]], str | None]) -> list[Job]:
    """The jobs of a file, ordered so that each comes after those whose outputs it takes, else as they stand.

    known: animate's options by long name without dashes, also those that switch off (no-...), True for flags. check:
    what is wrong with a job's words, None for nothing. Raises InputError, naming the row, for unknown columns,
    unreadable rows, wrong options, two jobs with one output, jobs that wait for one another, and a file without jobs.
    """
    path = Path(path)
    check_input_file(path)
    if path.stat().st_size > _LARGEST:
        raise InputError(f"{path}: is larger than {_LARGEST // 1_000_000} MB; split it into several job files")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text in UTF-8 ({error}); save it as UTF-8") from error
    rows = _json_rows if text.lstrip()[:1] == "{" else _csv_rows
    folder = Path(os.path.abspath(path.parent))
    jobs: list[Job] = []
    for row, values in rows(path, text, known):
        jobs.append(_job(path, row, values, folder))
        if wrong := check(jobs[-1].words):
            raise InputError(f"{path}, row {row}: {wrong}")
    if not jobs:
        raise InputError(f"{path}: holds no jobs; give one row for each, with {', '.join(NEEDED)}")
    return _ordered(path, jobs)


def _csv_rows(path: Path, text: str, known: Mapping[str, bool]) -> Iterator[tuple[int, dict[str, str | bool]]]:
    head = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True)
    names: list[str] = []
    for row in range(1, text.count("\n") + 3):
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise InputError(f"{path}, row {row}: cannot be read ({error}); mend its quotes") from error
        if cells is None:
            return
        cells = [cell.strip() for cell in cells]
        if not any(cells):
            continue
        if not names:
            names = [_known_name(path, row, cell, known) for cell in cells]
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise InputError(f"{path}, row {row}: the column {twice} is there twice; leave one out")
            continue
        if len(cells) > len(names):
            raise InputError(
                f"{path}, row {row}: has {len(cells)} cells for {len(names)} columns; quote what holds commas"
            )
        yield row, _values(path, row, dict(zip(names, cells)), known)


def _json_rows(path: Path, text: str, known: Mapping[str, bool]) -> Iterator[tuple[int, dict[str, str | bool]]]:
    for row, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            given = json.loads(line, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, row {row}: is no JSON object ({str(error)[:80]}); one job a line") from error
        if not isinstance(given, dict):
            raise InputError(f"{path}, row {row}: is no JSON object; one job a line")
        for name, value in given.items():
            if value is not None and not isinstance(value, str | int | float | bool):
                raise InputError(f"{path}, row {row}: {name[:40]} must be a text, a number, true or false")
        yield row, _values(path, row, {_known_name(path, row, name, known): v for name, v in given.items()}, known)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object none of whose names is there twice."""
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _known_name(path: Path, row: int, given: str, known: Mapping[str, bool]) -> str:
    name = given.strip().removeprefix("--").replace("_", "-").lower()
    if name in NEEDED or name in known:
        return name
    near = get_close_matches(name, (*NEEDED, *known), 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else "see mimaface animate --help for the options' names"
    raise InputError(f"{path}, row {row}: unknown column '{given[:40]}'; {hint}")


def _values(path: Path, row: int, given: Mapping[str, Any], known: Mapping[str, bool]) -> dict[str, str | bool]:
    """A row's values as texts, True for flags that are set; what is empty, null or a flag that is not set is left
    out.
    """
    values: dict[str, str | bool] = {}
    for name, value in given.items():
        if value is None or value == "":
            continue
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if "\0" in text or "\n" in text or "\r" in text:
            raise InputError(f"{path}, row {row}: {name} holds a line end or a zero byte")
        if not known.get(name, False):
            values[name] = text
        elif text.lower() in _YES:
            values[name] = True
        elif text.lower() not in _NO:
            raise InputError(f"{path}, row {row}: {name} is on or off: write true or false, not '{text[:40]}'")
        elif f"no-{name}" in known:  # on unless it is switched off
            values[f"no-{name}"] = True
    if both := next((name for name in values if f"no-{name}" in values), None):
        raise InputError(f"{path}, row {row}: says both {both} and no-{both}; leave one out")
    for name in NEEDED:
        if name not in values:
            raise InputError(f"{path}, row {row}: has no {name}; every job needs {', '.join(NEEDED)}")
    return values


def _job(path: Path, row: int, values: dict[str, str | bool], folder: Path) -> Job:
    inputs = tuple(
        place(folder, str(values[name]))
        for name in INPUTS
        if name in values and values[name] not in _NO_FILE.get(name, ())
    )
    outputs = tuple(place(folder, str(values[name])) for name in OUTPUTS if name in values)
    told = json.dumps([str(folder), sorted(values.items())])
    stem = re.sub(r"[^\w-]+", "_", outputs[0].stem, flags=re.ASCII)[:40]
    key = f"{stem}-{hashlib.sha256(told.encode(errors='surrogatepass')).hexdigest()[:12]}"
    options = {name: value for name, value in values.items() if name not in NEEDED}
    return Job(key, row, *(str(values[name]) for name in NEEDED), options, inputs, outputs)


def place(folder: Path, name: str) -> Path:
    """Where a name in a job file points to, absolute and with links followed; for numbered pictures their folder."""
    path = folder / name
    if is_image_sequence(path) and not path.exists():
        path = path.parent
    return Path(os.path.realpath(path))


def _ordered(path: Path, jobs: list[Job]) -> list[Job]:
    makers: dict[Path, Job] = {}
    for job in jobs:
        for output in job.outputs:
            if output in makers:
                raise InputError(
                    f"{path}, row {job.row}: writes {output}, as row {makers[output].row} does; give each its own"
                )
            makers[output] = job
    needs = {job.id: {makers[given].id for given in job.inputs if given in makers} for job in jobs}
    ordered: list[Job] = []
    ready: set[str] = set()
    waiting = jobs
    while waiting:
        free = [job for job in waiting if needs[job.id] <= ready]
        if not free:
            loop = _loop(waiting, needs)
            rows = " -> ".join(str(job.row) for job in [*loop, loop[0]])
            raise InputError(f"{path}: rows {rows} take one another's outputs as inputs, so none can be the first")
        ordered += free
        ready |= {job.id for job in free}
        waiting = [job for job in waiting if job.id not in ready]
    return [
        Job(
            job.id,
            job.row,
            job.source,
            job.driver,
            job.output,
            job.options,
            job.inputs,
            job.outputs,
            tuple(needs[job.id]),
        )
        for job in ordered
    ]


def _loop(waiting: list[Job], needs: Mapping[str, set[str]]) -> list[Job]:
    """Jobs each of which waits for the one before; the first for the last."""
    by_id = {job.id: job for job in waiting}
    seen: list[str] = []
    at = waiting[0].id
    while at not in seen:
        seen.append(at)
        at = min(other for other in needs[at] if other in by_id)
    return [by_id[found] for found in reversed(seen[seen.index(at) :])]
