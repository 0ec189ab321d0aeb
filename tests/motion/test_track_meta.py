"""Metadata of a track: accepted types, and what is refused."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from mimaface_cli.motion.track_meta import MAX_META_CHARACTERS, TrackMeta


def make_meta(frame_rate: Any = Fraction(30000, 1001), **fields: Any) -> TrackMeta:
    return TrackMeta("face478", "test", "3", frame_rate, **fields)


def test_frame_rate_may_be_a_whole_number_or_text():
    assert make_meta(25).frame_rate == Fraction(25)
    assert make_meta("24000/1001").frame_rate == Fraction(24000, 1001)


def test_options_are_copied_as_json_reads_them():
    options = {"nested": {"tuple": (1, 2)}}
    meta = make_meta(options=options)
    options["nested"]["tuple"] = ()
    assert meta.options == {"nested": {"tuple": [1, 2]}}


def test_json_round_trip_keeps_all_fields_and_ignores_unknown_keys():
    meta = make_meta(source_hash="a" * 64, width=640, height=360, options={"face": "left"}, cuts=(4, 9))
    text = meta.to_json()
    assert text.isascii()
    assert TrackMeta.from_json(text) == meta
    assert TrackMeta.from_json(text.replace("{", '{"unknown": 1, ', 1)) == meta


def test_invalid_fields_are_refused():
    """test_track_file.py tries every field; files and callers share these checks."""
    with pytest.raises(ValueError, match=r"^width: must be a number of pixels, is -1$"):
        make_meta(width=-1)


def test_metadata_larger_than_the_limit_is_refused():
    with pytest.raises(ValueError, match=r"^options: together with the cuts they exceed 1000000 characters of JSON$"):
        make_meta(options={"long": "x" * MAX_META_CHARACTERS})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, Path("x")])
def test_options_that_json_cannot_represent_are_refused(value):
    with pytest.raises(ValueError, match="options: cannot be written as JSON"):
        make_meta(options={"value": value})


def test_options_nested_deeper_than_the_limit_are_refused():
    options: dict[str, Any] = {}
    for _ in range(15):
        options = {"a": options}
    assert make_meta(options=options).options == options
    with pytest.raises(ValueError, match="options: are nested more than 16 levels deep"):
        make_meta(options={"a": options})
    options["cycle"] = options
    with pytest.raises(ValueError, match="options: cannot be written as JSON"):
        make_meta(options=options)
