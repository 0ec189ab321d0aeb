"""Timecode arithmetic, with and without dropped frame numbers, and timecodes in files."""

from fractions import Fraction

import av
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.media.attachments import Attachments
from mimaface_cli.media.timecode import advance_timecode, frame_number, is_timecode
from mimaface_cli.media.timecode_tag import read_timecode
from mimaface_cli.media.writer import VideoWriter
from tests.media.synthetic_media import NTSC, make_clip, stamped_frame


def test_is_timecode_requires_four_fields():
    assert is_timecode("00:01:30:12") and is_timecode("00:01:30;12")
    assert not any(is_timecode(text) for text in ("", "1:30", "00:01:30.500", "00:01:30:1", "a:01:30:12"))


def test_frame_number_counts_from_zero():
    assert frame_number("00:00:01:12", Fraction(25)) == 37
    assert frame_number("01:00:00:00", Fraction(25)) == 90_000


def test_drop_frame_skips_two_numbers_a_minute_except_every_tenth():
    assert frame_number("00:00:59;29", NTSC) == 1799
    assert frame_number("00:01:00;02", NTSC) == 1800
    assert frame_number("00:10:00;00", NTSC) == 17_982
    assert frame_number("01:00:00;00", NTSC) == 107_892


@pytest.mark.parametrize("frames", [0, 1, 1799, 1800, 17982, 107892])
def test_advance_is_the_inverse_of_frame_number(frames):
    assert frame_number(advance_timecode("00:00:00;00", frames, NTSC), NTSC) == frames
    assert frame_number(advance_timecode("00:00:00:00", frames, Fraction(25)), Fraction(25)) == frames


def test_advance_wraps_around_at_24_hours():
    assert advance_timecode("23:59:59:24", 1, Fraction(25)) == "00:00:00:00"


@pytest.mark.parametrize(
    ("timecode", "rate", "message"),
    [
        ("1:30", Fraction(25), "not a timecode"),
        ("00:00:00:25", Fraction(25), "no frame has this timecode at 25 frames per second"),
        ("00:60:00:00", Fraction(25), "no frame has this timecode"),
        ("00:00:00;00", Fraction(25), "only 29.97 and 59.94"),
        ("00:01:00;00", NTSC, "skips this frame number"),
    ],
)
def test_timecode_that_does_not_exist_is_refused(timecode, rate, message):
    with pytest.raises(InputError, match=message):
        frame_number(timecode, rate)


def test_timecode_of_a_file_is_read_from_its_tags(tmp_path):
    path = tmp_path / "a.mov"
    attachments = Attachments({"timecode": "10:00:00:00"})
    with VideoWriter(path, 96, 64, Fraction(25), attachments=attachments) as writer:
        writer.write(stamped_frame(1), 0.0)
    with av.open(str(path)) as file:
        assert any("timecode" in stream.metadata for stream in file.streams)
    assert read_timecode(path) == "10:00:00:00"
    assert read_timecode(make_clip(tmp_path / "b.mp4", 3)) is None
    assert read_timecode(tmp_path) is None
