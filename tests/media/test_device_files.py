"""Files of phones, recorders and browsers that trip other programs up."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimaface_cli.media.audio import has_audio
from mimaface_cli.media.reader import probe, read_frames
from tests.media.ffmpeg import run_ffmpeg

SIZE = (96, 64)
VIDEO = ("-f", "lavfi", "-i", f"testsrc2=s={SIZE[0]}x{SIZE[1]}:r=25:d=1")
AUDIO = ("-f", "lavfi", "-i", "sine=f=440:d=1:r=44100")
H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", 5, "-c:a", "aac")


def hide_audio(path: Path, position: int) -> Path:
    """Give an audio stream of an MP4 the codec of iPhones' spatial audio, which FFmpeg does not know."""
    content = path.read_bytes()
    for old, new in ((b"mp4a\0\0\0\0\0\0", b"apac\0\0\0\0\0\0"), (b"esds", b"free")):
        parts = content.split(old)
        content = old.join(parts[: position + 1]) + new + old.join(parts[position + 1 :])
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("position", [0, 1])
def test_spatial_audio_beside_other_audio_is_skipped(tmp_path, position):
    path = tmp_path / "a.mp4"
    run_ffmpeg(*VIDEO, *AUDIO, *AUDIO, "-map", "0", "-map", "1", "-map", "2", *H264, path)
    hide_audio(path, position)
    info = probe(path)
    assert info.has_audio and info.notes == () and len(list(read_frames(path))) == 25


def test_audio_of_an_unknown_codec_is_noted(run_command, sample, tmp_path):
    path = tmp_path / "a.mp4"
    run_ffmpeg("-i", sample.driver, *AUDIO, "-map", "0:v", "-map", "1", "-c:v", "copy", "-c:a", "aac", path)
    hide_audio(path, 0)
    assert not has_audio(path)
    done = run_command("animate", sample.portrait, path, "-o", "out.mp4", "--max-size", "160", "--json")
    result = json.loads(done.out)
    assert result["audio"] == "none"
    expected = "a.mp4: its audio cannot be decoded and is left out; name a file with the audio by --audio"
    assert result["notes"].count(expected) == 1


def test_second_video_in_a_file_is_noted(tmp_path):
    second = ("-f", "lavfi", "-i", "testsrc=s=64x48:r=10:d=1")
    run_ffmpeg(*VIDEO, *second, "-map", "0", "-map", "1", *H264, tmp_path / "a.mp4")
    assert probe(tmp_path / "a.mp4").notes == ("a.mp4: the file has 2 videos; number 1 (96x64) is used",)
    images = [Image.new("RGB", SIZE, color) for color in ("red", "green", "blue")]
    images[0].save(tmp_path / "a.avif", save_all=True, append_images=images[1:])  # a still image beside the sequence
    assert probe(tmp_path / "a.avif").notes == ()


@pytest.mark.parametrize("kind", ["data", "subtitles"])
def test_telemetry_beside_the_video_changes_nothing(tmp_path, kind):
    (tmp_path / "a.srt").write_text("1\n00:00:00,000 --> 00:00:00,900\n[iso: 100] [shutter: 1/50]\n\n")
    path = tmp_path / "a.mov"
    inputs = (*VIDEO, *AUDIO, "-i", tmp_path / "a.srt", "-map", "0", "-map", "1", "-map", "2")
    run_ffmpeg(*inputs, *H264, "-c:s", "mov_text", "-timecode", "01:02:03:04", path)
    if kind == "data":
        content = path.read_bytes()
        before, _, after = content.rpartition(b"text")
        path.write_bytes(before.replace(b"mhlrtext", b"mhlrmeta") + b"mebx" + after)
    info = probe(path)
    assert info.has_audio and info.notes == () and len(list(read_frames(path))) == 25


def test_last_frame_of_a_truncated_matroska_file_is_not_held(tmp_path):
    path = tmp_path / "a.mkv"
    run_ffmpeg(*VIDEO, *AUDIO, *H264, path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 7 // 10])
    *_, last = read_frames(path)
    assert probe(path).is_truncated and last.index > 10
    assert last.pts == pytest.approx(last.index / 25, abs=0.001) and last.duration == pytest.approx(0.04, abs=0.001)


@pytest.mark.parametrize(
    ("delays", "expected"),
    [
        ([10] * 4, [0.1] * 4),
        ([20] * 4, [0.02] * 4),
        ([100, 0, 300, 10], [0.1, 0.1, 0.3, 0.1]),
    ],
)
def test_short_frames_of_a_gif_last_as_long_as_in_browsers(tmp_path, delays, expected):
    images = [Image.new("RGB", SIZE, color) for color in ("red", "green", "blue", "white")]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=delays)
    frames = list(read_frames(tmp_path / "a.gif"))
    assert [frame.duration for frame in frames[:3]] == pytest.approx(expected[:3], abs=0.001)
    assert probe(tmp_path / "a.gif").duration == pytest.approx(frames[-1].pts + frames[-1].duration, abs=0.06)


def test_frames_of_an_apng_without_durations_last_as_long_as_in_browsers(tmp_path):
    images = [Image.new("RGB", SIZE, color) for color in ("red", "green", "blue")]
    images[0].save(tmp_path / "a.png", save_all=True, append_images=images[1:], duration=0)
    assert [frame.duration for frame in read_frames(tmp_path / "a.png")] == pytest.approx([0.1] * 3, abs=0.001)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("is_mirrored", [False, True])
def test_every_orientation_of_a_phone_is_turned_upright(tmp_path, rotation, is_mirrored):
    run_ffmpeg(*VIDEO, *H264, tmp_path / "a.mp4")
    mirror = ("-display_hflip",) if is_mirrored else ()
    run_ffmpeg("-display_rotation", rotation, *mirror, "-i", tmp_path / "a.mp4", "-c", "copy", tmp_path / "b.mp4")
    frame = next(read_frames(tmp_path / "b.mp4")).image
    shown = run_ffmpeg("-i", tmp_path / "b.mp4", "-frames:v", 1, "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    assert np.abs(np.frombuffer(shown, np.uint8).reshape(frame.shape).astype(int) - frame).mean() < 10
