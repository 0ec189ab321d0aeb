"""Audio of output videos: in sync for every clock of the source, ending with the video, copied where possible."""

from fractions import Fraction

import av
import numpy as np
import pytest

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.media.audio import AudioTrack
from mimaface_cli.media.reader import read_frames
from mimaface_cli.media.writer import VideoWriter
from tests.media.synthetic_media import (
    AUDIO_RATE,
    NTSC,
    coded_packets,
    decode_audio,
    frame_times,
    make_audio,
    make_clip,
    make_noise,
    measure_delay,
    place_on_timeline,
    stamped_frame,
)

RATE = Fraction(25)


def write_with_audio(source, target, count=60, *, start=0.0, duration=None, expected=None, rate=RATE):
    """Write a video of `count` frames with the audio of `source`; return the writer."""
    track = AudioTrack(source, start, duration)
    with VideoWriter(target, 96, 64, rate, audio=track, duration=expected) as writer:
        for number in range(count):
            writer.write(stamped_frame(number % 256), float(number / rate))
    return writer


def check_sync(target, samples, seconds, *, offset=0.0, correlation=0.94, tolerance=0.0006):
    """Check that a file plays the samples from second `offset` on, up to `seconds`; return its start and end."""
    expected = place_on_timeline(-offset, samples, seconds)
    start, decoded = decode_audio(target)
    delay, measured = measure_delay(place_on_timeline(start, decoded, seconds), expected)
    assert abs(delay) < tolerance and measured > correlation, (delay, measured)
    return start, start + len(decoded) / AUDIO_RATE


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".m4v"])
def test_aac_is_copied_without_re_encoding(tmp_path, suffix):
    samples = make_noise(4)
    source = make_clip(tmp_path / "a.mp4", 100, audio=samples)
    writer = write_with_audio(source, tmp_path / f"b{suffix}")
    assert writer.audio_copied is True and not writer.audio_damaged
    copied = coded_packets(tmp_path / f"b{suffix}", "audio")
    assert len(copied) > 95 and b"".join(copied) in b"".join(coded_packets(source, "audio"))
    start, end = check_sync(tmp_path / f"b{suffix}", samples, 2.4)
    assert 0 <= start <= 0.025 and 2.4 - 0.025 <= end <= 2.4 + 1e-3


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".webm", "opus"), (".mp4", "aac"), (".mkv", "pcm_s16le"), (".mov", "pcm_s16le")]
)
def test_wav_audio_ends_with_the_video(tmp_path, suffix, codec):
    samples = make_noise(3)
    source = make_audio(tmp_path / "a.wav", samples)
    target = tmp_path / f"b{suffix}"
    write_with_audio(source, target, 61, rate=NTSC)
    seconds = float(61 / NTSC)
    with av.open(str(target)) as file:
        assert file.streams.audio[0].codec_context.codec.canonical_name == codec
    start, end = check_sync(target, samples, seconds)
    assert abs(start) < 0.002 and seconds - 0.025 <= end <= seconds + 0.025


def test_lossless_audio_stays_lossless_when_cut(tmp_path):
    source = make_audio(tmp_path / "a.wav", make_noise(3))
    for suffix in (".mkv", ".mov"):
        target = tmp_path / f"b{suffix}"
        assert write_with_audio(source, target, 40, start=0.7137).audio_copied is False
        _, cut = decode_audio(target)
        _, original = decode_audio(source)
        first = round(0.7137 * AUDIO_RATE)
        assert len(cut) == round(1.6 * AUDIO_RATE)
        assert np.array_equal(cut, original[first : first + len(cut)])


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize("start", [0.0, 0.5, 0.777])
@pytest.mark.parametrize("kind", ["mp4", "wav"])
def test_start_shifts_the_audio(tmp_path, suffix, start, kind):
    samples = make_noise(4)
    if kind == "wav":
        source = make_audio(tmp_path / "a.wav", samples)
    else:
        source = make_clip(tmp_path / "a.mp4", 100, audio=samples)
    target = tmp_path / f"b{suffix}"
    write_with_audio(source, target, start=start)
    first, end = check_sync(target, samples, 2.4, offset=start)
    assert -0.002 <= first <= 0.025 and abs(end - 2.4) <= 0.025


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize("source_suffix", [".mp4", ".mkv"])
def test_audio_that_starts_after_the_video_stays_in_sync(tmp_path, suffix, source_suffix):
    source = make_clip(tmp_path / f"a{source_suffix}", 100, audio=make_noise(3), audio_start=0.6)
    start, samples = decode_audio(source)
    assert start == pytest.approx(0.6, abs=0.03)
    write_with_audio(source, tmp_path / f"b{suffix}")
    check_sync(tmp_path / f"b{suffix}", samples, 2.4, offset=-start)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_audio_before_the_first_frame_is_cut(tmp_path, suffix):
    samples = make_noise(4)
    source = make_clip(tmp_path / "a.mp4", 80, times=list(range(12, 92)), audio=samples)
    assert frame_times(source)[0] == pytest.approx(0.48)
    write_with_audio(source, tmp_path / f"b{suffix}")
    check_sync(tmp_path / f"b{suffix}", samples, 2.4, offset=0.48)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_audio_of_a_source_with_an_edit_list_stays_in_sync(tmp_path, suffix):
    samples = make_noise(4)
    source = make_clip(tmp_path / "a.mp4", 100, times=list(range(-13, 87)), options={"bf": "3"}, audio=samples)
    write_with_audio(source, tmp_path / f"b{suffix}")
    check_sync(tmp_path / f"b{suffix}", samples, 2.4)


