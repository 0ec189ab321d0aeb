"""Tracks in the files of other tools: CSV, JSON and the CSV of Live Link Face."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.files import atomic_path, check_output
from mimaface_cli.motion.formats import csv_format as table
from mimaface_cli.motion.formats import json_format as document
from mimaface_cli.motion.formats import livelink
from mimaface_cli.motion.formats.text_reader import read_text
from mimaface_cli.motion.track import MotionTrack

Format = Literal["csv", "json", "livelink"]
FORMATS: tuple[str, ...] = ("csv", "json", "livelink")


@dataclass(frozen=True)
class Read:
    """A track from such a file, the format it was in, and notes for the user."""

    track: MotionTrack
    format: str
    notes: list[str]


def export_track(
    track: MotionTrack, path: Path, format: Format | None = None, overwrite: bool = False, inputs: tuple[Path, ...] = ()
) -> list[str]:
    """Write a track for other tools; by default as the suffix says. Returns notes on what the format leaves out.

    Raises OutputError, or InputError for a track that the format cannot hold.
    """
    format = format or {".csv": "csv", ".json": "json"}.get(path.suffix.lower())
    if format is None:
        raise OutputError(f"{path}: end the name in .csv or .json, or choose --format {', '.join(FORMATS)}")
    check_output(path, overwrite, inputs)
    write = {"csv": table.write, "json": document.write, "livelink": livelink.write}[format]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        return write(track, file)


def import_track(path: Path, format: Format | None = None, frame_rate: Fraction | None = None) -> Read:
    """Read a track from such a file; by default what it holds tells the format. frame_rate: frames per second of a
    Live Link timecode, or the nominal rate of a CSV. Raises InputError that names line and column.
    """
    format = format or _format_of(path)
    if format == "json":
        if frame_rate is not None:
            raise InputError(f"{path}: a JSON track knows its frame rate; leave --frame-rate out")
        track, notes = document.read(path)
    else:
        track, notes = {"csv": table.read, "livelink": livelink.read}[format](path, frame_rate)
    return Read(track, format, notes)


def _format_of(path: Path) -> str:
    start = read_text(path).lstrip()[:200]
    if start.startswith("{"):
        return "json"
    return "livelink" if start.lower().startswith("timecode") else "csv"
