"""Real clips, portraits and sounds of many makers, against what their manifest says."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mimaface_cli.media.audio import AudioTrack, has_audio
from mimaface_cli.media.image import image_size, read_image
from mimaface_cli.media.reader import probe, read_frames
from mimaface_cli.media.writer import VideoWriter
from tests.media.made_media import heard, lag, laid, picture_times

pytestmark = pytest.mark.media

DECODED = (  # one of each kind that is quick: CFR, VFR, NTSC, 4:4:4, MPEG-1, MPEG-4, 10-bit HDR, sound before picture
    "driving/bytedance-X-Portrait__driving_video.mp4",
    "driving/OpenTalker-video-retalking__1.mp4",
    "driving/georgeretsi-smirk__dafoe.mp4",
    "driving/Zielon-metrical-tracker__wojtek-video.mp4",
    "driving/rizkiarm-LipNet__swiz3n.mpg",
    "driving/OpenTalker-SadTalker__WDA_AlexandriaOcasioCortez_000.mp4",
    "driving/mayuelala-FollowYourEmoji__temple_video.mp4",
    "driving/yoyo-nb-Thin-Plate-Spline-Motion-Model__driving.mp4",
)


def test_every_driver_is_what_the_manifest_says(real_media, manifest):
    rows = [row for row in manifest.values() if row["kind"] == "driving"]
    assert len(rows) >= 20
    for row in rows:
        info = probe(real_media / row["file"])
        assert (info.width, info.height) == (int(row["width"]), int(row["height"])), row["file"]
        assert float(info.frame_rate) == pytest.approx(float(row["fps"]), abs=0.001), row["file"]
        assert info.frame_count == pytest.approx(int(row["frames"]), abs=1), row["file"]
        assert info.has_audio == (row["has_audio"] == "1") == has_audio(real_media / row["file"]), row["file"]
        assert info.variable_rate == ("video-retalking" in row["file"]), row["file"]


@pytest.mark.parametrize("name", DECODED)
def test_whole_clips_decode(real_media, manifest, name):
    info = probe(real_media / name)
    frames = 0
    for frame in read_frames(real_media / name):
        frames += 1
        assert frame.image.shape == (info.height, info.width, 3) and frame.image.flags.c_contiguous
    assert frames == int(manifest[name]["frames"])
    if not info.variable_rate:
        assert frame.pts == pytest.approx((frames - 1) / info.frame_rate, abs=0.001)


def test_a_sample_of_the_pool_decodes(real_media):
    clips = sorted((real_media / "pool" / "clips").glob("*.mp4"))[::24]
    if not clips:
        pytest.skip("the pool of clips is not there")
    for clip in clips:
        assert sum(1 for _ in read_frames(clip)) == probe(clip).frame_count, clip


def test_portraits(real_media, manifest):
    rows = [row for row in manifest.values() if row["kind"] == "portrait"]
    for row in rows:
        assert image_size(real_media / row["file"]) == (int(row["width"]), int(row["height"])), row["file"]
    for row in rows[::4]:
        image = read_image(real_media / row["file"])
        assert image.rgb.shape == (int(row["height"]), int(row["width"]), 3) and image.rgb.std() > 5


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("name", [DECODED[1], DECODED[7]])
def test_sound_stays_with_the_picture(tmp_path, real_media, name, suffix):
    source: Path = real_media / name
    info = probe(source)
    shown = picture_times(source)
    times = [time - shown[0] for time in shown[:120]]
    blank = np.zeros((64, 64, 3), np.uint8)
    with VideoWriter(tmp_path / f"a{suffix}", 64, 64, info.frame_rate, audio=AudioTrack(source)) as writer:
        for time in times:
            writer.write(blank, time)
    assert writer.audio_copied is (suffix == ".mp4")
    seconds = times[-1] + float(1 / info.frame_rate)
    given, kept = (laid(*heard(path), seconds) for path in (source, tmp_path / f"a{suffix}"))
    late, alike = lag(kept, given)
    assert abs(late) < 0.0006 and alike > 0.95
    assert picture_times(tmp_path / f"a{suffix}") == pytest.approx(times, abs=0.0006)


@pytest.mark.parametrize("name", ["jixinya-EAMM__sample2.mp3", "DinoMan-speech-driven-animation__audio.wav"])
def test_speech_under_a_still(tmp_path, real_media, name):
    source = real_media / "audio" / name
    with VideoWriter(tmp_path / "a.mp4", 64, 64, Fraction(25), audio=AudioTrack(source, start=0.3)) as writer:
        for number in range(50):
            writer.write(np.zeros((64, 64, 3), np.uint8), number / 25)
    given, kept = heard(source), heard(tmp_path / "a.mp4")
    late, alike = lag(laid(*kept, 2.0), laid(given[0] - 0.3, given[1], 2.0))
    assert abs(late) < 0.0006 and alike > 0.95
    assert len(kept[1]) / 44_100 == pytest.approx(2.0, abs=0.025)
