"""Lists of what is to be measured: CSV files of sources and drivers, read with care and made with a seed."""

import csv
import random
import re
from dataclasses import dataclass
from pathlib import Path

from mimaface_cli.errors import InputError
from mimaface_cli.files import atomic_path, check_input_file, check_output
from mimaface_cli.media.image import IMAGE_SUFFIXES

COLUMNS = ("source", "driver", "source_frame", "start", "frames", "stride", "result")
PROTOCOLS = ("same", "cross")
VIDEO_SUFFIXES = frozenset((".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts"))
_MOST_ROWS = 100_000
_MOST_FRAMES = 2_000_000
_VOXCELEB = re.compile(r"id\d{5}")


@dataclass(frozen=True)
class Pair:
    """One result to measure. source: a photo, or the frame `source_frame` (from 0) of a video. driver: its `frames`
    frames (0: to its end) from frame `start` on, every `stride`th. result: file name within the folder of results.
    same: source and driver are one video, so the driver's frames are the truth. where: for messages.
    """

    source: Path
    driver: Path
    source_frame: int = 0
    start: int = 0
    frames: int = 0
    stride: int = 1
    result: str = ""
    same: bool = False
    where: str = ""

    @property
    def whole(self) -> bool:
        """Whether the driver is used from end to end."""
        return self.start == 0 and self.frames == 0 and self.stride == 1

    def span(self) -> slice:
        """The driver's frames."""
        return slice(self.start, self.start + self.frames * self.stride if self.frames else None, self.stride)