@pytest.mark.parametrize("source_suffix", [".mp4", ".mkv", ".ts", ".avi"])
def test_audio_of_every_source_container_stays_in_sync(tmp_path, source_suffix):
    codec = {".avi": "mpeg4"}.get(source_suffix, "libx264")
    source = make_clip(tmp_path / f"a{source_suffix}", 75, codec=codec, audio=make_noise(3))
    start, samples = decode_audio(source)  # as a player plays it, from the source's first frame
    for suffix in (".mp4", ".mkv", ".webm"):
        write_with_audio(source, tmp_path / f"b{suffix}", 50)
        check_sync(tmp_path / f"b{suffix}", samples, 2.0, offset=-start)


@pytest.mark.parametrize("suffix", [".webm", ".mkv"])
def test_opus_is_copied_without_re_encoding(tmp_path, suffix):
    source = make_audio(tmp_path / "a.ogg", make_noise(4, 48_000), 48_000, "libopus")
    _, samples = decode_audio(source)
    assert write_with_audio(source, tmp_path / f"b{suffix}").audio_copied is True
    # The container stores the start in whole milliseconds.
    _, end = check_sync(tmp_path / f"b{suffix}", samples, 2.4, tolerance=0.0011)
    assert 2.4 - 0.025 <= end <= 2.4 + 0.008


def test_mp3_is_copied_only_if_the_video_is_known_to_outlast_it(tmp_path):
    mp3 = make_audio(tmp_path / "a.mp3", make_noise(3), codec="libmp3lame")
    _, samples = decode_audio(mp3)
    assert write_with_audio(mp3, tmp_path / "b.mkv", 50).audio_copied is False  # packets of 26 ms: too long
    check_sync(tmp_path / "b.mkv", samples, 2.0)
    assert write_with_audio(mp3, tmp_path / "c.mp4", 80, expected=80 / 25).audio_copied is True
    check_sync(tmp_path / "c.mp4", samples, 3.0)


def test_wav_named_mp3_is_read_by_its_content(tmp_path):
    samples = make_noise(2.5)
    source = make_audio(tmp_path / "d.wav", samples).rename(tmp_path / "d.mp3")
    write_with_audio(source, tmp_path / "e.mp4", 50)
    check_sync(tmp_path / "e.mp4", samples, 2.0)


