"""A track as CSV: one line a frame, the curves of `mimaface_cli.motion.channels` in their units, for spreadsheets and
scripts. It holds the motion and its times; who moves (identity, texture, light, crop) stays behind.
"""

import csv
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TextIO

import numpy as np

from mimaface_cli.errors import InputError
from mimaface_cli.motion.channels import NAMED_EXPRESSIONS, NUMBERED_EXPRESSIONS, find_channel
from mimaface_cli.motion.formats.text_reader import read_table
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_layout import MAX_FRAMES
from mimaface_cli.motion.track_meta import TrackMeta

_HEAD = ("yaw", "pitch", "roll", "x", "y", "z")
COLUMNS = {
    "face478": (
        *_HEAD,
        *("gazeYawLeft", "gazePitchLeft", "gazeYawRight", "gazePitchRight"),
        *("exp0", *NAMED_EXPRESSIONS, *NUMBERED_EXPRESSIONS[len(NAMED_EXPRESSIONS) + 1 :]),
    ),
    "bfm09": (*_HEAD, *(f"gaze{k}" for k in range(4)), *NUMBERED_EXPRESSIONS),
}
# Rates that nominal frame rates are rounded to where they come close.
_RATES = [Fraction(rate) for rate in (10, 12, 15, 24, 25, 30, 48, 50, 60, 100, 120)]
_RATES += [Fraction(rate * 1000, 1001) for rate in (24, 30, 60, 120)]


def write(track: MotionTrack, file: TextIO) -> list[str]:
    """Columns time (s), valid (1: the face was seen), then COLUMNS of the track's space; angles in degrees."""
    names = COLUMNS[track.meta.space]
    channels = [find_channel(name, track.meta.space) for name in names]
    arrays = {name: getattr(track, name).astype(np.float64) for name in ("expression", "pose", "gaze")}
    values = np.concatenate([channel.read(arrays[channel.array]) for channel in channels], 1)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["time", "valid", *names])
    for time, valid, row in zip(track.pts.tolist(), track.valid.tolist(), values.tolist()):
        writer.writerow([f"{time:.9g}", int(valid), *(f"{value:.9g}" for value in row)])
    return ["a CSV holds the motion alone; who moves and the crop stay behind (a .json keeps them)"]


def read(path: Path, frame_rate: Fraction | None = None) -> tuple[MotionTrack, list[str]]:
    """Read such a file, written by us or by hand: time and any of the columns, those left out are 0. Raises
    InputError that names line and column.
    """
    header, rows = read_table(path)
    if "time" not in header:
        raise InputError(f"{path}: line 1: has no column time (seconds); is it a track?")
    if not rows or len(rows) > MAX_FRAMES:
        raise InputError(f"{path}: has {len(rows)} lines of values where 1 to {MAX_FRAMES} are possible")
    space = "bfm09" if any(name in ("gaze0", "gaze1", "gaze2", "gaze3") for name in header) else "face478"
    channels = {}
    for name in header:
        if name not in ("time", "valid"):
            try:
                channels[name] = find_channel(name, space)
            except InputError as error:
                raise InputError(f"{path}: line 1: {error}") from error
    if not channels:
        raise InputError(f"{path}: line 1: names no curve; add columns such as yaw or jawOpen")
    numbers = parse_rows(path, header, rows)
    times = numbers[:, header.index("time")]
    check_times(path, rows, times, "time")
    valid = np.ones(len(rows), bool)
    if "valid" in header:
        valid = numbers[:, header.index("valid")] > 0.5
    track = blank(len(rows), space, frame_rate or nominal_rate(times), "CSV")
    arrays = {name: getattr(track, name).astype(np.float64) for name in ("expression", "pose", "gaze")}
    for name, channel in channels.items():
        outside = np.flatnonzero(np.abs(numbers[:, header.index(name)]) > 1e4)
        if len(outside):
            raise InputError(f"{path}: line {rows[outside[0]][0]}, column {name}: is far beyond any face")
        channel.write(arrays[channel.array], numbers[:, header.index(name), None])
    missing = [name for name in COLUMNS[space] if name not in channels]
    both = [name for name in channels if name not in COLUMNS[space]]
    notes = [] if not missing or both else [f"{len(missing)} curves are not in the file and rest at 0"]
    return replace(track, **arrays, pts=times, valid=valid), notes


def blank(frames: int, space: str, rate: Fraction, source: str) -> MotionTrack:
    """A track at rest of nobody in particular, said to come from `source`."""
    track = MotionTrack.neutral(frames, space, rate)
    return replace(track, meta=TrackMeta(space, "import", source, rate))


def parse_rows(path: Path, header: list[str], rows: list[tuple[int, list[str]]]) -> np.ndarray:
    """All fields as numbers, N×columns. Raises InputError for the first that is none or not finite."""
    numbers = np.empty((len(rows), len(header)))
    for k, (line, fields) in enumerate(rows):
        try:
            numbers[k] = fields
            bad = None if np.isfinite(numbers[k]).all() else int(np.flatnonzero(~np.isfinite(numbers[k]))[0])
        except ValueError:
            bad = next(index for index, field in enumerate(fields) if not _is_number(field))
        if bad is not None:
            raise InputError(f"{path}: line {line}, column {header[bad]}: {fields[bad][:30]!r} is not a number")
    return numbers


def check_times(path: Path, rows: list[tuple[int, list[str]]], times: np.ndarray, column: str) -> None:
    """Raise InputError unless times increase strictly."""
    back = np.flatnonzero(np.diff(times) <= 0)
    if len(back):
        line = rows[int(back[0]) + 1][0]
        raise InputError(f"{path}: line {line}, column {column}: is not later than the line before")
    if np.abs(times).max() > 1e9:
        raise InputError(f"{path}: column {column}: counts seconds; some lie beyond any recording")


def nominal_rate(times: np.ndarray) -> Fraction:
    """The usual frame rate nearest to times (s), or a plain fraction where none is near."""
    if len(times) < 2:
        return Fraction(25)
    rate = 1 / max(float(np.median(np.diff(times))), 1e-4)
    mean = (len(times) - 1) / max(float(times[-1] - times[0]), 1e-4)
    if abs(mean / rate - 1) < 0.01:  # the mean tells 29.97 from 30, unless frames are missing
        rate = mean
    near = min(_RATES, key=lambda usual: abs(float(usual) / rate - 1))
    if abs(float(near) / rate - 1) < 0.0004:
        return near
    return max(Fraction(rate).limit_denominator(100), Fraction(1, 100))


def _is_number(field: str) -> bool:
    try:
        return bool(np.isfinite(float(field)))
    except ValueError:
        return False
