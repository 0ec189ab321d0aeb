"""Import and export of motion tracks in the formats of other tools: CSV, JSON and Live Link Face CSV."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.files import atomic_path, check_output
from mimaface_cli.motion.format_options import FORMATS, Format
from mimaface_cli.motion.formats.csv_format import read_csv, write_csv
from mimaface_cli.motion.formats.json_format import read_json, write_json
from mimaface_cli.motion.formats.livelink import read_livelink, write_livelink
from mimaface_cli.motion.text_reader import read_text
from mimaface_cli.motion.track import MotionTrack

_WRITERS = {"csv": write_csv, "json": write_json, "livelink": write_livelink}
_FORMATS_BY_SUFFIX: dict[str, Format] = {".csv": "csv", ".json": "json"}


@dataclass(frozen=True)
class ImportedTrack:
    """A track from another tool's file.

    Args:
        track: The track.
        format: Format of the file.
        notes: Notes for the user on what the file leaves out.
    """

    track: MotionTrack
    format: Format
    notes: list[str]


def export_track(
    track: MotionTrack, path: Path, format: Format | None = None, overwrite: bool = False, inputs: tuple[Path, ...] = ()
) -> list[str]:
    """Write a track for other tools.

    Args:
        track: The track.
        path: File to write.
        format: Format of the file, or None to choose it by the suffix.
        overwrite: Whether to replace an existing file.
        inputs: Files that must not be overwritten.

    Returns:
        Notes for the user on what the format leaves out.

    Raises:
        InputError: If the format cannot represent the track.
        OutputError: If the file cannot be written.
    """
    format = format or _FORMATS_BY_SUFFIX.get(path.suffix.lower())
    if format is None:
        raise OutputError(
            f"{path}: no format has this suffix. End the name in .csv or .json, or set `format` to "
            f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}."
        )
    check_output(path, overwrite, inputs)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        return _WRITERS[format](track, file)


def import_track(path: Path, format: Format | None = None, frame_rate: Fraction | None = None) -> ImportedTrack:
    """Read a track from another tool's file.

    Args:
        path: File to read.
        format: Format of the file, or None to detect it by the content.
        frame_rate: Frames per second of Live Link timecodes, or nominal frame rate of a CSV; None to estimate it.

    Raises:
        InputError: If the file is invalid; the message names line and column.
    """
    format = format or _detect_format(path)
    notes: list[str] = []
    if format == "json":
        if frame_rate is not None:
            raise InputError(f"{path}: a JSON track contains its frame rate. Leave `frame_rate` out.")
        track = read_json(path)
    elif format == "livelink":
        track, notes = read_livelink(path, frame_rate)
    else:
        track, notes = read_csv(path, frame_rate)
    return ImportedTrack(track, format, notes)


def _detect_format(path: Path) -> Format:
    start = read_text(path).lstrip()[:200]
    if start.startswith("{"):
        return "json"
    return "livelink" if start.lower().startswith("timecode") else "csv"