def test_long_packets_are_copied_only_if_the_video_is_known_to_outlast_them(tmp_path):
    samples = make_noise(3)
    flac = make_audio(tmp_path / "a.flac", samples, codec="flac")  # packets of 104 ms
    assert write_with_audio(flac, tmp_path / "a.mkv", 80, expected=80 / 25).audio_copied is True
    assert write_with_audio(flac, tmp_path / "b.mkv", 80).audio_copied is False
    assert write_with_audio(flac, tmp_path / "c.mkv", 50, expected=50 / 25).audio_copied is False
    for name, seconds in (("a.mkv", 3.2), ("b.mkv", 3.2), ("c.mkv", 2.0)):
        _, decoded = decode_audio(tmp_path / name)
        assert len(decoded) == round(min(seconds, 3.0) * AUDIO_RATE)
        check_sync(tmp_path / name, samples, seconds, correlation=0.999)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_audio_shorter_than_the_video_does_not_shorten_it(tmp_path, suffix):
    samples = make_noise(1)
    source = make_clip(tmp_path / "a.mp4", 25, audio=samples)
    write_with_audio(source, tmp_path / f"b{suffix}", 75)
    assert len(frame_times(tmp_path / f"b{suffix}")) == 75
    _, end = check_sync(tmp_path / f"b{suffix}", samples, 3.0)
    assert end == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_duration_of_a_track_limits_its_audio(tmp_path, suffix):
    source = make_clip(tmp_path / "a.mp4", 25, audio=make_noise(1))
    write_with_audio(source, tmp_path / f"c{suffix}", 25, duration=0.5)
    _, decoded = decode_audio(tmp_path / f"c{suffix}")
    assert len(decoded) / AUDIO_RATE == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_gap_in_the_audio_becomes_silence_of_the_same_duration(tmp_path, suffix):
    samples = make_noise(2)
    source = tmp_path / "a.mkv"
    with av.open(str(source), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height = 96, 64
        audio = out.add_stream("flac", rate=AUDIO_RATE)
        audio.layout = "mono"
        for number in range(75):
            frame = av.VideoFrame.from_ndarray(stamped_frame(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        # The second half starts a second late.
        for pts in [*range(0, AUDIO_RATE, 4608), *range(2 * AUDIO_RATE, 3 * AUDIO_RATE, 4608)]:
            first = pts if pts < AUDIO_RATE else pts - AUDIO_RATE
            frame = av.AudioFrame.from_ndarray(samples[None, first : first + 4608], "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, pts, Fraction(1, AUDIO_RATE)
            out.mux(audio.encode(frame))
        out.mux(audio.encode(None))
    write_with_audio(source, tmp_path / f"b{suffix}", 75)
    timeline = place_on_timeline(*decode_audio(tmp_path / f"b{suffix}"), 3.0)
    late = samples[AUDIO_RATE + 9000 : AUDIO_RATE + 30000]
    first = 2 * AUDIO_RATE + 9000
    assert abs(measure_delay(timeline[first : first + 21000], late)[0]) < 0.001
    assert np.abs(timeline[int(1.4 * AUDIO_RATE) : int(1.9 * AUDIO_RATE)]).max() < 0.01


def test_damaged_audio_is_reported_and_does_not_abort_the_video(tmp_path):
    samples = make_noise(4)
    source = make_clip(tmp_path / "a.mp4", 100, audio=samples)
    with av.open(str(source)) as file:
        entries = list(file.streams.audio[0].index_entries)
    content = bytearray(source.read_bytes())
    for entry in entries[40:60]:
        content[entry.pos : entry.pos + entry.size] = b"\xff" * entry.size
    source.write_bytes(content)
    writer = write_with_audio(source, tmp_path / "b.webm", 60)
    assert writer.audio_copied is False and writer.audio_damaged
    assert sum(1 for _ in read_frames(tmp_path / "b.webm")) == 60
    timeline = place_on_timeline(*decode_audio(tmp_path / "b.webm"), 2.4)
    tail = slice(int(1.6 * AUDIO_RATE), int(2.3 * AUDIO_RATE))
    assert abs(measure_delay(timeline[tail], samples[tail])[0]) < 0.001


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_flac_without_its_stream_description_is_encoded_again(tmp_path, suffix):
    content = make_audio(tmp_path / "a.flac", make_noise(3), codec="flac").read_bytes()
    block, is_last = 4, False
    while not is_last:  # a block has a byte of type and 3 bytes of size
        is_last = bool(content[block] & 0x80)
        block += 4 + int.from_bytes(content[block + 1 : block + 4], "big")
    (tmp_path / "frames.flac").write_bytes(content[block:])
    with av.open(str(tmp_path / "frames.flac")) as file:
        assert not file.streams.audio[0].codec_context.extradata
    writer = write_with_audio(tmp_path / "frames.flac", tmp_path / f"b{suffix}", 50, expected=2.0)
    assert writer.audio_copied is False
    assert len(decode_audio(tmp_path / f"b{suffix}")[1]) >= 1.9 * AUDIO_RATE


def test_unusual_sample_rates_are_converted_to_48_khz(tmp_path):
    source = make_audio(tmp_path / "a.wav", make_noise(2, 50_000), 50_000)
    write_with_audio(source, tmp_path / "b.mp4", 40)
    with av.open(str(tmp_path / "b.mp4")) as file:
        assert file.streams.audio[0].rate == 48_000 and file.streams.audio[0].layout.name == "mono"
    _, samples = decode_audio(source)
    check_sync(tmp_path / "b.mp4", samples, 1.6)


def test_audio_and_video_are_interleaved(tmp_path):
    source = make_clip(tmp_path / "a.mp4", 250, audio=make_noise(10))
    for suffix in (".mp4", ".webm"):
        write_with_audio(source, tmp_path / f"b{suffix}", 250)
        with av.open(str(tmp_path / f"b{suffix}")) as file:
            kinds = [packet.stream.type for packet in file.demux() if packet.size]
        runs = "".join(kind[0] for kind in kinds).replace("va", "v a").replace("av", "a v").split()
        assert max(len(run) for run in runs) < 150


def test_track_without_audio_is_refused_and_nothing_is_written(tmp_path, assert_folder_holds):
    silent = make_clip(tmp_path / "a.mp4", 10)
    (tmp_path / "words.wav").write_text("no audio at all")
    for path, message in ((silent, "has no audio"), (tmp_path / "words.wav", "not a readable video or audio file")):
        with pytest.raises(InputError, match=message):
            write_with_audio(path, tmp_path / "b.mp4", 3)
    with pytest.raises(OutputError, match="no frames"):
        write_with_audio(make_audio(tmp_path / "c.wav", make_noise(0.2)), tmp_path / "b.mp4", 0)
    assert_folder_holds("a.mp4", "c.wav", "words.wav")


def test_track_that_starts_beyond_its_end_gives_silence(tmp_path):
    source = make_audio(tmp_path / "a.wav", make_noise(1))
    for suffix in (".mp4", ".mkv", ".webm"):
        write_with_audio(source, tmp_path / f"b{suffix}", 10, start=5.0)
        assert len(frame_times(tmp_path / f"b{suffix}")) == 10
