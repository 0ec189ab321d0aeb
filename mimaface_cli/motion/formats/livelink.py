"""Motion tracks as CSV of Epic's Live Link Face: ARKit's 52 curves, head and eye rotation of each frame.

The columns are Timecode, BlendShapeCount (61), 52 curves from 0 to 1, HeadYaw, HeadPitch, HeadRoll, and yaw, pitch and
roll of the left and the right eye. Their meaning, and the evidence for it:

- Timecode is HH:MM:SS:FF.fff. FF counts frames from 0 at the next whole rate (30 for 29.97, non-drop), .fff is the
  fraction of a frame. The file does not state its frame rate.
- Rotations are in radians: yaw is positive to the subject's right, pitch downwards, roll to the subject's left
  shoulder. For the eyes, this agrees with the EyeLook curves of recorded captures. For the head, it is the same
  conversion of ARKit's axes to Unreal's (X = -z, Y = x, Z = y, left-handed); no capture with a moving head was
  available to check it. If an app differs, scale yaw by -1.
- The head rotates as an Unreal rotator: roll first, then pitch, then yaw. The file does not contain its position.
- TongueOut has no counterpart in a track: it is written as 0 and ignored when read. The unnamed expression columns of a
  track have no counterpart in the file.
"""

import csv
import re
from dataclasses import replace
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import TextIO

import numpy as np

from mimaface_cli.errors import InputError
from mimaface_cli.motion.coefficients import BLENDSHAPES
from mimaface_cli.motion.formats.csv_format import check_row_count, create_imported_track, parse_rows
from mimaface_cli.motion.formats.timing import check_times
from mimaface_cli.motion.rotation import euler_angles, rotation_matrix
from mimaface_cli.motion.text_reader import TableRow, read_table
from mimaface_cli.motion.track import MotionTrack

CURVES = (
    "EyeBlinkLeft",
    "EyeLookDownLeft",
    "EyeLookInLeft",
    "EyeLookOutLeft",
    "EyeLookUpLeft",
    "EyeSquintLeft",
    "EyeWideLeft",
    "EyeBlinkRight",
    "EyeLookDownRight",
    "EyeLookInRight",
    "EyeLookOutRight",
    "EyeLookUpRight",
    "EyeSquintRight",
    "EyeWideRight",
    "JawForward",
    "JawRight",
    "JawLeft",
    "JawOpen",
    "MouthClose",
    "MouthFunnel",
    "MouthPucker",
    "MouthRight",
    "MouthLeft",
    "MouthSmileLeft",
    "MouthSmileRight",
    "MouthFrownLeft",
    "MouthFrownRight",
    "MouthDimpleLeft",
    "MouthDimpleRight",
    "MouthStretchLeft",
    "MouthStretchRight",
    "MouthRollLower",
    "MouthRollUpper",
    "MouthShrugLower",
    "MouthShrugUpper",
    "MouthPressLeft",
    "MouthPressRight",
    "MouthLowerDownLeft",
    "MouthLowerDownRight",
    "MouthUpperUpLeft",
    "MouthUpperUpRight",
    "BrowDownLeft",
    "BrowDownRight",
    "BrowInnerUp",
    "BrowOuterUpLeft",
    "BrowOuterUpRight",
    "CheekPuff",
    "CheekSquintLeft",
    "CheekSquintRight",
    "NoseSneerLeft",
    "NoseSneerRight",
    "TongueOut",
)
HEAD = ("HeadYaw", "HeadPitch", "HeadRoll")
EYES = ("LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll", "RightEyeYaw", "RightEyePitch", "RightEyeRoll")
COLUMNS = ("Timecode", "BlendShapeCount", *CURVES, *HEAD, *EYES)
_NAMED_CURVES = CURVES[:-1]  # all but TongueOut
_TRACK_COLUMNS = [BLENDSHAPES.index(name[0].lower() + name[1:]) for name in _NAMED_CURVES]
_TIMECODE = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2}):(\d{1,3})(?:[.](\d{1,9}))?", re.ASCII)
_DAY = 24 * 3600  # seconds
_USUAL_RATES = (24, 25, 30, 60)  # the highest frame number is rounded up to one of these
_MAX_CURVE, _MAX_ANGLE = 2.0, 7.0  # larger values show that a column has another meaning


