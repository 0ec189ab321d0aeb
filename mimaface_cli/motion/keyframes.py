"""Keyframes: values of channels at points in time, joined by smooth curves without overshoot."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimaface_cli.errors import InputError
from mimaface_cli.motion.channels import Channel, ExpressionMap, find_channel, parse_number
from mimaface_cli.motion.text_reader import TableRow, read_table

MAX_TIME = 24 * 3600.0  # seconds
_KEYFRAME = re.compile(r"(?P<time>[0-9.]+):(?P<name>[^=]+)=(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True)
class Keyframe:
    """Value of a channel at a point in time.

    Args:
        time: Seconds from the start of the track.
        name: Name of the channel.
        value: Value in the channel's unit.
    """

    time: float
    name: str
    value: float


def parse_keyframe(text: str, space: str, expression_map: ExpressionMap | None = None) -> Keyframe:
    """Parse a keyframe such as `1.5:jawOpen=0.4`.

    Args:
        text: The keyframe, as SECONDS:NAME=VALUE.
        space: Space of the track.
        expression_map: Map of the named expressions to the bfm09 space.

    Raises:
        InputError: For another form, an unknown name or a number out of range.
        WeightsError: For a named expression in bfm09 without its map.
    """
    match = _KEYFRAME.fullmatch(text)
    if not match:
        raise InputError(
            f"{text[:60]}: is not a keyframe. Write SECONDS:NAME=VALUE, as in 1.5:jawOpen=0.4.", field="keys"
        )
    channel = find_channel(match["name"], space, expression_map, field="keys")
    return Keyframe(
        parse_number(match["time"], f"{text[:60]}: time", 0.0, MAX_TIME, field="keys"),
        match["name"],
        parse_number(match["value"], text[:60], channel.low, channel.high, field="keys"),
    )


def read_keyframes(path: Path, space: str, expression_map: ExpressionMap | None = None) -> list[Keyframe]:
    """Read keyframes from a CSV file with a column `time` in seconds and one column for each channel.

    An empty field sets no keyframe.

    Args:
        path: CSV file.
        space: Space of the track.
        expression_map: Map of the named expressions to the bfm09 space.

    Raises:
        InputError: For an invalid file; the message names line and column.
        WeightsError: For a named expression in bfm09 without its map.
    """
    header, rows = read_table(path)
    if not header or header[0] != "time" or len(header) < 2:
        raise InputError(
            f"{path}: line 1: the first column must be time. Name it time, and the others yaw, jawOpen and so on."
        )
    channels = [_find_column_channel(path, name, space, expression_map) for name in header[1:]]
    keyframes = [keyframe for row in rows for keyframe in _parse_row(path, row, channels)]
    if not keyframes:
        raise InputError(f"{path}: contains no keyframes. Write at least one line of values below the names.")
    return keyframes


def group_keyframes(keyframes: list[Keyframe]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Group keyframes by channel.

    Returns:
        Times in seconds, increasing, and values, by channel name.

    Raises:
        InputError: If a channel has two different values at one time.
    """
    curves: dict[str, dict[float, float]] = {}
    for keyframe in keyframes:
        curve = curves.setdefault(keyframe.name, {})
        if curve.get(keyframe.time, keyframe.value) != keyframe.value:
            raise InputError(f"{keyframe.name}: has two keyframes at {keyframe.time:g} s. Remove one.")
        curve[keyframe.time] = keyframe.value
    return {
        name: (np.array(sorted(curve)), np.array([curve[time] for time in sorted(curve)]))
        for name, curve in curves.items()
    }


def interpolate_keyframes(times: np.ndarray, values: np.ndarray, frame_times: np.ndarray) -> np.ndarray:
    """Evaluate the monotone cubic (PCHIP) through keyframes, which is constant before the first and after the last.

    Args:
        times: (K,), times of the keyframes in seconds, increasing.
        values: (K,), their values.
        frame_times: (N,), times in seconds at which to evaluate the curve.

    Returns:
        (N,) values.

    Source: Fritsch and Butland, "A method for constructing local monotone piecewise cubic interpolants", 1984.
    """
    if len(times) == 1:
        return np.full(len(frame_times), values[0])
    from scipy.interpolate import PchipInterpolator  # slow to import, and few edits need it

    return PchipInterpolator(times, values)(np.clip(frame_times, times[0], times[-1]))


def _find_column_channel(path: Path, name: str, space: str, expression_map: ExpressionMap | None) -> Channel:
    try:
        return find_channel(name, space, expression_map)
    except InputError as error:
        raise InputError(f"{path}: line 1: {error}") from error


def _parse_row(path: Path, row: TableRow, channels: list[Channel]) -> list[Keyframe]:
    time = parse_number(row.fields[0], f"{path}: line {row.line}, column time", 0.0, MAX_TIME)
    keyframes = []
    for channel, text in zip(channels, row.fields[1:], strict=True):
        if text:
            label = f"{path}: line {row.line}, column {channel.name}"
            keyframes.append(Keyframe(time, channel.name, parse_number(text, label, channel.low, channel.high)))
    return keyframes
