"""Keyframes: values of named curves at moments, joined by smooth curves that rest at every extreme."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimaface_cli.errors import InputError
from mimaface_cli.motion.channels import Channel, ExpressionMap, find_channel, parse_number
from mimaface_cli.motion.formats.text_reader import read_table

LONGEST = 24 * 3600.0  # seconds
_TIME = re.compile(r"(?P<time>[0-9.]+):(?P<name>[^=]+)=(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True)
class Keyframe:
    """A curve's value (own units) at a moment (s)."""

    time: float
    name: str
    value: float


def parse_keyframe(text: str, space: str, named: ExpressionMap | None = None) -> Keyframe:
    """`1.5:jawOpen=0.4` to a key. Raises InputError."""
    found = _TIME.fullmatch(text)
    if not found:
        raise InputError(f"--key {text[:60]}: write SECONDS:NAME=VALUE, as in 1.5:jawOpen=0.4")
    channel = find_channel(found["name"], space, named)
    return Keyframe(
        parse_number(found["time"], f"--key {text[:60]}: the time", 0.0, LONGEST),
        found["name"],
        parse_number(found["value"], f"--key {text[:60]}", channel.low, channel.high),
    )


def read_keyframes(path: Path, space: str, named: ExpressionMap | None = None) -> list[Keyframe]:
    """Keys from a CSV with a column `time` (s) and one a name; an empty field sets no key there. Raises InputError
    that names line and column.
    """
    header, rows = read_table(path)
    if not header or header[0] != "time" or len(header) < 2:
        raise InputError(f"{path}: line 1: the first column must be called time, the others yaw, jawOpen and so on")
    channels: list[Channel] = []
    for name in header[1:]:
        try:
            channels.append(find_channel(name, space, named))
        except InputError as error:
            raise InputError(f"{path}: line 1: {error}") from error
    keys = []
    for line, row in rows:
        time = parse_number(row[0], f"{path}: line {line}, column time", 0.0, LONGEST)
        for channel, text in zip(channels, row[1:]):
            if text:
                where = f"{path}: line {line}, column {channel.name}"
                keys.append(Keyframe(time, channel.name, parse_number(text, where, channel.low, channel.high)))
    if not keys:
        raise InputError(f"{path}: holds no keys; write at least one line of values under the names")
    return keys


def group_keyframes(keys: list[Keyframe]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Keys by name: times (s, increasing) and values. Raises InputError for two keys of one name at one moment."""
    curves: dict[str, dict[float, float]] = {}
    for key in keys:
        curve = curves.setdefault(key.name, {})
        if curve.get(key.time, key.value) != key.value:
            raise InputError(f"{key.name}: has two keys at {key.time:g} s; leave one")
        curve[key.time] = key.value
    return {
        name: (np.array(sorted(curve)), np.array([curve[time] for time in sorted(curve)]))
        for name, curve in curves.items()
    }


def interpolate_keyframes(times: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The monotone cubic through a curve's keys at moments N (s), held before the first and after the last key."""
    if len(times) == 1:
        return np.full(len(at), values[0])
    from scipy.interpolate import PchipInterpolator  # slow to load, and few edits need it

    return PchipInterpolator(times, values)(np.clip(at, times[0], times[-1]))
