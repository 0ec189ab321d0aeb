"""`mimaface` on recordings with unusual clocks: held last frames and joined takes."""

import json

import av
import pytest

from mimaface_cli.media.audio import AudioTrack
from mimaface_cli.media.writer import VideoWriter
from mimaface_cli.motion.track import MotionTrack
from tests.conftest import NTSC, read_video
from tests.media.ffmpeg import decode_channels, run_ffmpeg, tones

SMALL = ("--max-size", "160", "--json")
HELD = 1.5  # seconds


@pytest.fixture(scope="module")
def held(sample, tmp_path_factory):
    """Write six frames of the sample with audio; the last frame is held until the audio ends."""
    folder = tmp_path_factory.mktemp("held")
    run_ffmpeg(*tones([300], HELD, 48_000, "mono"), folder / "tone.wav")
    with VideoWriter(
        folder / "held.mp4", 512, 512, NTSC, audio=AudioTrack(folder / "tone.wav"), duration=HELD
    ) as writer:
        for number, image in enumerate(read_video(sample.driver)[0][:6]):
            writer.write(image, float(number / NTSC))
    return folder / "held.mp4"


def describe(path):
    """Return (number of frames, duration of the video, duration of the audio) in seconds."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        return stream.frames, float(stream.duration * stream.time_base), decode_channels(path, 1).shape[1] / 48_000


@pytest.mark.parametrize("is_source", [False, True])
def test_held_last_frame_lasts_to_the_end_of_the_audio(run_command, sample, held, tmp_path, is_source):
    inputs = (held, sample.portrait, "--audio", "source") if is_source else (sample.portrait, held)
    done = run_command("animate", *inputs[:2], "-o", "out.mp4", *SMALL, *inputs[2:])
    assert done.code == 0, done.err
    assert json.loads(done.out)["duration"] == pytest.approx(HELD, abs=0.001)
    frames, video, audio = describe(tmp_path / "out.mp4")
    assert frames == 6 and video == pytest.approx(HELD, abs=0.001) and audio == pytest.approx(HELD, abs=0.03)


def test_duration_cuts_a_held_frame(run_command, sample, held, tmp_path):
    done = run_command("animate", sample.portrait, held, "-o", "out.mp4", *SMALL, "--duration", "0.7")
    assert done.code == 0, done.err
    frames, video, audio = describe(tmp_path / "out.mp4")
    assert frames == 6 and video == pytest.approx(0.7, abs=0.001) and audio == pytest.approx(0.7, abs=0.03)


def test_edit_and_extract_keep_a_held_frame(run_command, held, tmp_path):
    done = run_command("edit", held, "-o", "out.mp4", "--set", "yaw=5", "--json")
    assert done.code == 0, done.err
    assert describe(tmp_path / "out.mp4")[1] == pytest.approx(HELD, abs=0.001)
    assert run_command("extract", held, "-o", "held.npz").code == 0
    assert MotionTrack.load(tmp_path / "held.npz").duration == pytest.approx(HELD, abs=0.001)


def test_joined_takes_are_animated_without_a_pause_and_noted(run_command, sample, tmp_path):
    content = b""
    for offset in (0, 600):
        take = tmp_path / f"{offset}.ts"
        run_ffmpeg("-i", sample.driver, "-c", "copy", "-output_ts_offset", offset, take)
        content += take.read_bytes()
    (tmp_path / "joined.ts").write_bytes(content)
    done = run_command("animate", sample.portrait, "joined.ts", "-o", "out.mp4", *SMALL)
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["frames"] == 28 and result["duration"] < 1.2
    assert any("joined.ts: the clock jumps once" in note for note in result["notes"])


def test_result_that_ends_with_a_shorter_driver_is_noted_and_the_driver_can_be_repeated(run_command, sample, tmp_path):
    short = ("animate", sample.driver, "short.mp4", *SMALL)
    with VideoWriter(tmp_path / "short.mp4", 512, 512, NTSC, audio=AudioTrack(sample.audio), duration=0.1668) as writer:
        for number, image in enumerate(read_video(sample.driver)[0][:5]):
            writer.write(image, float(number / NTSC))
    result = json.loads(run_command(*short, "-o", "a.mp4").out)
    assert result["frames"] == 5
    assert any(
        "lasts 0.17 s, the source 0.47 s; the result ends with the driver; --loop driver" in note
        for note in result["notes"]
    )
    result = json.loads(run_command(*short, "-o", "b.mp4", "--loop", "driver").out)
    assert result["frames"] == 14 and any("is repeated, its audio plays once" in note for note in result["notes"])
    assert describe(tmp_path / "b.mp4")[0] == 14
    result = json.loads(run_command(*short, "-o", "c.mp4", "--loop", "driver", "--audio", "source").out)
    assert not any("its audio plays once" in note for note in result["notes"])
    result = json.loads(run_command("animate", sample.driver, sample.driver, *SMALL, "-o", "d.mp4").out)
    assert not any("driver lasts" in note for note in result["notes"])


def test_variable_rate_lost_in_numbered_images_is_noted(run_command, sample, held, tmp_path):
    for driver, is_lost in ((held, True), (sample.driver, False)):
        folder = f"{is_lost}/%03d.png"
        result = json.loads(run_command("animate", sample.portrait, driver, "-o", folder, *SMALL).out)
        assert any("variable rate, which numbered images lose" in note for note in result["notes"]) == is_lost
