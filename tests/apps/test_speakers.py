"""Who speaks when: the file, and each speaker's part of the motion."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from mimaface_cli.apps.speakers import Turn, list_faces, merge_streams, read_turns, select_turns
from mimaface_cli.engines.base import FrameStream
from mimaface_cli.errors import InputError
from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.motion.track import MotionTrack

RATE = Fraction(25)
JAW, BROW = blendshape_index("jawOpen"), blendshape_index("browInnerUp")


def write(tmp_path, text: str):
    path = tmp_path / "speakers.csv"
    path.write_text(text, "utf-8")
    return path


def test_read_turns_accepts_seconds_clock_times_and_timecodes(tmp_path):
    path = write(tmp_path, "face,start,end\nleft,0,1.5\n2,00:00:01.000,00:00:03:05\n")
    assert read_turns(path, RATE) == [Turn(0, 1.5, "left"), Turn(1, 3.2, "2")]
    assert list_faces(read_turns(path, RATE)) == ["left", "2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start,end\n0,1\n", "has no column face"),
        ("start,end,face\n", "has no line below its header"),
        ("start,end,face\n0,1,left\n2,1,left\n", "line 3: ends at 1, before it starts"),
        ("start,end,face\n0,soon,left\n", "line 2: 'soon' is not a time"),
        ("start,end,face\n0,1,nobody\n", "line 2: "),
        ("start,end,face\n0,1\n", "has 2 fields"),
    ],
)
def test_read_turns_names_the_line_that_is_wrong(tmp_path, text, message):
    with pytest.raises(InputError) as error:
        read_turns(write(tmp_path, text))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_select_turns_rests_the_mouth_of_a_face_while_others_speak():
    track = MotionTrack.neutral(75, "face478", RATE)
    expression = track.expression.copy()
    expression[:, [JAW, BROW]] = 0.5
    track = replace(track, expression=expression)
    turns = [Turn(0, 1, "left"), Turn(1, 3, "right")]
    left, right = (select_turns(track, turns, face).expression for face in ("left", "right"))
    assert (left[2:22, JAW] == 0.5).all() and (left[28:, JAW] == 0).all()
    assert (right[:22, JAW] == 0).all() and (right[28:72, JAW] == 0.5).all()
    assert (left[:, BROW] == 0.5).all()
    assert np.abs(np.diff(left[:, JAW])).max() < 0.4


def make_stream(frames, originals, notes, missing):
    def generate():
        yield from frames

    return FrameStream(
        generate(),
        np.arange(len(frames)) / 25,
        RATE,
        iter(originals),
        notes=notes,
        source_frames_without_face=missing,
    )


def test_merge_streams_joins_the_changes_of_all_faces():
    base = [np.full((4, 6, 3), k, np.uint8) for k in (10, 20)]
    left, right = [frame.copy() for frame in base], [frame.copy() for frame in base]
    for k in range(2):
        left[k][1, 1], right[k][2, 4] = 200, 100
    merged = merge_streams([make_stream(left, base, ["a"], [0, 1]), make_stream(right, base, ["a", "b"], [1])])
    frames = list(merged.frames)
    for k in range(2):
        expected = base[k].copy()
        expected[1, 1], expected[2, 4] = 200, 100
        assert np.array_equal(frames[k], expected)
    assert merged.notes == ["a", "b"] and merged.source_frames_without_face == [1]