def write_livelink(track: MotionTrack, file: TextIO) -> list[str]:
    """Write a face478 track; its first frame is at timecode 00:00:00:00 plus its time.

    Returns:
        Notes for the user on what the format leaves out.

    Raises:
        InputError: For a track in another space.
    """
    if track.meta.space != "face478":
        raise InputError(
            f"expressions of the {track.meta.space} space have no names in Live Link Face. Export CSV or JSON instead.",
            field="format",
        )
    curves = np.clip(track.expression[:, _TRACK_COLUMNS], 0, 1).astype(np.float64)
    tongue = np.zeros((len(track), 1))
    gaze = -track.gaze.astype(np.float64)
    roll = np.zeros(len(track))
    eyes = np.stack([gaze[:, 0], gaze[:, 1], roll, gaze[:, 2], gaze[:, 3], roll], 1)
    rows = np.concatenate([curves, tongue, head_to_rotator(track.pose[:, :3].astype(np.float64)), eyes], 1)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for time, row in zip(track.pts.tolist(), rows.tolist(), strict=True):
        code = format_timecode(time, track.frame_rate)
        writer.writerow([code, len(COLUMNS) - 2, *(f"{value:.10f}" for value in row)])
    notes = ["Live Link Face has no head position and no unnamed expression columns; they are not written"]
    clamped = int((np.abs(track.expression[:, _TRACK_COLUMNS] - curves) > 0.005).any(1).sum())
    if clamped:
        notes.append(f"curves were clamped to 0 to 1 in {clamped} of {len(track)} frames")
    return notes


def read_livelink(path: Path, frame_rate: Fraction | None = None) -> tuple[MotionTrack, list[str]]:
    """Read a Live Link Face CSV; columns are matched by name, in any order and case, and missing curves are 0.

    Args:
        path: File to read.
        frame_rate: Frames per second of the timecodes, or None to estimate it from the highest frame number.

    Returns:
        The track, and notes for the user.

    Raises:
        InputError: If the file is invalid; the message names line and column.
    """
    header, rows = read_table(path)
    names = _match_columns(path, header)
    check_row_count(path, rows)
    frame_rate, times, notes = _read_times(path, names, rows, frame_rate)
    numbers = parse_rows(path, names, _blank_fields(names, rows))
    values: dict[str, np.ndarray] = {}
    for name, column in zip(names, numbers.T, strict=True):
        values.setdefault(name, column)  # the first of several columns with names that differ only in case
    _check_ranges(path, rows, values)

    absent = np.zeros(len(rows))
    columns = {name: values.get(name, absent) for name in COLUMNS}
    track = create_imported_track(len(rows), "face478", frame_rate, "Live Link Face CSV")
    arrays = track.motion_arrays()
    arrays["expression"][:, _TRACK_COLUMNS] = np.stack([columns[name] for name in _NAMED_CURVES], 1)
    arrays["pose"][:, :3] = rotator_to_head(np.stack([columns[name] for name in HEAD], 1))
    eye_angles = ("LeftEyeYaw", "LeftEyePitch", "RightEyeYaw", "RightEyePitch")
    arrays["gaze"] = -np.stack([columns[name] for name in eye_angles], 1)
    if (columns["TongueOut"] > 0.1).any():
        notes.append("TongueOut has no counterpart in a track and was ignored")
    unknown = [name for name in names if name not in COLUMNS]
    if unknown:
        notes.append(f"{len(unknown)} unknown columns were ignored ({', '.join(unknown)[:80]})")
    return replace(track, **arrays, pts=times - times[0]), notes


def format_timecode(time: float, rate: Fraction) -> str:
    """Format a time in seconds as HH:MM:SS:FF.fff, non-drop, rounded to a thousandth of a frame."""
    thousandths = round(Fraction(time) * rate * 1000)
    frames, fraction = divmod(thousandths, 1000)
    seconds, frame = divmod(frames, ceil(rate))
    return f"{seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{frame:02d}.{fraction:03d}"


def head_to_rotator(angles: np.ndarray) -> np.ndarray:
    """Convert head angles of a track to an Unreal rotator, the same rotation as R = Ry·Rx·Rz.

    Args:
        angles: (N, 3), about x, y, z in radians.

    Returns:
        (N, 3), HeadYaw, HeadPitch, HeadRoll in radians.
    """
    rotation = rotation_matrix(angles)
    pitch = np.arcsin(np.clip(-rotation[:, 1, 2], -1, 1))
    yaw = np.arctan2(rotation[:, 0, 2], rotation[:, 2, 2])
    roll = np.arctan2(rotation[:, 1, 0], rotation[:, 1, 1])
    return np.stack([-yaw, pitch, -roll], 1)


