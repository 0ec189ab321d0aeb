"""Metadata of a motion track: origin, space, frame rate and cuts; stored as JSON in the track file."""

import json
import re
import reprlib
from dataclasses import dataclass, field, fields
from fractions import Fraction
from numbers import Rational
from typing import Any

FORMAT_VERSION = 1
BFM09, FACE478 = "bfm09", "face478"
SPACES = (BFM09, FACE478)
MAX_META_CHARACTERS = 1_000_000

_FRAME_RATE = re.compile(r"[1-9][0-9]{0,9}/[1-9][0-9]{0,9}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_NAME = 200  # characters of extractor and extractor_version
_MAX_SIDE = 2**20  # pixels
_MAX_INDEX = 2**31
_MAX_SECONDS = 1e7
_OPTIONAL = "last_duration"  # the only field that a file may leave out
_MAX_NESTING = 16  # levels of lists and objects in options


@dataclass(frozen=True)
class TrackMeta:
    """Origin, space and timing of a motion track.

    Args:
        space: Coefficient space, one of SPACES.
        extractor: Name of the extractor or program that produced the track.
        extractor_version: Version of the extractor.
        frame_rate: Nominal frames per second, a positive fraction. The track's `pts` are the exact times.
        source_hash: SHA-256 in hex of the input's content, or None without an input.
        audio_hash: SHA-256 in hex of the speech that produced the track, or None.
        width: Width of the input's frames in pixels, or 0 without an input.
        height: Height of the input's frames in pixels, or 0 without an input.
        options: Options of the extraction, values that JSON can hold.
        cuts: Indices, strictly increasing from 1 to N - 1, of the first frame of every shot but the first.
        last_duration: Seconds for which the last frame is shown, or None for one nominal frame.

    Raises:
        ValueError: For an invalid field; the message starts with its name.
    """

    space: str
    extractor: str
    extractor_version: str
    frame_rate: Fraction
    source_hash: str | None = None
    audio_hash: str | None = None
    width: int = 0
    height: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    cuts: tuple[int, ...] = ()
    last_duration: float | None = None

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise ValueError(f"space: {reprlib.repr(self.space)} is not one of {', '.join(SPACES)}")
        for name in ("extractor", "extractor_version"):
            _check_name(name, getattr(self, name))
        for name in ("source_hash", "audio_hash"):
            _check_hash(name, getattr(self, name))
        for name in ("width", "height"):
            _check_side(name, getattr(self, name))
        object.__setattr__(self, "frame_rate", _parse_frame_rate(self.frame_rate))
        object.__setattr__(self, "options", _copy_json(self.options))
        object.__setattr__(self, "cuts", _parse_cuts(self.cuts))
        object.__setattr__(self, "last_duration", _parse_duration(self.last_duration))
        if len(self.to_json()) > MAX_META_CHARACTERS:
            raise ValueError(f"options: together with the cuts they exceed {MAX_META_CHARACTERS} characters of JSON")

    def to_json(self) -> str:
        """Return the JSON text (ASCII) for the `meta` key of the file."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        if self.last_duration is None:
            del values[_OPTIONAL]
        values["frame_rate"] = f"{self.frame_rate.numerator}/{self.frame_rate.denominator}"
        return json.dumps({"version": FORMAT_VERSION, **values}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "TrackMeta":
        """Parse the text of `to_json`; unknown keys are ignored.

        Raises:
            ValueError: If the text is not JSON, another format version, or has a missing or invalid field.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError("is not JSON") from error
        if not isinstance(values, dict):
            raise ValueError("is not a JSON object")
        version = values.get("version")
        if version != FORMAT_VERSION or not _is_index(version):
            raise ValueError(f"format version {reprlib.repr(version)} is not supported, only version {FORMAT_VERSION}")
        values = {_OPTIONAL: None, **values}
        missing = [item.name for item in fields(cls) if item.name not in values]
        if missing:
            raise ValueError(f"{missing[0]}: is missing")
        return cls(**{item.name: values[item.name] for item in fields(cls)})


def _check_name(name: str, value: object) -> None:
    if not (isinstance(value, str) and 0 < len(value) <= _MAX_NAME and value.isprintable()):
        raise ValueError(f"{name}: must be 1 to {_MAX_NAME} printable characters, is {reprlib.repr(value)}")


def _check_hash(name: str, value: object) -> None:
    if value is not None and not (isinstance(value, str) and _SHA256.fullmatch(value)):
        raise ValueError(f"{name}: must be a SHA-256 in hex, is {reprlib.repr(value)}")


def _check_side(name: str, value: object) -> None:
    if not (isinstance(value, int) and _is_index(value) and value < _MAX_SIDE):
        raise ValueError(f"{name}: must be a number of pixels, is {reprlib.repr(value)}")


def _is_index(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_INDEX


def _parse_frame_rate(value: object) -> Fraction:
    if isinstance(value, Rational):
        value = f"{value.numerator}/{value.denominator}"
    if not (isinstance(value, str) and _FRAME_RATE.fullmatch(value)):
        raise ValueError(f"frame_rate: must be a positive fraction such as 30000/1001, is {reprlib.repr(value)}")
    return Fraction(value)


def _copy_json(options: object) -> dict[str, Any]:
    """Return the options as they are read back from JSON, for example with lists in place of tuples."""
    if not isinstance(options, dict):
        raise ValueError(f"options: must be a JSON object, is {reprlib.repr(options)}")
    try:
        copy: dict[str, Any] = json.loads(json.dumps(options, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"options: cannot be written as JSON ({error})") from error
    # Deeper options may be readable here, but fail to be written on a system with a smaller stack.
    if not _is_nested_at_most(copy, _MAX_NESTING):
        raise ValueError(f"options: are nested more than {_MAX_NESTING} levels deep")
    return copy


def _is_nested_at_most(value: object, levels: int) -> bool:
    if isinstance(value, dict):
        items = list(value.values())
    elif isinstance(value, list):
        items = value
    else:
        return True
    return levels > 0 and all(_is_nested_at_most(item, levels - 1) for item in items)


def _parse_cuts(cuts: object) -> tuple[int, ...]:
    if not isinstance(cuts, list | tuple) or not all(_is_index(cut) for cut in cuts):
        raise ValueError(f"cuts: must be a list of frame indices, is {reprlib.repr(cuts)}")
    if any(cut <= previous for previous, cut in zip((0, *cuts), cuts, strict=False)):
        raise ValueError("cuts: must increase strictly, from frame 1 on")
    return tuple(cuts)


def _parse_duration(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MAX_SECONDS:
        raise ValueError(f"last_duration: must be a number of seconds above 0, is {reprlib.repr(value)}")
    return float(value)
