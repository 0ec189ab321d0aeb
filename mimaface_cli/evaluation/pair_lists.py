"""Lists of pairs to evaluate: CSV files, and reproducible sampling from a folder."""

import csv
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mimaface_cli.errors import InputError
from mimaface_cli.files import atomic_path, check_input_file, check_output
from mimaface_cli.media.image import IMAGE_SUFFIXES

COLUMNS = ("source", "driver", "source_frame", "start", "frames", "stride", "result")
VIDEO_SUFFIXES = frozenset((".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts"))
MAX_ROWS = 100_000
_MAX_FRAMES = 2_000_000
_VOXCELEB_IDENTITY = re.compile(r"id\d{5}")


@dataclass(frozen=True)
class Pair:
    """Source and driver of one result.

    Attributes:
        source: A photo, or a video whose frame `source_frame` is used.
        driver: Video, photo, folder of images or track.
        source_frame: Frame of the source, from 0.
        start: First frame of the driver's span, from 0.
        frames: Number of driver frames; 0 for all to the end.
        stride: Every stride-th frame of the driver belongs to the span.
        result: File name in the folder of results.
        same: Whether the driver's frames are the ground truth of the result.
        where: File and line of the pair, for messages.
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
    def is_whole(self) -> bool:
        """Whether all frames of the driver are used."""
        return self.start == 0 and self.frames == 0 and self.stride == 1

    @property
    def prefix(self) -> str:
        """File and line as the start of a message, or ""."""
        return f"{self.where}: " if self.where else ""

    def span(self) -> slice:
        """Return the driver's frames as a slice."""
        stop = self.start + self.frames * self.stride if self.frames else None
        return slice(self.start, stop, self.stride)


def read_list(path: Path, protocol: str = "auto") -> list[Pair]:
    """Read the rows of a CSV list. Paths are relative to the list's folder.

    Args:
        path: CSV file with the columns COLUMNS; all but the first two are optional.
        protocol: "same", "cross" or "auto", see `is_same`.

    Raises:
        InputError: For missing columns, invalid numbers and missing files, with the line.
    """
    check_input_file(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            names = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            _check_columns(path, names)
            pairs: list[Pair] = []
            for row in reader:
                if len(pairs) == MAX_ROWS:
                    raise InputError(f"{path}: has more than {MAX_ROWS} rows. Split it.")
                pairs.append(_parse_row(row, path, f"{path} line {reader.line_num}", len(pairs), protocol))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path}: is not a CSV list ({error}). Create one with mimaface evaluate make-list."
        ) from error
    if not pairs:
        raise InputError(f"{path}: has no rows. Create a list with mimaface evaluate make-list.")
    _check_unique_results(pairs)
    return pairs


def _check_columns(path: Path, names: list[str]) -> None:
    missing = [name for name in ("source", "driver") if name not in names]
    if missing:
        raise InputError(
            f"{path}: has no column {' and '.join(missing)}. Its first line must name {','.join(COLUMNS)}."
        )
    unknown = [name for name in names if name not in COLUMNS]
    if unknown:
        raise InputError(f"{path}: has an unknown column {unknown[0][:60]!r}. The columns are {','.join(COLUMNS)}.")
    if len(set(names)) < len(names):
        raise InputError(f"{path}: names a column twice. The columns are {','.join(COLUMNS)}.")


def _check_unique_results(pairs: list[Pair]) -> None:
    first_use: dict[str, str] = {}
    for pair in pairs:
        other = first_use.setdefault(pair.result.casefold(), pair.where)
        if other != pair.where:
            raise InputError(
                f"{pair.where}: the result {pair.result} is also that of {other}. Give every row another name."
            )


def _parse_row(row: dict[str, str], path: Path, where: str, index: int, protocol: str) -> Pair:
    # DictReader stores surplus fields under the key None and missing ones as the value None.
    if None in row or None in row.values():
        raise InputError(f"{where}: has a different number of fields than the first line. Fix the row.")
    values = {name: text.strip() for name, text in row.items()}
    source = _parse_path(values, "source", path, where)
    driver = _parse_path(values, "driver", path, where)
    result = values.get("result") or _default_result(index, source, driver)
    if Path(result).name != result or result in (".", "..") or "\\" in result or not result.isprintable():
        raise InputError(f"{where}: the result {result[:60]!r} is not a plain file name. Name it without a folder.")
    return Pair(
        source,
        driver,
        source_frame=_parse_count(values, "source_frame", 0, 0, where),
        start=_parse_count(values, "start", 0, 0, where),
        frames=_parse_count(values, "frames", 0, 0, where),
        stride=_parse_count(values, "stride", 1, 1, where),
        result=result,
        same=is_same(source, driver, protocol),
        where=where,
    )


def _parse_count(values: dict[str, str], name: str, default: int, minimum: int, where: str) -> int:
    text = values.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and minimum <= int(text[:12]) <= _MAX_FRAMES):
        raise InputError(f"{where}: {name} is {text[:40]!r}. Give a whole number from {minimum} to {_MAX_FRAMES}.")
    return int(text)


