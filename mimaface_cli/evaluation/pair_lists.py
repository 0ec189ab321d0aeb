"""Lists of pairs to evaluate: CSV files."""

import csv
from dataclasses import dataclass
from pathlib import Path

from mimaface_cli.errors import InputError
from mimaface_cli.evaluation.list_recipes import recipe_names
from mimaface_cli.files import check_input_file

COLUMNS = ("source", "driver", "source_frame", "start", "frames", "stride", "result", "recipe")
MAX_ROWS = 100_000
_MAX_FRAMES = 2_000_000


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
        recipe: Name of the published protocol by which the list was made, or "".
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
    recipe: str = ""
    where: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether all frames of the driver are used."""
        return self.start == 0 and self.frames == 0 and self.stride == 1

    @property
    def prefix(self) -> str:
        """File and line as the start of a message, or ""."""
        return f"{self.where}: " if self.where else ""

    @property
    def protocol(self) -> str:
        """The protocol as text: the recipe, or only whether source and driver are of one identity."""
        return f"{'same' if self.same else 'cross'} identity" + (f", {self.recipe}" if self.recipe else ", own pairs")

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
    result = values.get("result") or default_result(index, source, driver)
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
        recipe=_parse_recipe(values, where),
        where=where,
    )


def _parse_count(values: dict[str, str], name: str, default: int, minimum: int, where: str) -> int:
    text = values.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and minimum <= int(text[:12]) <= _MAX_FRAMES):
        raise InputError(f"{where}: {name} is {text[:40]!r}. Give a whole number from {minimum} to {_MAX_FRAMES}.")
    return int(text)


def _parse_recipe(values: dict[str, str], where: str) -> str:
    name = values.get("recipe", "")
    if name and name not in recipe_names():
        raise InputError(f"{where}: unknown recipe {name[:60]!r}. Choose from {', '.join(recipe_names())}.")
    return name


def _parse_path(values: dict[str, str], name: str, path: Path, where: str) -> Path:
    if not values[name]:
        raise InputError(f"{where}: has no {name}. Name a file.")
    resolved = path.parent / Path(values[name]).expanduser()
    if not resolved.exists():
        raise InputError(f"{where}: {name} {values[name]}: no such file in {path.parent}. Fix the row.")
    return resolved


def default_result(index: int, source: Path, driver: Path) -> str:
    """Return the file name of the result of a row that names none."""
    return f"{index:04d}_{source.stem[:60]}__{driver.stem[:60]}.mp4"


def is_same(source: Path, driver: Path, protocol: str) -> bool:
    """Return whether the driver's frames are the ground truth of the result.

    Args:
        source: The source.
        driver: The driver.
        protocol: "same", "cross" or "auto"; "auto" means "same" if source and driver are one file.
    """
    return protocol == "same" or (protocol == "auto" and source.resolve() == driver.resolve())
