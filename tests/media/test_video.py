"""Truncated and damaged videos: an error, all frames, or a note, never a silently shorter video."""

import re

import av
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.media.reader import probe, read_frames
from tests.media.synthetic_media import make_clip, read_stamp


def count_frames(path):
    return sum(1 for _ in read_frames(path))


def truncate(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


@pytest.mark.parametrize("share", [0.4, 0.7, 0.9, 0.999])
@pytest.mark.parametrize(
    ("name", "codec", "layout"),
    [
        ("a.mp4", "libx264", "faststart"),
        ("a.mp4", "libx264", "frag_keyframe+empty_moov"),
        ("a.mov", "mjpeg", "faststart"),
        ("a.mkv", "libx264", ""),
        ("a.avi", "mpeg4", ""),
    ],
)
def test_truncated_video_gives_the_frames_that_it_holds(tmp_path, share, name, codec, layout):
    muxing = {"movflags": layout} if layout else {}
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    options = {"g": "10"} | ({"x264-params": "scenecut=0"} if codec == "libx264" else {})
    path = make_clip(
        tmp_path / name, 60, codec=codec, pixel_format=pixel_format, options=options, muxing=muxing, size=(320, 240)
    )
    assert count_frames(path) == 60 and probe(path).repairs == () and not probe(path).is_truncated
    truncate(path, share)
    try:
        stamps = [read_stamp(frame.image) for frame in read_frames(path)]
    except InputError as error:
        assert "holds no complete frame" in str(error) and share == 0.4
        return
    # Of the last frames in coding order, some that are shown before others can be missing.
    assert stamps == sorted(set(stamps)) and stamps[:-3] == list(range(len(stamps) - 3))
    assert 60 * share * 0.4 < len(stamps) <= 60
    info = probe(path)
    if len(stamps) < 60:
        assert info.is_truncated and "is cut short" in info.notes[0]
        counts = [int(number) for number in re.findall(r"(\d+) (?:frames are present|are missing)", info.notes[0])]
        assert abs(counts[0] - len(stamps)) <= 3 and (len(counts) == 1 or sum(counts) == pytest.approx(60, abs=2))


def test_mp4_whose_index_is_missing_is_refused(tmp_path):
    path = make_clip(tmp_path / "a.mp4", 60)
    truncate(path, 0.9)
    with pytest.raises(InputError, match=r"not a readable video|holds no complete frame"):
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
