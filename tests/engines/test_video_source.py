"""Frames of a source video that lasts longer than its file."""

from fractions import Fraction

import numpy as np
import pytest

from mimaface_cli.engines.sources import VideoSource
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.transforms import extend_track, loop_track
from tests.conftest import write_video

LEVELS = (40, 90, 140, 190)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    frames = [np.full((64, 64, 3), level, np.uint8) for level in LEVELS]
    return write_video(
        tmp_path_factory.mktemp("source") / "a.mp4", frames, [Fraction(k, 25) for k in range(4)], Fraction(25)
    )


@pytest.mark.parametrize(
    ("extend", "expected"),
    [(extend_track, (0, 1, 2, 3, 3, 3, 3, 3, 3)), (loop_track, (0, 1, 2, 3, 0, 1, 2, 3, 0))],
    ids=["held", "repeated"],
)
def test_source_continues_beyond_its_file(path, extend, expected):
    track = extend(MotionTrack.neutral(4, "face478", Fraction(25)), 9 / 25)
    source = VideoSource(path, track, file_frames=4, is_repeated=extend is loop_track)

    def read(part) -> list[int]:
        levels = [portrait.image.mean() for portrait in source.portraits(part, detect=False)]
        return [int(np.argmin(np.abs(np.array(LEVELS) - level))) for level in levels]

    assert tuple(read(track)) == expected
    assert tuple(read(track.select_frames(slice(3, 6)))) == expected[3:6]
    assert read(track.select_frames(slice(7, 8))) == [expected[7]]
