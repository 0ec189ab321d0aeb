"""The CSV of Epic's Live Link Face: ARKit's 52 curves, head and eye rotation for each frame.

Columns: Timecode, BlendShapeCount (61), 52 curves of 0..1, then HeadYaw, HeadPitch, HeadRoll and yaw, pitch and roll of
the left and right eye. What the columns mean here, and where that is known from:

- Timecode is HH:MM:SS:FF.fff: FF counts frames from 0 at the next whole rate (30 for 29.97, no frame is dropped), .fff
  is the share of a frame. The file does not say its rate.
- Rotations are in radians: yaw positive to the subject's right, pitch positive downwards, roll positive to the
  subject's left shoulder. For the eyes this is how recorded captures go with their EyeLook curves; for the head it is
  the same conversion of ARKit's axes into Unreal's (X = -z, Y = x, Z = y, left-handed), there was no capture with a
  moving head to check it on. `mimaface edit --scale yaw=-1` turns it round where an app does otherwise.
- The head turns as an Unreal rotator: roll first, then pitch, then yaw. Its place is not in the file.
- TongueOut has no counterpart in a track (written as 0, left out when read), nor have the unnamed expression columns.
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
from mimaface_cli.motion.formats.csv_format import blank, check_times, parse_rows
from mimaface_cli.motion.formats.text_reader import read_table
from mimaface_cli.motion.rotation import euler_angles, rotation_matrix
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_layout import MAX_FRAMES

CURVES = tuple(
    [
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
    ]
)
HEAD = ("HeadYaw", "HeadPitch", "HeadRoll")
EYES = ("LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll", "RightEyeYaw", "RightEyePitch", "RightEyeRoll")
COLUMNS = ("Timecode", "BlendShapeCount", *CURVES, *HEAD, *EYES)
_NAMED = CURVES[:-1]  # all but TongueOut
_TRACK_COLUMNS = [BLENDSHAPES.index(name[0].lower() + name[1:]) for name in _NAMED]
_TIMECODE = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2}):(\d{1,3})(?:[.](\d{1,9}))?", re.ASCII)
_DAY = 24 * 3600
_USUAL = (24, 25, 30, 60)  # what the highest frame number is rounded up to


def write(track: MotionTrack, file: TextIO) -> list[str]:
    """Write a face478 track, its first frame at 00:00:00:00 plus its own time. Raises InputError for another space."""
    if track.meta.space != "face478":
        raise InputError(
            f"--format livelink: {track.meta.space} expressions have no names there; export as CSV or JSON"
        )
    curves = np.clip(track.expression[:, _TRACK_COLUMNS], 0, 1).astype(np.float64)
    tongue = np.zeros((len(track), 1))
    gaze = -track.gaze.astype(np.float64)
    still = np.zeros(len(track))
    eyes = np.stack([gaze[:, 0], gaze[:, 1], still, gaze[:, 2], gaze[:, 3], still], 1)
    rows = np.concatenate([curves, tongue, head_to_rotator(track.pose[:, :3].astype(np.float64)), eyes], 1)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for time, row in zip(track.pts.tolist(), rows.tolist()):
        writer.writerow([timecode(time, track.frame_rate), len(COLUMNS) - 2, *(f"{value:.10f}" for value in row)])
    clipped = int((np.abs(track.expression[:, _TRACK_COLUMNS] - curves) > 0.005).any(1).sum())
    notes = ["Live Link Face carries no place of the head and no unnamed expression columns; they are left out"]
    if clipped:
        notes.append(f"curves beyond 0 to 1 were held within it in {clipped} of {len(track)} frames")
    return notes


def read(path: Path, frame_rate: Fraction | None = None) -> tuple[MotionTrack, list[str]]:
    """Read such a file. frame_rate: what its timecodes count, None to tell from the highest frame number. Columns go by
    their names in any order and case; curves that are left out are 0. Raises InputError that names line and column.
    """
    header, rows = read_table(path)
    known = {name.lower(): name for name in COLUMNS}
    names = [known.get(name.lower(), name) for name in header]
    missing = next((name for name in ("Timecode", "EyeBlinkLeft", "JawOpen") if name not in names), None)
    if missing:
        raise InputError(f"{path}: line 1: has no column {missing}; is it a CSV of Live Link Face?")
    unknown = [name for name in names if name not in COLUMNS]
    if not rows or len(rows) > MAX_FRAMES:
        raise InputError(f"{path}: has {len(rows)} lines of values where 1 to {MAX_FRAMES} are possible")
    at = names.index("Timecode")
    codes = [_parse_timecode(path, line, fields[at]) for line, fields in rows]
    notes = []
    if frame_rate is None:
        highest = max(int(frame) for _, frame in codes)
        counted = next((usual for usual in _USUAL if highest < usual), ceil(highest) + 1)
        frame_rate = Fraction(counted)
        notes.append(f"timecodes taken as {counted} frames a second, by their highest frame number; else --frame-rate")
    counted = ceil(frame_rate)
    for (line, _), (_, frame) in zip(rows, codes):
        if frame >= counted:
            raise InputError(f"{path}: line {line}, column Timecode: frame {int(frame)} of {counted}; see --frame-rate")
    positions = np.array([float(seconds * counted + frame) for seconds, frame in codes])
    wraps = np.concatenate([[0], np.cumsum(np.diff(positions) < -12 * 3600 * counted)])  # past midnight
    times = (positions + wraps * _DAY * counted) / float(frame_rate)
    check_times(path, rows, times, "Timecode")

    body = [(line, fields[:at] + ["0"] + fields[at + 1 :]) for line, fields in rows]
    if "BlendShapeCount" in names:
        count = names.index("BlendShapeCount")
        body = [(line, fields[:count] + ["0"] + fields[count + 1 :]) for line, fields in body]
    numbers = parse_rows(path, names, body)
    get = lambda name: numbers[:, names.index(name)] if name in names else np.zeros(len(rows))  # noqa: E731
    for name in (*CURVES, *HEAD, *EYES):
        limit = 2.0 if name in CURVES else 7.0
        outside = np.flatnonzero(np.abs(get(name)) > limit)
        if len(outside):
            unit = "curves go from 0 to 1" if name in CURVES else "rotations are in radians"
            raise InputError(f"{path}: line {rows[int(outside[0])][0]}, column {name}: {unit}")

    track = blank(len(rows), "face478", frame_rate, "Live Link Face CSV")
    expression, pose = track.expression.astype(np.float64), track.pose.astype(np.float64)
    expression[:, _TRACK_COLUMNS] = np.stack([get(name) for name in _NAMED], 1)
    pose[:, :3] = rotator_to_head(np.stack([get(name) for name in HEAD], 1))
    gaze = -np.stack([get(name) for name in ("LeftEyeYaw", "LeftEyePitch", "RightEyeYaw", "RightEyePitch")], 1)
    if (get("TongueOut") > 0.1).any():
        notes.append("TongueOut has no counterpart in a track and was left out")
    if unknown:
        notes.append(f"{len(unknown)} further columns were left out ({', '.join(unknown)[:80]})")
    return replace(track, expression=expression, pose=pose, gaze=gaze, pts=times - times[0]), notes


def timecode(seconds: float, rate: Fraction) -> str:
    """A time as HH:MM:SS:FF.fff at a frame rate, to a thousandth of a frame; no frame numbers are dropped."""
    thousandths = round(Fraction(seconds) * rate * 1000)
    frames, share = divmod(thousandths, 1000)
    whole, frame = divmod(frames, ceil(rate))
    return f"{whole // 3600 % 24:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}:{frame:02d}.{share:03d}"


def head_to_rotator(angles: np.ndarray) -> np.ndarray:
    """A track's head angles (N×3 rad) to HeadYaw, HeadPitch, HeadRoll (N×3 rad): the same rotation, R = Ry·Rx·Rz."""
    turn = rotation_matrix(angles)
    pitch = np.arcsin(np.clip(-turn[:, 1, 2], -1, 1))
    yaw = np.arctan2(turn[:, 0, 2], turn[:, 2, 2])
    roll = np.arctan2(turn[:, 1, 0], turn[:, 1, 1])
    return np.stack([-yaw, pitch, -roll], 1)


def rotator_to_head(rotator: np.ndarray) -> np.ndarray:
    """Inverse of `head_to_rotator`."""
    yaw, pitch, roll = -rotator[:, 0], rotator[:, 1], -rotator[:, 2]
    still = np.zeros_like(yaw)
    turns = [np.stack(angles, 1) for angles in ((still, yaw, still), (pitch, still, still), (still, still, roll))]
    ry, rx, rz = (rotation_matrix(angles) for angles in turns)
    return np.unwrap(euler_angles(ry @ rx @ rz), axis=0)


def _parse_timecode(path: Path, line: int, text: str) -> tuple[int, Fraction]:
    """Whole seconds and frame number with its share."""
    found = _TIMECODE.fullmatch(text)
    if not found or int(found[2]) > 59 or int(found[3]) > 59 or int(found[1]) > 23:
        raise InputError(f"{path}: line {line}, column Timecode: {text[:30]!r} is not HH:MM:SS:FF.fff")
    hours, minutes, seconds = (int(found[k]) for k in (1, 2, 3))
    return hours * 3600 + minutes * 60 + seconds, Fraction(f"{found[4]}.{found[5] or 0}")
