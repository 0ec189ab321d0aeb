"""Edits of named channels: values to scale, set or add, and keyframes, applied to a track."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mimaface_cli.errors import InputError
from mimaface_cli.motion.channels import PRESETS, Channel, ExpressionMap, find_channel, parse_number
from mimaface_cli.motion.keyframes import Keyframe, group_keyframes, interpolate_keyframes
from mimaface_cli.motion.track import MotionTrack

Operation = Literal["set", "add", "scale"]
MAX_SCALE = 10.0


@dataclass(frozen=True)
class Term:
    """One change of a channel.

    Args:
        operation: What to do with the value: set, add or scale.
        name: Name of the channel.
        value: Value in the channel's unit, or the factor of scale.
    """

    operation: Operation
    name: str
    value: float


def parse_term(operation: Operation, text: str, space: str, expression_map: ExpressionMap | None = None) -> Term:
    """Parse a term such as `jawOpen=0.4`.

    Args:
        operation: What the term does with the value: set, add or scale.
        text: The term, as NAME=VALUE.
        space: Space of the track.
        expression_map: Map of the named expressions to the bfm09 space.

    Raises:
        InputError: For another form, an unknown name or a value out of range.
        WeightsError: For a named expression in bfm09 without its map.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"{text[:60]}: has no value. Write NAME=VALUE, as in jawOpen=0.4.", field=operation)
    channel = find_channel(name, space, expression_map, field=operation)
    low, high = channel.low, channel.high
    if operation == "scale":
        low, high = -MAX_SCALE, MAX_SCALE
    elif operation == "add":
        low, high = low - high, high - low
    return Term(operation, name, parse_number(value, text[:60], low, high, field=operation))


def expand_preset(name: str, strength: float) -> list[Term]:
    """Return the terms that add a preset at a strength; 1 is the full preset."""
    return [Term("add", part, value * strength) for part, value in PRESETS[name].items()]


def apply_edits(
    track: MotionTrack,
    terms: Iterable[Term],
    keyframes: Iterable[Keyframe] = (),
    expression_map: ExpressionMap | None = None,
) -> tuple[MotionTrack, list[str]]:
    """Scale the track's curves, then set values, then keyframes, then add values.

    Args:
        track: The track.
        terms: Values to scale, set and add.
        keyframes: Keyframes, their times from the track's start.
        expression_map: Map of the named expressions to the bfm09 space.

    Returns:
        The edited track, and notes that count the frames in which a curve was clamped to its range.
    """
    terms, keyframes = list(terms), list(keyframes)
    curves = _EditedCurves(track, expression_map)
    for term in terms:
        if term.operation == "scale":
            curves.write(term.name, curves.read(term.name) * term.value)
    for term in terms:
        if term.operation == "set":
            curves.write(term.name, np.full_like(curves.read(term.name), term.value))
    for name, (times, values) in group_keyframes(keyframes).items():
        keyed = interpolate_keyframes(times, values, track.pts - track.pts[0])
        curves.write(name, np.broadcast_to(keyed[:, None], curves.read(name).shape))
    for term in terms:
        if term.operation == "add":
            curves.write(term.name, curves.read(term.name) + term.value)
    channels = list_edited_channels(terms, keyframes, track.meta.space, expression_map)
    notes = [note for channel in channels for note in curves.clamp(channel)]
    return replace(track, **curves.arrays), notes


def list_edited_channels(
    terms: Iterable[Term], keyframes: Iterable[Keyframe], space: str, expression_map: ExpressionMap | None
) -> list[Channel]:
    """Return the channels that terms and keyframes change, each once.

    Args:
        terms: Values to scale, set and add.
        keyframes: Keyframes of channels.
        space: Space of the track.
        expression_map: Map of the named expressions to the bfm09 space, or None.

    Raises:
        InputError: For an unknown name.
        WeightsError: For a named expression in bfm09 without its map.
    """
    names = dict.fromkeys([*(term.name for term in terms), *(keyframe.name for keyframe in keyframes)])
    return [find_channel(name, space, expression_map) for name in names]


class _EditedCurves:
    """Arrays of a track that are being edited through its channels.

    Args:
        track: The track.
        expression_map: Map of the named expressions to the bfm09 space.
    """

    def __init__(self, track: MotionTrack, expression_map: ExpressionMap | None) -> None:
        self.arrays = track.motion_arrays(unwrap=True)
        self._original = track.motion_arrays(unwrap=True)
        self._space = track.meta.space
        self._expression_map = expression_map

    def read(self, name: str) -> np.ndarray:
        channel = self._find(name)
        return channel.read(self.arrays[channel.array])

    def write(self, name: str, values: np.ndarray) -> None:
        channel = self._find(name)
        channel.write(self.arrays[channel.array], values)

    def clamp(self, channel: Channel) -> list[str]:
        """Clamp changed values to the channel's range; return a note where that happened.

        Recorded values beyond the range do not change unless an edit changed them.
        """
        array = self.arrays[channel.array]
        values = channel.read(array)
        is_original = values == channel.read(self._original[channel.array])
        clamped = np.where(is_original, values, np.clip(values, channel.low, channel.high))
        count = int((np.abs(clamped - values) > 1e-9).any(axis=1).sum())
        if not count:
            return []
        channel.write(array, clamped)
        return [f"{channel.name}: clamped to {channel.low:g} to {channel.high:g} in {count} of {len(array)} frames"]

    def _find(self, name: str) -> Channel:
        return find_channel(name, self._space, self._expression_map)