def rotator_to_head(rotator: np.ndarray) -> np.ndarray:
    """Convert an Unreal rotator to head angles of a track, the inverse of `head_to_rotator`.

    Args:
        rotator: (N, 3), HeadYaw, HeadPitch, HeadRoll in radians.

    Returns:
        (N, 3), about x, y, z in radians, continuous over time.
    """
    yaw, pitch, roll = -rotator[:, 0], rotator[:, 1], -rotator[:, 2]
    zero = np.zeros_like(yaw)
    about_y = rotation_matrix(np.stack([zero, yaw, zero], 1))
    about_x = rotation_matrix(np.stack([pitch, zero, zero], 1))
    about_z = rotation_matrix(np.stack([zero, zero, roll], 1))
    return np.unwrap(euler_angles(about_y @ about_x @ about_z), axis=0)


def _match_columns(path: Path, header: list[str]) -> list[str]:
    """Return the header with the names of COLUMNS in their usual case; check that it is of a Live Link Face file."""
    by_lower = {name.lower(): name for name in COLUMNS}
    names = [by_lower.get(name.lower(), name) for name in header]
    for name in ("Timecode", "EyeBlinkLeft", "JawOpen"):
        if name not in names:
            raise InputError(f"{path}: line 1: has no column {name}. Give a CSV of Live Link Face.")
    return names


def _read_times(
    path: Path, names: list[str], rows: list[TableRow], frame_rate: Fraction | None
) -> tuple[Fraction, np.ndarray, list[str]]:
    """Return the frame rate, the times in seconds and notes for the user."""
    column = names.index("Timecode")
    timecodes = [_parse_timecode(path, row.line, row.fields[column]) for row in rows]
    notes = []
    if frame_rate is None:
        highest = max(int(frame) for _, frame in timecodes)
        counted_rate = next((usual for usual in _USUAL_RATES if highest < usual), ceil(highest) + 1)
        frame_rate = Fraction(counted_rate)
        notes.append(
            f"timecodes were read as {counted_rate} frames per second, by their highest frame number; "
            "set the frame rate if this is wrong"
        )
    counted_rate = ceil(frame_rate)
    for row, (_, frame) in zip(rows, timecodes, strict=True):
        if frame >= counted_rate:
            raise InputError(
                f"{path}: line {row.line}, column Timecode: frame {int(frame)} is beyond {counted_rate} frames per "
                "second. Correct `frame_rate`."
            )
    positions = np.array([float(seconds * counted_rate + frame) for seconds, frame in timecodes])
    is_midnight = np.diff(positions) < -12 * 3600 * counted_rate
    days = np.concatenate([[0], np.cumsum(is_midnight)])
    times = (positions + days * _DAY * counted_rate) / float(frame_rate)
    check_times(path, rows, times, "Timecode")
    return frame_rate, times, notes


def _parse_timecode(path: Path, line: int, text: str) -> tuple[int, Fraction]:
    """Return whole seconds, and the frame number with its fraction."""
    match = _TIMECODE.fullmatch(text)
    if not match or int(match[1]) > 23 or int(match[2]) > 59 or int(match[3]) > 59:
        raise InputError(
            f"{path}: line {line}, column Timecode: {text[:30]!r} is not a timecode. Write HH:MM:SS:FF.fff."
        )
    hours, minutes, seconds = (int(digits) for digits in match.group(1, 2, 3))
    return hours * 3600 + minutes * 60 + seconds, Fraction(f"{match[4]}.{match[5] or 0}")


def _blank_fields(names: list[str], rows: list[TableRow]) -> list[TableRow]:
    """Return the rows with 0 in the columns that are not values: Timecode and BlendShapeCount."""
    is_blank = [name in ("Timecode", "BlendShapeCount") for name in names]
    return [
        TableRow(row.line, ["0" if blank else field for blank, field in zip(is_blank, row.fields, strict=True)])
        for row in rows
    ]


def _check_ranges(path: Path, rows: list[TableRow], values: dict[str, np.ndarray]) -> None:
    for name in (*CURVES, *HEAD, *EYES):
        if name not in values:
            continue
        limit, fix = (
            (_MAX_CURVE, "Give curves from 0 to 1.") if name in CURVES else (_MAX_ANGLE, "Give rotations in radians.")
        )
        outside = np.flatnonzero(np.abs(values[name]) > limit)
        if len(outside):
            line = rows[int(outside[0])].line
            raise InputError(f"{path}: line {line}, column {name}: is out of range. {fix}")
