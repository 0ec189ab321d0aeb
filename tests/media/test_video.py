"""Truncated and damaged videos: an error or all frames, never a silently shorter video."""

import av
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.media.reader import read_frames
from tests.media.synthetic_media import make_clip, read_stamp


def count_frames(path):
    return sum(1 for _ in read_frames(path))


def truncate(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


@pytest.mark.parametrize(
    ("share", "layout"),
    [
        (0.4, ""),
        (0.9, ""),
        (0.999, ""),
        (0.4, "faststart"),
        (0.9, "faststart"),
        (0.999, "faststart"),
        (0.4, "frag_keyframe+empty_moov"),
        (0.7, "frag_keyframe+empty_moov"),
    ],
)
def test_truncated_mp4_is_refused_unless_it_contains_every_frame(tmp_path, share, layout):
    path = make_clip(tmp_path / "a.mp4", 60, options={"g": "10"}, muxing={"movflags": layout} if layout else {})
    assert count_frames(path) == 60
    truncate(path, share)
    try:
        assert count_frames(path) == 60  # only what follows the last frame is missing
    except InputError as error:
        assert "cut short" in str(error) or "not a readable video" in str(error)
    else:
        assert share > 0.9


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_truncated_matroska_is_refused_with_its_duration(tmp_path, share):
    path = make_clip(tmp_path / "a.mkv", 100, options={"g": "10"})
    truncate(path, share)
    with pytest.raises(InputError, match=r"cut short, it has \d\.\d of 4\.0 s"):
        count_frames(path)


def test_truncated_avi_is_refused(tmp_path):
    path = make_clip(tmp_path / "a.avi", 100, codec="mpeg4")
    truncate(path, 0.8)
    with pytest.raises(InputError, match=r"cut short|damaged"):
        count_frames(path)


def test_damage_is_reported_with_its_time_after_the_frames_before_it(tmp_path):
    path = make_clip(tmp_path / "a.mp4", 100, size=(320, 240), options={"g": "25", "crf": "10"})
    with av.open(str(path)) as file:
        entry = list(file.streams.video[0].index_entries)[50]
    content = bytearray(path.read_bytes())
    content[entry.pos + 8 : entry.pos + entry.size] = bytes(entry.size - 8)
    path.write_bytes(content)
    stamps = []
    with pytest.raises(InputError, match=r"damaged near \d\.\d\d s \(frame \d+ cannot be decoded\)"):
        for frame in read_frames(path):
            stamps.append(read_stamp(frame.image))
    assert stamps == list(range(len(stamps))) and 40 <= len(stamps) <= 50


def test_recording_that_starts_between_key_frames_starts_at_the_first_clean_frame(tmp_path):
    """Recordings of broadcasts start like this."""
    options = {"g": "20", "bf": "0", "x264-params": "repeat-headers=1:scenecut=0"}
    path = make_clip(tmp_path / "a.ts", 60, options=options)
    with av.open(str(path)) as file:
        start = [packet.pos for packet in file.demux(video=0) if packet.size][7]
    path.write_bytes(path.read_bytes()[start - start % 188 :])
    assert [read_stamp(frame.image) for frame in read_frames(path)] == list(range(20, 60))
    assert next(read_frames(path)).pts == 0.0
