"""Real clips, portraits and audio from many sources, checked against their manifest."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mimaface_cli.media.audio import AudioTrack, has_audio
from mimaface_cli.media.image import image_size, read_image
from mimaface_cli.media.reader import probe, read_frames
from mimaface_cli.media.writer import VideoWriter
from tests.media.synthetic_media import AUDIO_RATE, decode_audio, frame_times, measure_delay, place_on_timeline

pytestmark = pytest.mark.media

VARIABLE_RATE_CLIP = "driving/OpenTalker-video-retalking__1.mp4"
AUDIO_BEFORE_VIDEO_CLIP = "driving/yoyo-nb-Thin-Plate-Spline-Motion-Model__driving.mp4"
CLIPS = (  # a fast one of each kind: constant rate, variable rate, NTSC, 4:4:4, MPEG-1, MPEG-4, 10-bit HDR
    "driving/bytedance-X-Portrait__driving_video.mp4",
    VARIABLE_RATE_CLIP,
    "driving/georgeretsi-smirk__dafoe.mp4",
    "driving/Zielon-metrical-tracker__wojtek-video.mp4",
    "driving/rizkiarm-LipNet__swiz3n.mpg",
    "driving/OpenTalker-SadTalker__WDA_AlexandriaOcasioCortez_000.mp4",
    "driving/mayuelala-FollowYourEmoji__temple_video.mp4",
    AUDIO_BEFORE_VIDEO_CLIP,
)


def test_probe_agrees_with_the_manifest(real_media, manifest):
    rows = [row for row in manifest.values() if row["kind"] == "driving"]
    assert len(rows) >= 20
    for row in rows:
        info = probe(real_media / row["file"])
        assert (info.width, info.height) == (int(row["width"]), int(row["height"])), row["file"]
        rate = info.frame_rate
        if row["file"] == VARIABLE_RATE_CLIP:  # the manifest has the mean rate; all times are multiples of 1/30
            assert rate == 30
            rate = info.frame_count / info.duration
        assert float(rate) == pytest.approx(float(row["fps"]), abs=0.001), row["file"]
        assert info.frame_count == pytest.approx(int(row["frames"]), abs=1), row["file"]
        assert info.has_audio == (row["has_audio"] == "1") == has_audio(real_media / row["file"]), row["file"]
        assert info.variable_rate == (row["file"] == VARIABLE_RATE_CLIP), row["file"]


@pytest.mark.parametrize("name", CLIPS)
def test_clip_is_decoded_completely(real_media, manifest, name):
    info = probe(real_media / name)
    count = 0
    for frame in read_frames(real_media / name):
        count += 1
        assert frame.image.shape == (info.height, info.width, 3) and frame.image.flags.c_contiguous
    assert count == int(manifest[name]["frames"])
    if not info.variable_rate:
        assert frame.pts == pytest.approx((count - 1) / info.frame_rate, abs=0.001)


def test_clips_of_the_pool_are_decoded_completely(real_media):
    clips = sorted((real_media / "pool" / "clips").glob("*.mp4"))[::24]
    if not clips:
        pytest.skip("the pool of clips is missing")
    for clip in clips:
        assert sum(1 for _ in read_frames(clip)) == probe(clip).frame_count, clip


def test_portraits_have_the_size_in_the_manifest_and_are_readable(real_media, manifest):
    rows = [row for row in manifest.values() if row["kind"] == "portrait"]
    for row in rows:
        assert image_size(real_media / row["file"]) == (int(row["width"]), int(row["height"])), row["file"]
    for row in rows[::4]:
        image = read_image(real_media / row["file"])
        assert image.rgb.shape == (int(row["height"]), int(row["width"]), 3) and image.rgb.std() > 5


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("name", [VARIABLE_RATE_CLIP, AUDIO_BEFORE_VIDEO_CLIP])
def test_audio_stays_in_sync_with_the_video(tmp_path, real_media, name, suffix):
    source: Path = real_media / name
    target = tmp_path / f"a{suffix}"
    info = probe(source)
    source_times = frame_times(source)
    times = [time - source_times[0] for time in source_times[:120]]
    black = np.zeros((64, 64, 3), np.uint8)
    with VideoWriter(target, 64, 64, info.frame_rate, audio=AudioTrack(source)) as writer:
        for time in times:
            writer.write(black, time)
    assert writer.audio_copied is (suffix == ".mp4")
    seconds = times[-1] + float(1 / info.frame_rate)
    expected, written = (place_on_timeline(*decode_audio(path), seconds) for path in (source, target))
    delay, correlation = measure_delay(written, expected)
    assert abs(delay) < 0.0006 and correlation > 0.95
    assert frame_times(target) == pytest.approx(times, abs=0.0006)


@pytest.mark.parametrize("name", ["jixinya-EAMM__sample2.mp3", "DinoMan-speech-driven-animation__audio.wav"])
def test_speech_file_is_added_from_its_start_time(tmp_path, real_media, name):
    source = real_media / "audio" / name
    with VideoWriter(tmp_path / "a.mp4", 64, 64, Fraction(25), audio=AudioTrack(source, start=0.3)) as writer:
        for number in range(50):
            writer.write(np.zeros((64, 64, 3), np.uint8), number / 25)
    source_start, source_samples = decode_audio(source)
    start, samples = decode_audio(tmp_path / "a.mp4")
    expected = place_on_timeline(source_start - 0.3, source_samples, 2.0)
    delay, correlation = measure_delay(place_on_timeline(start, samples, 2.0), expected)
    assert abs(delay) < 0.0006 and correlation > 0.95
    assert len(samples) / AUDIO_RATE == pytest.approx(2.0, abs=0.025)
