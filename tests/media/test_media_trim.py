"""Parts of a video, exact to the frame, and timecodes."""

from fractions import Fraction

import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.media.reader import read_frames
from mimaface_cli.media.timecode import advance_timecode, frame_number
from mimaface_cli.media.trim import Moment, Trim
from tests.conftest import NTSC, write_video


def test_a_part_is_the_same_frames(tmp_path):
    frames = [np.full((64, 64, 3), 20 + k, np.uint8) for k in range(150)]
    write_video(tmp_path / "a.mp4", frames, [k / NTSC for k in range(150)])
    whole = list(read_frames(tmp_path / "a.mp4"))
    for first, count in ((0, 5), (40, 10), (100, 30), (149, 9)):
        start, length = float(first / NTSC), float(count / NTSC)
        part = list(read_frames(tmp_path / "a.mp4", start=start, duration=length))
        assert [frame.pts for frame in part] == [frame.pts for frame in whole[first : first + count]]
        assert all((one.image == other.image).all() for one, other in zip(part, whole[first:]))


def test_moments_and_timecodes():
    rate = Fraction(30000, 1001)
    assert Moment.parse("1:02:03.5", "start").at(rate) == Fraction(7447, 2)
    assert Moment.parse("00:00:01:12", "start").at(Fraction(25)) == Fraction(37, 25)
    for text in ("x", "1:60", "-1", "00:61:00.0", "1e3", ""):
        with pytest.raises(InputError, match="start"):
            Moment.parse(text, "start")
    assert frame_number("00:01:00;02", rate) == 1800 and frame_number("01:00:00;00", rate) == 107892
    for frames in (0, 1, 1799, 1800, 17982, 107892):
        assert frame_number(advance_timecode("00:00:00;00", frames, rate), rate) == frames
    assert advance_timecode("23:59:59:24", 1, Fraction(25)) == "00:00:00:00"
    with pytest.raises(InputError):
        Trim.parse(None, "0")
