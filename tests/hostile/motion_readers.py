"""Readers of motion tracks and keyframes."""

import io
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from mimaface_cli.motion.track import MotionTrack
from tests.hostile.reader import Reader

_KEYFRAMES = b"time,yaw,jawOpen\n0,0,0\n0.5,12.5,0.4\n1,-3,0\n"


def make_track() -> MotionTrack:
    """Return a track of 12 frames with random expressions."""
    track = MotionTrack.neutral(12, "face478")
    expression = np.random.default_rng(0).uniform(0, 1, track.expression.shape).astype(np.float32)
    return replace(track, expression=expression)


def _make_track_file() -> bytes:
    buffer = io.BytesIO()
    track = make_track()
    arrays = {name: getattr(track, name) for name in ("identity", "texture", "expression", "illumination", "pose")}
    arrays |= {name: getattr(track, name) for name in ("gaze", "crop", "pts", "valid")}
    np.savez_compressed(buffer, **arrays, meta=np.array(track.meta.to_json()))
    return buffer.getvalue()


def _make_export(format_name: str) -> Callable[[], bytes]:
    def make() -> bytes:
        from mimaface_cli.motion.formats.csv_format import write_csv
        from mimaface_cli.motion.formats.json_format import write_json
        from mimaface_cli.motion.formats.livelink import write_livelink

        text = io.StringIO()
        {"json": write_json, "csv": write_csv, "livelink": write_livelink}[format_name](make_track(), text)
        return text.getvalue().encode()

    return make


def _import_as(format_name: str) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        from mimaface_cli.motion.formats import import_track

        return import_track(path, format_name, Fraction(25) if format_name != "json" else None)

    return read


def _read_keyframe_file(path: Path) -> object:
    from mimaface_cli.motion.keyframes import group_keyframes, read_keyframes

    return group_keyframes(read_keyframes(path, "face478"))


MOTION_READERS = (
    Reader("track", ".npz", _make_track_file, MotionTrack.load),
    Reader("track json", ".json", _make_export("json"), _import_as("json")),
    Reader("track csv", ".csv", _make_export("csv"), _import_as("csv")),
    Reader("live link csv", ".csv", _make_export("livelink"), _import_as("livelink")),
    Reader("keyframes", ".csv", lambda: _KEYFRAMES, _read_keyframe_file),
)
