"""Motion tracks as CSV, for spreadsheets and scripts: one line per frame, one column per channel.

The file contains the motion and its times, but not identity, texture, illumination and crop.
"""

import csv
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TextIO

import numpy as np

from mimaface_cli.errors import InputError
from mimaface_cli.motion.channels import COLUMN_CHANNELS, Channel, find_channel
from mimaface_cli.motion.formats.timing import check_times, estimate_frame_rate
from mimaface_cli.motion.text_reader import TableRow, read_table
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_layout import MAX_FRAMES
from mimaface_cli.motion.track_meta import TrackMeta

_MAX_VALUE = 1e4  # in a channel's unit; no face has larger values


def write_csv(track: MotionTrack, file: TextIO) -> list[str]:
    """Write a track as CSV.

    The columns are time in seconds, valid (1: the face was detected), and COLUMN_CHANNELS of the track's space.

    Returns:
        Notes for the user on what the format leaves out.
    """
    names = COLUMN_CHANNELS[track.meta.space]
    channels = [find_channel(name, track.meta.space) for name in names]
    arrays = track.motion_arrays()
    values = np.concatenate([channel.read(arrays[channel.array]) for channel in channels], 1)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["time", "valid", *names])
    for time, valid, row in zip(track.pts.tolist(), track.valid.tolist(), values.tolist(), strict=True):
        writer.writerow([f"{time:.9g}", int(valid), *(f"{value:.9g}" for value in row)])
    return ["CSV contains the motion only; it has no identity, texture, light and crop (JSON has them)"]


def read_csv(path: Path, frame_rate: Fraction | None = None) -> tuple[MotionTrack, list[str]]:
    """Read a CSV file from `write_csv`, or one written by hand with a time column and any of the channels.

    Args:
        path: File to read.
        frame_rate: Nominal frame rate, or None to estimate it from the times.

    Returns:
        The track, in which missing channels are 0, and notes for the user.

    Raises:
        InputError: If the file is invalid; the message names line and column.
    """
    header, rows = read_table(path)
    if "time" not in header:
        raise InputError(f"{path}: line 1: has no column time. Add it, with the time of each frame in seconds.")
    check_row_count(path, rows)
    has_network_gaze = any(name in ("gaze0", "gaze1", "gaze2", "gaze3") for name in header)
    space = "bfm09" if has_network_gaze else "face478"
    channels = _find_channels(path, header, space)
    numbers = parse_rows(path, header, rows)
    times = numbers[:, header.index("time")]
    check_times(path, rows, times, "time")
    valid = np.ones(len(rows), bool)
    if "valid" in header:
        valid = numbers[:, header.index("valid")] > 0.5
    track = create_imported_track(len(rows), space, frame_rate or estimate_frame_rate(times), "CSV")
    arrays = track.motion_arrays()
    for name, channel in channels.items():
        values = numbers[:, header.index(name)]
        _check_values(path, rows, name, values)
        channel.write(arrays[channel.array], values[:, None])
    return replace(track, **arrays, pts=times, valid=valid), _note_missing(channels, space)


def create_imported_track(frames: int, space: str, rate: Fraction, source: str) -> MotionTrack:
    """Return a neutral track with metadata that names an imported file as its origin.

    Args:
        frames: Number of frames.
        space: Space of the coefficients.
        rate: Nominal frame rate.
        source: Kind of the file, stored as the extractor's version.
    """
    track = MotionTrack.neutral(frames, space, rate)
    return replace(track, meta=TrackMeta(space, "import", source, rate))


def check_row_count(path: Path, rows: list[TableRow]) -> None:
    """Raise InputError unless there are from 1 to MAX_FRAMES rows."""
    if not 1 <= len(rows) <= MAX_FRAMES:
        raise InputError(f"{path}: has {len(rows)} lines of values. Give from 1 to {MAX_FRAMES}.")


def parse_rows(path: Path, header: list[str], rows: list[TableRow]) -> np.ndarray:
    """Parse all fields as finite numbers.

    Args:
        path: File, for the error.
        header: Names of the columns.
        rows: Rows below the header.

    Returns:
        (rows, columns) float64.

    Raises:
        InputError: For the first field that is not a finite number; the message names line and column.
    """
    numbers = np.empty((len(rows), len(header)))
    for index, row in enumerate(rows):
        bad_column = _parse_row(row.fields, numbers[index])
        if bad_column is not None:
            raise InputError(
                f"{path}: line {row.line}, column {header[bad_column]}: {row.fields[bad_column][:30]!r} is not a "
                "number. Write a finite number."
            )
    return numbers


def _parse_row(fields: list[str], numbers: np.ndarray) -> int | None:
    """Parse the fields of a row into an array; return the first column that is not a finite number, if any."""
    try:
        numbers[:] = fields
    except ValueError:
        return next(column for column, field in enumerate(fields) if not _is_number(field))
    is_bad = ~np.isfinite(numbers)
    return int(np.flatnonzero(is_bad)[0]) if is_bad.any() else None


def _is_number(field: str) -> bool:
    try:
        return bool(np.isfinite(float(field)))
    except ValueError:
        return False


def _find_channels(path: Path, header: list[str], space: str) -> dict[str, Channel]:
    """Return the channels of the header's columns other than time and valid."""
    channels = {}
    for name in header:
        if name in ("time", "valid"):
            continue
        try:
            channels[name] = find_channel(name, space)
        except InputError as error:
            raise InputError(f"{path}: line 1: {error}") from error
    if not channels:
        raise InputError(f"{path}: line 1: has no column for a channel. Add columns such as yaw or jawOpen.")
    return channels


def _check_values(path: Path, rows: list[TableRow], name: str, values: np.ndarray) -> None:
    outside = np.flatnonzero(np.abs(values) > _MAX_VALUE)
    if len(outside):
        line = rows[outside[0]].line
        raise InputError(f"{path}: line {line}, column {name}: is out of range. Check the unit of the column.")


def _note_missing(channels: dict[str, Channel], space: str) -> list[str]:
    missing = [name for name in COLUMN_CHANNELS[space] if name not in channels]
    # A name for both sides covers several columns, so that a count of missing columns would be wrong.
    has_combined_names = any(name not in COLUMN_CHANNELS[space] for name in channels)
    return [] if not missing or has_combined_names else [f"{len(missing)} curves are not in the file and stay at 0"]
