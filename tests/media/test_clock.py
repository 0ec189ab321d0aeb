"""Clocks of files: jumps are closed, durations of last frames count, and rates come from the timestamps."""

from fractions import Fraction

import av
import numpy as np
import pytest

from mimaface_cli.media.audio import AudioTrack
from mimaface_cli.media.reader import probe, read_frames
from mimaface_cli.media.waveform import SAMPLE_RATE, open_waveform
from mimaface_cli.media.writer import VideoWriter
from tests.media.ffmpeg import run_ffmpeg
from tests.media.synthetic_media import (
    AUDIO_RATE,
    decode_audio,
    frame_times,
    make_clip,
    make_noise,
    measure_delay,
    read_stamp,
    stamped_frame,
)

RATE = Fraction(25)


def join_takes(path, offsets, muxer="mpegts"):
    """Join takes of one second, as `cat` does; each starts at its offset in seconds. Return the path."""
    content = b""
    for number, offset in enumerate(offsets):
        take = path.with_name(f"take{number}.mp4")
        make_clip(take, 25, audio=make_noise(1, seed=number + 1), options={"bf": "2", "g": "25"})
        part = path.with_name(f"take{number}.part")
        codecs = ["-c:v", "copy", "-c:a", "copy"] if muxer == "mpegts" else ["-c:v", "mpeg2video", "-c:a", "mp2"]
        run_ffmpeg("-i", take, *codecs, "-output_ts_offset", offset, "-f", muxer, part)
        content += part.read_bytes()
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("offsets", "jumps"),
    [([0, 600], 1), ([0, 0], 1), ([500, 0], 1), ([0, 3600, 20], 2), ([95_400, 0], 1), ([0, 1.2], 0)],
)
@pytest.mark.parametrize("muxer", ["mpegts", "vob"])
def test_joined_recordings_follow_each_other_whatever_their_clocks(tmp_path, offsets, jumps, muxer):
    path = join_takes(tmp_path / "a.ts", offsets, muxer)
    seconds = len(offsets)
    frames = list(read_frames(path))
    assert len(frames) == 25 * seconds and [read_stamp(frame.image) for frame in frames] == [*range(25)] * seconds
    steps = np.diff([frame.pts for frame in frames])
    assert steps.min() > 0.001 and steps.max() < 0.3  # takes end with audio or with video
    assert frames[-1].pts + frames[-1].duration == pytest.approx(seconds, abs=0.3)
    info = probe(path)
    assert info.duration == pytest.approx(seconds, abs=0.3) and info.frame_count == 25 * seconds
    if jumps or muxer == "mpegts":  # parts of a program stream overlap a little
        assert bool(info.notes) == bool(jumps)
    with open_waveform(path) as waveform:
        assert waveform.seconds == pytest.approx(seconds, abs=0.3)
        samples = waveform.read(0, len(waveform))
    for number in range(seconds):  # the audio of each take starts with its video
        first = float(frames[25 * number].pts)
        noise = make_noise(1, seed=number + 1)
        reference = np.interp(np.arange(SAMPLE_RATE) / SAMPLE_RATE, np.arange(len(noise)) / AUDIO_RATE, noise)
        delay, correlation = measure_delay(samples[round(first * SAMPLE_RATE) :], reference, SAMPLE_RATE)
        assert abs(delay) < 0.08 and correlation > 0.3, number


def test_audio_of_a_file_with_a_jump_lasts_as_long_as_its_video(tmp_path):
    path = join_takes(tmp_path / "a.ts", [0, 600])
    with VideoWriter(tmp_path / "b.mp4", 96, 64, RATE, audio=AudioTrack(path), duration=2.0) as writer:
        for number in range(50):
            writer.write(stamped_frame(number), number / 25)
    _, samples = decode_audio(tmp_path / "b.mp4")
    assert len(samples) / AUDIO_RATE == pytest.approx(2.0, abs=0.05)


def test_reading_from_a_time_after_a_jump_gives_the_frames_of_that_time(tmp_path):
    path = join_takes(tmp_path / "a.ts", [0, 600, 0, 900])
    whole = list(read_frames(path))
    late = list(read_frames(path, start=3.1))
    assert [frame.pts for frame in late] == [frame.pts for frame in whole if frame.pts >= 3.099]


def test_gap_below_the_limit_stays_a_gap(tmp_path):
    frames = list(read_frames(join_takes(tmp_path / "a.ts", [0, 5])))
    assert max(np.diff([frame.pts for frame in frames])) == pytest.approx(4.04, abs=0.1)
    assert probe(tmp_path / "a.ts").notes == ()


