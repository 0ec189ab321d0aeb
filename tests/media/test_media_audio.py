"""Sound carried over: in sync whatever the source's clock, ending with the picture, copied where it can be."""

from fractions import Fraction

import av
import numpy as np
import pytest

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.media.audio import AudioTrack, has_audio
from mimaface_cli.media.reader import read_frames
from mimaface_cli.media.writer import VideoWriter
from tests.media.made_media import (
    SOUND_RATE,
    heard,
    lag,
    laid,
    make_clip,
    make_wav,
    noise,
    packets,
    picture_times,
    stamped,
)

RATE = Fraction(25)


def carry(source, target, count=60, start=0.0, duration=None, expected=None, rate=RATE):
    """A video of `count` frames with the sound of `source`; returns the writer."""
    track = AudioTrack(source, start, duration)
    with VideoWriter(target, 96, 64, rate, audio=track, duration=expected) as writer:
        for number in range(count):
            writer.write(stamped(number % 256), float(number / rate))
    return writer


def check_sync(target, sound, seconds, offset=0.0, alike=0.94, exact=0.0006):
    """`sound` is heard in `target` from time -offset on (its own second `offset` at time 0), up to `seconds`."""
    wanted = laid(-offset, sound, seconds)
    start, samples = heard(target)
    late, likeness = lag(laid(start, samples, seconds), wanted)
    assert abs(late) < exact and likeness > alike, (late, likeness)
    return start, start + len(samples) / SOUND_RATE


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".m4v"])
def test_aac_is_copied_untouched(tmp_path, suffix):
    sound = noise(4)
    source = make_clip(tmp_path / "a.mp4", 100, sound=sound)
    writer = carry(source, tmp_path / f"b{suffix}")
    assert writer.audio_copied is True and not writer.audio_damaged
    given, kept = packets(source, "audio"), packets(tmp_path / f"b{suffix}", "audio")
    assert len(kept) > 95 and b"".join(kept) in b"".join(given)
    start, end = check_sync(tmp_path / f"b{suffix}", sound, 2.4)
    assert 0 <= start <= 0.025 and 2.4 - 0.025 <= end <= 2.4 + 1e-3


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".webm", "opus"), (".mp4", "aac"), (".mkv", "pcm_s16le"), (".mov", "pcm_s16le")]
)
def test_wav_ends_with_the_picture(tmp_path, suffix, codec):
    sound = noise(3)
    source = make_wav(tmp_path / "a.wav", sound)
    target = tmp_path / f"b{suffix}"
    carry(source, target, 61, rate=Fraction(30000, 1001))
    seconds = 61 * 1001 / 30000
    with av.open(str(target)) as file:
        assert file.streams.audio[0].codec_context.codec.canonical_name == codec
    start, end = check_sync(target, sound, seconds)
    assert abs(start) < 0.002 and seconds - 0.025 <= end <= seconds + 0.025


def test_lossless_sound_stays_lossless_when_it_is_cut(tmp_path):
    sound = noise(3)
    source = make_wav(tmp_path / "a.wav", sound)
    for suffix in (".mkv", ".mov"):
        target = tmp_path / f"b{suffix}"
        assert carry(source, target, 40, start=0.7137).audio_copied is False
        _, samples = heard(target)
        _, given = heard(source)
        first = round(0.7137 * SOUND_RATE)
        assert len(samples) == round(1.6 * SOUND_RATE)
        assert np.array_equal(samples, given[first : first + len(samples)])


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize("start", [0.0, 0.5, 0.777])
@pytest.mark.parametrize("kind", ["mp4", "wav"])
def test_start_offset(tmp_path, suffix, start, kind):
    sound = noise(4)
    source = make_wav(tmp_path / "a.wav", sound) if kind == "wav" else make_clip(tmp_path / "a.mp4", 100, sound=sound)
    target = tmp_path / f"b{suffix}"
    carry(source, target, start=start)
    begin, end = check_sync(target, sound, 2.4, start)
    assert -0.002 <= begin <= 0.025 and abs(end - 2.4) <= 0.025


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize("source_suffix", [".mp4", ".mkv"])
def test_sound_that_starts_after_the_picture(tmp_path, suffix, source_suffix):
    sound = noise(3)
    source = make_clip(tmp_path / f"a{source_suffix}", 100, sound=sound, sound_start=0.6)
    base, samples = heard(source)
    assert base == pytest.approx(0.6, abs=0.03)
    carry(source, tmp_path / f"b{suffix}")
    check_sync(tmp_path / f"b{suffix}", samples, 2.4, -base)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_sound_that_starts_before_the_picture(tmp_path, suffix):
    """The picture's first frame comes at 0.48 s; sound from before it is not heard."""
    sound = noise(4)
    source = make_clip(tmp_path / "a.mp4", 80, times=list(range(12, 92)), sound=sound)
    assert picture_times(source)[0] == pytest.approx(0.48)
    carry(source, tmp_path / f"b{suffix}")
    check_sync(tmp_path / f"b{suffix}", sound, 2.4, 0.48)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_a_source_whose_edit_list_hides_frames(tmp_path, suffix):
    sound = noise(4)
    source = make_clip(tmp_path / "a.mp4", 100, times=list(range(-13, 87)), options={"bf": "3"}, sound=sound)
    carry(source, tmp_path / f"b{suffix}")
    check_sync(tmp_path / f"b{suffix}", sound, 2.4)