def read_list(path: Path, protocol: str = "auto") -> list[Pair]:
    """The rows of a list. Paths in it count from the list's own folder. protocol: same, cross, or auto: a row is of the
    same identity where source and driver are one file.

    Raises InputError, naming the row: columns that are missing, numbers that are none, files that are not there.
    """
    check_input_file(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            names = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            _check_columns(path, names)
            rows = []
            for row in reader:
                if len(rows) == _MOST_ROWS:
                    raise InputError(f"{path}: has more than {_MOST_ROWS} rows; split it")
                rows.append(_pair(row, path, f"{path} line {reader.line_num}", len(rows), protocol))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is not a CSV list ({error}); make one with mimaface evaluate make-list") from error
    if not rows:
        raise InputError(f"{path}: has no rows; make a list with mimaface evaluate make-list")
    names_of: dict[str, str] = {}
    for pair in rows:
        other = names_of.setdefault(pair.result.casefold(), pair.where)
        if other != pair.where:
            raise InputError(f"{pair.where}: the result {pair.result} is that of {other} too; give each its own")
    return rows


def _check_columns(path: Path, names: list[str]) -> None:
    lacking = [name for name in ("source", "driver") if name not in names]
    if lacking:
        raise InputError(f"{path}: has no column {' and '.join(lacking)}; its first line must name {','.join(COLUMNS)}")
    unknown = [name for name in names if name not in COLUMNS]
    if unknown:
        raise InputError(f"{path}: column {unknown[0][:60]!r} is not known; the columns are {','.join(COLUMNS)}")
    if len(set(names)) < len(names):
        raise InputError(f"{path}: names a column twice; the columns are {','.join(COLUMNS)}")


def _pair(row: dict, path: Path, where: str, index: int, protocol: str) -> Pair:
    if None in row or None in row.values():
        raise InputError(f"{where}: has another number of fields than the first line; mend that row")
    values = {name: text.strip() for name, text in row.items()}

    def count(name: str, default: int, least: int) -> int:
        text = values.get(name, "")
        if not text:
            return default
        if not (text.isascii() and text.isdecimal() and least <= int(text[:12]) <= _MOST_FRAMES):
            raise InputError(f"{where}: {name} is {text[:40]!r}, not a whole number from {least} to {_MOST_FRAMES}")
        return int(text)

    def file(name: str) -> Path:
        if not values[name]:
            raise InputError(f"{where}: has no {name}; name a file")
        found = path.parent / Path(values[name]).expanduser()
        if not found.exists():
            raise InputError(f"{where}: {name} {values[name]}: no such file (looked in {path.parent}); mend that row")
        return found

    source, driver = file("source"), file("driver")
    result = values.get("result") or f"{index:04d}_{source.stem[:60]}__{driver.stem[:60]}.mp4"
    if Path(result).name != result or result in (".", "..") or "\\" in result or not result.isprintable():
        raise InputError(f"{where}: result {result[:60]!r} must be a plain file name within the folder of results")
    return Pair(
        source,
        driver,
        count("source_frame", 0, 0),
        count("start", 0, 0),
        count("frames", 0, 0),
        count("stride", 1, 1),
        result,
        is_same(source, driver, protocol),
        where,
    )


def is_same(source: Path, driver: Path, protocol: str) -> bool:
    """Whether the driver's own frames are the truth of the result."""
    return protocol == "same" or (protocol == "auto" and source.resolve() == driver.resolve())


def make_list(
    folder: Path,
    protocol: str,
    pairs: int,
    seed: int,
    *,
    frames: int = 0,
    stride: int = 1,
    identity: str | None = None,
) -> list[dict[str, str]]:
    """Rows (COLUMNS) drawn from the videos and photos under a folder, in the manner of PIRenderer's evaluation.

    same: the first frame of a video is the source, the video itself drives it. cross: the source is a photo
    or the first frame of a video of another person than the driver. Each driver comes once before one comes again.
    frames: how many of the driver's, from its first on (0: all), every stride-th. identity: a regular expression over
    the path below the folder whose first group (or all of it) is the person; by default VoxCeleb's idNNNNN where one is
    in the path, else the first folder, else the file itself. The same folder, options and seed give the same rows.
    Raises InputError.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name one with videos in it")
    videos, photos = _media(folder)
    if not videos:
        raise InputError(f"{folder}: holds no videos ({', '.join(sorted(VIDEO_SUFFIXES))})")
    person = _identifier(identity)
    draw = random.Random(seed)
    chosen: list[tuple[str, str]] = []
    pool: list[str] = []
    while len(chosen) < pairs:
        if not pool:
            pool = sorted(videos)
            draw.shuffle(pool)
        driver = pool.pop()
        if protocol == "same":
            chosen.append((driver, driver))
            if len(chosen) >= len(videos):
                break  # the same pair again would measure nothing new
            continue
        others = [name for name in (*photos, *videos) if person(name) != person(driver)]
        if not others:
            raise InputError(f"{folder}: shows one person only ({person(driver)}); cross identity needs two at least")
        people = sorted({person(name) for name in others})
        someone = draw.choice(people)
        chosen.append((draw.choice([name for name in others if person(name) == someone]), driver))
    extra = {"source_frame": "0", "start": "0", "frames": str(frames), "stride": str(stride)}
    rows = []
    for index, (source, driver) in enumerate(chosen):
        result = f"{index:04d}_{Path(source).stem[:60]}__{Path(driver).stem[:60]}.mp4"
        rows.append({"source": source, "driver": driver, **extra, "result": result})
    return rows


def write_list(path: Path, folder: Path, rows: list[dict[str, str]], overwrite: bool = False) -> None:
    """Write rows whose paths count from `folder`, so that they count from the list's own place. Raises OutputError."""
    check_output(path, overwrite)
    base = path.parent.resolve()
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in rows:
            placed = {name: _relative(folder.resolve() / row[name], base) for name in ("source", "driver")}
            writer.writerow(row | placed)


def _relative(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix()


def _media(folder: Path) -> tuple[list[str], list[str]]:
    """Videos and photos below a folder, by their paths from it, in an order no file system changes."""
    found = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    suffix = lambda name: Path(name).suffix.lower()  # noqa: E731
    return [n for n in found if suffix(n) in VIDEO_SUFFIXES], [n for n in found if suffix(n) in IMAGE_SUFFIXES]


def _identifier(pattern: str | None):
    if pattern is None:

        def person(name: str) -> str:
            found = _VOXCELEB.search(name)
            if found:
                return found[0]
            return name.split("/", maxsplit=1)[0] if "/" in name else Path(name).stem

        return person
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"--identity {pattern}: is not a regular expression ({error})") from error

    def matched(name: str) -> str:
        found = compiled.search(name)
        if not found:
            raise InputError(f"--identity {pattern}: does not match {name}; choose one that matches every file")
        # A group that took no part stands for the whole match.
        return (found[1] if compiled.groups else None) or found[0]

    return matched