def write_held(path, hold, count=25):
    """Write frames of 40 ms and a last one of `hold` seconds; return the duration."""
    duration = (count - 1) / 25 + hold
    with VideoWriter(path, 96, 64, RATE, duration=duration) as writer:
        for number in range(count):
            writer.write(stamped_frame(number), number / 25)
    return duration


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("count", [1, 2, 4, 6, 25])
def test_last_frame_is_held_as_long_as_the_file_states(tmp_path, suffix, count):
    path = tmp_path / f"a{suffix}"
    duration = write_held(path, 1.04, count)
    frames = list(read_frames(path))
    assert frames[-1].pts + frames[-1].duration == pytest.approx(duration, abs=0.001)
    assert probe(path).duration == pytest.approx(duration, abs=0.001)
    assert [frame.duration for frame in frames[:-1]] == pytest.approx([0.04] * (count - 1), abs=0.001)


def test_last_frame_of_a_gif_is_held(tmp_path):
    run_ffmpeg("-i", make_clip(tmp_path / "a.mp4", 10, Fraction(10)), "-final_delay", 200, tmp_path / "a.gif")
    frames = list(read_frames(tmp_path / "a.gif"))
    assert len(frames) == 10 and frames[-1].pts + frames[-1].duration == pytest.approx(2.9)


def test_span_cuts_a_long_last_frame(tmp_path):
    write_held(tmp_path / "a.mp4", 1.04)
    for seconds, end in ((1.5, 1.5), (0.5, 0.52), (9.0, 2.0), (0.96, 0.96)):
        last = list(read_frames(tmp_path / "a.mp4", duration=seconds))[-1]
        assert last.pts + last.duration == pytest.approx(end, abs=0.021)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("gap", [1, 2, 12, 18, 19])
def test_dropped_frame_gives_no_frame_of_an_instant(tmp_path, suffix, gap):
    """The encoder reorders frames, and MP4 adds up the steps between them in coding order."""
    times = [number + 4 * (number >= gap) for number in range(20)]
    path = tmp_path / f"a{suffix}"
    with VideoWriter(path, 96, 64, RATE, duration=24 / 25) as writer:
        for number, time in enumerate(times):
            writer.write(stamped_frame(number), time / 25)
    with av.open(str(path)) as file:
        packets = [packet for packet in file.demux(video=0) if packet.size]
        assert min(float(packet.duration * packet.time_base) for packet in packets) > 0.039
        assert file.duration / 1e6 == pytest.approx(24 / 25, abs=0.002)
    assert frame_times(path) == pytest.approx([time / 25 for time in times], abs=0.001)


def make_browser_clip(path, times):
    """Write a WebM as browsers do: whole milliseconds, no durations, no frame rate."""
    ticks = Fraction(1, 1000)
    with av.open(str(path), "w", format="webm", container_options={"live": "1"}) as out:
        stream = out.add_stream("libvpx-vp9", rate=1000, options={"deadline": "realtime", "cpu-used": "8"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.time_base = ticks
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(stamped_frame(number), format="rgb24")
            frame.pts, frame.time_base = time, ticks
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


JITTER = np.random.default_rng(3).integers(-6, 7, 60)


@pytest.mark.parametrize(
    ("times", "rate", "varies"),
    [
        ([round(i * 1000 / 30) for i in range(60)], Fraction(30), False),
        ([round(i * 1001 / 30) for i in range(400)], Fraction(30000, 1001), False),
        ([round(i * 1000 / 60) for i in range(60)], Fraction(60), False),
        ([round(i * 1000 / 30) + int(JITTER[i]) * (i > 0) for i in range(60)], Fraction(30), True),
        ([round(i * 1000 / 30) for i in range(60) if i % 7], Fraction(30), True),  # dropped frames
        ([i * 111 for i in range(20)], Fraction(1000, 111), False),
    ],
)
def test_rate_of_a_browser_recording_comes_from_its_timestamps(tmp_path, times, rate, varies):
    info = probe(make_browser_clip(tmp_path / "a.webm", times))
    assert abs(float(info.frame_rate / rate) - 1) < 0.02 and info.variable_rate is varies
    if not varies:
        assert info.frame_rate == rate


def test_result_of_a_browser_recording_has_an_ordinary_level(tmp_path):
    info = probe(make_browser_clip(tmp_path / "a.webm", [round(i * 1000 / 30) for i in range(30)]))
    with VideoWriter(tmp_path / "b.mp4", 96, 64, info.frame_rate) as writer:
        for frame in read_frames(tmp_path / "a.webm"):
            writer.write(frame.image, frame.pts)
    with av.open(str(tmp_path / "b.mp4")) as file:
        assert file.streams.video[0].average_rate == 30
        assert file.streams.video[0].codec_context.extradata[3] <= 21  # the level in avcC, times ten


def test_rate_of_a_single_frame_is_plausible(tmp_path):
    assert probe(make_browser_clip(tmp_path / "a.webm", [0])).frame_rate <= 60


def test_variable_rate_keeps_the_rate_of_its_typical_step(tmp_path):
    clip = make_clip(tmp_path / "a.mp4", 30, times=[*range(29), 60])
    assert probe(clip).frame_rate == 25 and probe(clip).variable_rate is True