@pytest.mark.parametrize("source_suffix", [".mp4", ".mkv", ".ts", ".avi"])
def test_sources_of_many_containers(tmp_path, source_suffix):
    sound = noise(3)
    codec = {".avi": "mpeg4"}.get(source_suffix, "libx264")
    source = make_clip(tmp_path / f"a{source_suffix}", 75, codec=codec, sound=sound)
    base, samples = heard(source)  # what a player hears, against the source's own first frame
    for suffix in (".mp4", ".mkv", ".webm"):
        carry(source, tmp_path / f"b{suffix}", 50)
        check_sync(tmp_path / f"b{suffix}", samples, 2.0, -base)


@pytest.mark.parametrize("suffix", [".webm", ".mkv"])
def test_opus_is_copied(tmp_path, suffix):
    sound = noise(4, 48_000)
    source = make_wav(tmp_path / "a.ogg", sound, 48_000, "libopus")
    base, samples = heard(source)
    assert carry(source, tmp_path / f"b{suffix}").audio_copied is True
    _, end = check_sync(tmp_path / f"b{suffix}", samples, 2.4, exact=0.0011)  # its start is kept in whole milliseconds
    assert 2.4 - 0.025 <= end <= 2.4 + 0.008


def test_mp3_is_copied_and_a_wav_named_mp3_is_read(tmp_path):
    sound = noise(3)
    mp3 = make_wav(tmp_path / "a.mp3", sound, codec="libmp3lame")
    base, samples = heard(mp3)
    assert carry(mp3, tmp_path / "b.mkv", 50).audio_copied is False  # packets of 26 ms: too long
    check_sync(tmp_path / "b.mkv", samples, 2.0)
    assert carry(mp3, tmp_path / "c.mp4", 80, expected=80 / 25).audio_copied is True
    check_sync(tmp_path / "c.mp4", samples, 3.0)
    masked = make_wav(tmp_path / "d.wav", sound).rename(tmp_path / "d.mp3")
    assert has_audio(masked)
    carry(masked, tmp_path / "e.mp4", 50)
    check_sync(tmp_path / "e.mp4", sound, 2.0)


