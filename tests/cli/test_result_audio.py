"""`mimaface animate --audio`: audio of driver, source or file, in step with the frames, and notes about changes."""

import json

import numpy as np
import pytest

from tests.media.ffmpeg import decode_channels, main_frequency, run_ffmpeg, tones
from tests.media.synthetic_media import measure_delay

RATE = 44_100
SMALL = ("--max-size", "160", "--json")


@pytest.fixture(scope="module")
def clips(sample, tmp_path_factory):
    """Two clips of the sample's frames with noise of their own: PCM in MOV, so that excerpts can be compared."""
    folder = tmp_path_factory.mktemp("clips")
    for number, name in enumerate(("source.mov", "driver.mov")):
        noise = ["-f", "lavfi", "-i", f"anoisesrc=d=0.5:r={RATE}:seed={number + 1}:a=0.5"]
        codecs = ["-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "pcm_s16le", "-shortest"]
        run_ffmpeg("-i", sample.driver, *noise, *codecs, folder / name)
    return folder


@pytest.mark.parametrize(
    ("source", "audio", "origin", "start"),
    [
        ("source.mov", "source", "source.mov", 0.2),
        ("source.mov", "{folder}/source.mov", "source.mov", 0.2),
        ("source.mov", "{folder}/driver.mov", "driver.mov", 0.2),
        ("source.mov", "driver", "driver.mov", 0.2),
        ("photo", "{folder}/driver.mov", "driver.mov", 0.2),
        ("photo", "{folder}/source.mov", "source.mov", 0.0),  # another file starts with the result
    ],
)
def test_audio_of_an_input_is_trimmed_with_it(run_command, sample, clips, tmp_path, source, audio, origin, start):
    source = sample.portrait if source == "photo" else clips / source
    done = run_command(
        "animate", source, clips / "driver.mov", "-o", "out.mov", *SMALL, "--start", "0.2", "--duration", "0.2",
        "--audio", audio.format(folder=clips),
    )  # fmt: skip
    assert done.code == 0, done.err
    assert json.loads(done.out)["audio"] == audio.format(folder=clips)
    played = decode_channels(tmp_path / "out.mov", 1)[0]
    delay, correlation = measure_delay(played[:8000], decode_channels(clips / origin, 1)[0], RATE)
    assert correlation > 0.5 and -delay == pytest.approx(start, abs=0.002)


def test_audio_of_a_source_without_audio_is_an_error(run_command, sample):
    done = run_command("animate", sample.portrait, sample.driver, "-o", "out.mp4", "--audio", "source")
    assert done.code == 3 and "--audio: the source has no audio" in done.err
    assert len(done.err.splitlines()) == 1


def test_driver_without_audio_is_noted_if_the_source_has_some(run_command, sample, clips):
    done = run_command("animate", clips / "source.mov", sample.portrait, "-o", "out.mov", *SMALL, "--duration", "0.1")
    assert done.code == 0, done.err
    assert "the driver has no audio; --audio source uses that of the source" in " ".join(json.loads(done.out)["notes"])


def test_conversion_and_unused_streams_are_noted_and_a_stream_can_be_selected(run_command, sample, tmp_path):
    inputs = [*tones([300], 0.5, 48_000, "mono"), *tones([500], 0.5, 48_000, "mono")]
    maps = ["-map", "0:v", "-map", "1:a", "-map", "2:a", "-c:v", "copy", "-c:a", "flac"]
    names = ["-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=fra"]
    run_ffmpeg("-i", sample.driver, *inputs, *maps, *names, tmp_path / "two.mkv")
    done = run_command("animate", sample.portrait, "two.mkv", "-o", "a.mp4", *SMALL, "--duration", "0.2")
    notes = " ".join(json.loads(done.out)["notes"])
    assert (
        "the file has 2 audio streams; number 1 (eng) is used, the others (fra) are left out; --audio-stream" in notes
    )
    assert "the audio is converted: flac to aac" in notes
    done = run_command(
        "animate", sample.portrait, "two.mkv", "-o", "b.mkv", *SMALL, "--duration", "0.2", "--audio-stream", "2"
    )
    assert done.code == 0, done.err
    assert "audio" not in " ".join(json.loads(done.out)["notes"])
    assert main_frequency(decode_channels(tmp_path / "b.mkv", 1)[0], 48_000) == pytest.approx(500, abs=8)
    done = run_command("animate", sample.portrait, "two.mkv", "-o", "c.mkv", *SMALL, "--audio-stream", "3")
    assert done.code != 0 and "--audio-stream: the file has no audio stream 3" in done.err
    assert not list(tmp_path.glob(".*part*"))


def test_surround_driver_with_an_unusual_channel_order_gives_a_result(run_command, sample, tmp_path):
    """Its layout once aborted the process."""
    run_ffmpeg(*tones([300] * 8, 0.4, 16_000, "7.1"), "-c:a", "pcm_s16be", tmp_path / "a.aiff")
    done = run_command("animate", sample.portrait, "a.aiff", "-o", "out.mp4", *SMALL)
    assert done.code == 0, done.err
    assert np.abs(decode_channels(tmp_path / "out.mp4", 8)).max() > 0.2
    done = run_command("animate", sample.portrait, sample.driver, "-o", "b.mp4", *SMALL, "--audio", "a.aiff")
    assert done.code == 0, done.err