def _parse_path(values: dict[str, str], name: str, path: Path, where: str) -> Path:
    if not values[name]:
        raise InputError(f"{where}: has no {name}. Name a file.")
    resolved = path.parent / Path(values[name]).expanduser()
    if not resolved.exists():
        raise InputError(f"{where}: {name} {values[name]}: no such file in {path.parent}. Fix the row.")
    return resolved


def _default_result(index: int, source: Path, driver: Path) -> str:
    return f"{index:04d}_{source.stem[:60]}__{driver.stem[:60]}.mp4"


def is_same(source: Path, driver: Path, protocol: str) -> bool:
    """Return whether the driver's frames are the ground truth of the result.

    Args:
        source: The source.
        driver: The driver.
        protocol: "same", "cross" or "auto"; "auto" means "same" if source and driver are one file.
    """
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
    """Sample pairs from the videos and photos of a folder, as PIRenderer's evaluation does.

    Every driver is used once before one is used again. The same folder, options and seed give the same rows.

    Args:
        folder: Folder that is searched, with its subfolders.
        protocol: "same": a video drives its own first frame. "cross": the source is a photo, or the first frame of a
            video, of another person than the driver.
        pairs: Number of rows; with "same", at most the number of videos.
        seed: Random seed.
        frames: Driver frames of each pair from the first one on; 0 for all.
        stride: Every stride-th driver frame is used.
        identity: Regular expression over the path below the folder, whose first group (or whole match) is the person.
            By default VoxCeleb's idNNNNN if the path has one, else the first folder, else the file name.

    Returns:
        Rows with the columns COLUMNS; paths are relative to the folder.

    Raises:
        InputError: The folder has no videos, or one person only for "cross", or `identity` is invalid.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder. Name a folder that contains videos.")
    videos, photos = _find_media(folder)
    if not videos:
        raise InputError(f"{folder}: contains no videos ({', '.join(sorted(VIDEO_SUFFIXES))}). Name another folder.")
    person, rng = _person_function(identity), random.Random(seed)
    if protocol == "same":
        samples = _sample_same(videos, pairs, rng)
    else:
        samples = _sample_cross(folder, videos, photos, pairs, rng, person)
    span = {"source_frame": "0", "start": "0", "frames": str(frames), "stride": str(stride)}
    return [
        {"source": source, "driver": driver, **span, "result": _default_result(index, Path(source), Path(driver))}
        for index, (source, driver) in enumerate(samples)
    ]


def _sample_same(videos: list[str], pairs: int, rng: random.Random) -> list[tuple[str, str]]:
    """Return each video at most once, because repeating a pair would add no information."""
    pool = sorted(videos)
    rng.shuffle(pool)
    return [(driver, driver) for driver in reversed(pool)][:pairs]


def _sample_cross(
    folder: Path,
    videos: list[str],
    photos: list[str],
    pairs: int,
    rng: random.Random,
    person: Callable[[str], str],
) -> list[tuple[str, str]]:
    samples: list[tuple[str, str]] = []
    pool: list[str] = []
    while len(samples) < pairs:
        if not pool:
            pool = sorted(videos)
            rng.shuffle(pool)
        driver = pool.pop()
        others = [name for name in (*photos, *videos) if person(name) != person(driver)]
        if not others:
            raise InputError(
                f"{folder}: shows one person only ({person(driver)}). Pairs of different people need at least two."
            )
        source_person = rng.choice(sorted({person(name) for name in others}))
        samples.append((rng.choice([name for name in others if person(name) == source_person]), driver))
    return samples


def write_list(path: Path, folder: Path, rows: list[dict[str, str]], overwrite: bool = False) -> None:
    """Write rows as a CSV list.

    Args:
        path: The list.
        folder: Folder to which the rows' paths are relative; in the list they are relative to the list's folder.
        rows: Rows of `make_list`.
        overwrite: Whether an existing list is replaced.

    Raises:
        OutputError: The list exists or cannot be written.
    """
    check_output(path, overwrite)
    base = path.parent.resolve()
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in rows:
            paths = {name: _relative_path(folder.resolve() / row[name], base) for name in ("source", "driver")}
            writer.writerow(row | paths)


def _relative_path(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix()


def _find_media(folder: Path) -> tuple[list[str], list[str]]:
    """Return the relative paths of videos and photos below a folder, sorted."""
    names = []
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            names.append(relative.as_posix())
    names.sort()
    videos = [name for name in names if Path(name).suffix.lower() in VIDEO_SUFFIXES]
    photos = [name for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES]
    return videos, photos


def _person_function(pattern: str | None) -> Callable[[str], str]:
    """Return the function that maps a relative path to the person."""
    if pattern is None:
        return _default_person
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"{pattern} is not a regular expression ({error}). Fix the expression.", field="identity"
        ) from error

    def person(name: str) -> str:
        match = compiled.search(name)
        if not match:
            raise InputError(f"{pattern} does not match {name}. Choose one that matches every file.", field="identity")
        # If the group did not participate in the match, use the whole match.
        return (match[1] if compiled.groups else None) or match[0]

    return person


def _default_person(name: str) -> str:
    match = _VOXCELEB_IDENTITY.search(name)
    if match:
        return match[0]
    return name.split("/", maxsplit=1)[0] if "/" in name else Path(name).stem