def test_long_packets_are_copied_only_when_the_picture_outlasts_them(tmp_path):
    sound = noise(3)
    flac = make_wav(tmp_path / "a.flac", sound, codec="flac")  # packets of 104 ms
    assert carry(flac, tmp_path / "a.mkv", 80, expected=80 / 25).audio_copied is True
    assert carry(flac, tmp_path / "b.mkv", 80).audio_copied is False
    assert carry(flac, tmp_path / "c.mkv", 50, expected=50 / 25).audio_copied is False
    for name, seconds in (("a.mkv", 3.2), ("b.mkv", 3.2), ("c.mkv", 2.0)):
        _, samples = heard(tmp_path / name)
        assert len(samples) == round(min(seconds, 3.0) * SOUND_RATE)
        check_sync(tmp_path / name, sound, seconds, alike=0.999)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_sound_shorter_than_the_picture_and_a_limited_track(tmp_path, suffix):
    sound = noise(1)
    source = make_clip(tmp_path / "a.mp4", 25, sound=sound)
    carry(source, tmp_path / f"b{suffix}", 75)
    assert len(picture_times(tmp_path / f"b{suffix}")) == 75
    _, end = check_sync(tmp_path / f"b{suffix}", sound, 3.0)
    assert end == pytest.approx(1.0, abs=0.03)
    carry(source, tmp_path / f"c{suffix}", 25, duration=0.5)
    _, samples = heard(tmp_path / f"c{suffix}")
    assert len(samples) / SOUND_RATE == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_gap_in_the_sound_stays_a_gap(tmp_path, suffix):
    sound = noise(2)
    source = tmp_path / "a.mkv"
    with av.open(str(source), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height = 96, 64
        speaker = out.add_stream("flac", rate=SOUND_RATE)
        speaker.layout = "mono"
        for number in range(75):
            frame = av.VideoFrame.from_ndarray(stamped(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for place in [*range(0, SOUND_RATE, 4608), *range(2 * SOUND_RATE, 3 * SOUND_RATE, 4608)]:
            kept = place if place < SOUND_RATE else place - SOUND_RATE
            frame = av.AudioFrame.from_ndarray(sound[None, kept : kept + 4608], "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, place, Fraction(1, SOUND_RATE)
            out.mux(speaker.encode(frame))
        out.mux(speaker.encode(None))
    carry(source, tmp_path / f"b{suffix}", 75)
    start, samples = heard(tmp_path / f"b{suffix}")
    clock = laid(start, samples, 3.0)
    late = sound[SOUND_RATE + 9000 : SOUND_RATE + 30000]
    place = 2 * SOUND_RATE + 9000
    assert abs(lag(clock[place : place + 21000], late)[0]) < 0.001
    assert np.abs(clock[int(1.4 * SOUND_RATE) : int(1.9 * SOUND_RATE)]).max() < 0.01


def test_damaged_sound_does_not_cost_the_picture_and_is_told(tmp_path):
    sound = noise(4)
    source = make_clip(tmp_path / "a.mp4", 100, sound=sound)
    with av.open(str(source)) as file:
        entries = list(file.streams.audio[0].index_entries)
    content = bytearray(source.read_bytes())
    for entry in entries[40:60]:
        content[entry.pos : entry.pos + entry.size] = b"\xff" * entry.size
    source.write_bytes(content)
    writer = carry(source, tmp_path / "b.webm", 60)
    assert writer.audio_copied is False and writer.audio_damaged
    assert sum(1 for _ in read_frames(tmp_path / "b.webm")) == 60
    start, samples = heard(tmp_path / "b.webm")
    tail = slice(int(1.6 * SOUND_RATE), int(2.3 * SOUND_RATE))
    assert abs(lag(laid(start, samples, 2.4)[tail], sound[tail])[0]) < 0.001


def test_odd_rates_and_stereo(tmp_path):
    sound = noise(2, 50_000)
    source = make_wav(tmp_path / "a.wav", sound, 50_000)
    carry(source, tmp_path / "b.mp4", 40)
    with av.open(str(tmp_path / "b.mp4")) as file:
        assert file.streams.audio[0].rate == 48_000 and file.streams.audio[0].layout.name == "mono"
    _, given = heard(source)
    check_sync(tmp_path / "b.mp4", given, 1.6)
    surround = tmp_path / "c.wav"
    with av.open(str(surround), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=16_000)
        stream.layout = "5.1"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 6 * 16_000), np.int16), "s16", "5.1")
        frame.sample_rate = 16_000
        out.mux(stream.encode(frame))
    carry(surround, tmp_path / "d.mp4", 20)
    with av.open(str(tmp_path / "d.mp4")) as file:
        stream = file.streams.audio[0]
        assert (stream.rate, stream.layout.name) == (48_000, "stereo")
        assert float(stream.duration * stream.time_base) == pytest.approx(0.8, abs=0.001)


def test_sound_and_picture_are_interleaved(tmp_path):
    source = make_clip(tmp_path / "a.mp4", 250, sound=noise(10))
    for suffix in (".mp4", ".webm"):
        carry(source, tmp_path / f"b{suffix}", 250)
        with av.open(str(tmp_path / f"b{suffix}")) as file:
            kinds = [packet.stream.type for packet in file.demux() if packet.size]
        runs = "".join(kind[0] for kind in kinds).replace("va", "v a").replace("av", "a v").split()
        assert max(len(run) for run in runs) < 150


def test_has_audio(tmp_path):
    assert has_audio(make_clip(tmp_path / "a.mp4", 10, sound=noise(0.4)))
    assert not has_audio(make_clip(tmp_path / "b.mp4", 10))
    assert has_audio(make_wav(tmp_path / "c.wav", noise(0.2))) and not has_audio(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        has_audio(tmp_path / "none.wav")


def test_a_track_without_sound_is_refused(tmp_path, clean):
    source = make_clip(tmp_path / "a.mp4", 10)
    (tmp_path / "words.wav").write_text("no sound at all")
    for path, words in ((source, "has no audio"), (tmp_path / "words.wav", "not a readable video or audio file")):
        with pytest.raises(InputError, match=words):
            carry(path, tmp_path / "b.mp4", 3)
    with pytest.raises(OutputError, match="no frames"):
        carry(make_wav(tmp_path / "c.wav", noise(0.2)), tmp_path / "b.mp4", 0)
    clean("a.mp4", "c.wav", "words.wav")


def test_a_track_beyond_its_end_gives_silence(tmp_path):
    source = make_wav(tmp_path / "a.wav", noise(1))
    for suffix in (".mp4", ".mkv", ".webm"):
        carry(source, tmp_path / f"b{suffix}", 10, start=5.0)
        assert len(picture_times(tmp_path / f"b{suffix}")) == 10
