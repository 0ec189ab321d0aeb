"""Sound in: the same speech whatever the file's kind, rate and channels; exact lengths; damage and hostile files."""

import io
import tracemalloc
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.media.waveform import SAMPLE_RATE, Waveform, open_waveform
from tests.media.made_media import SOUND_RATE, make_clip, noise


def tone(rate: int, seconds: float = 1.3, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def wav(path: Path, channels: np.ndarray, rate: int) -> Path:
    """channels: C × n in -1..1."""
    with wave.open(str(path), "wb") as file:
        file.setparams((len(channels), 2, rate, 0, "NONE", ""))
        file.writeframes((channels.T * 32767).round().astype("<i2").tobytes())
    return path


def encoded(path: Path, codec: str, samples: np.ndarray, rate: int) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate)
        stream.layout = "mono"
        form = stream.codec_context.codec.audio_formats[0].name
        resampler = av.AudioResampler(form, "mono", rate, frame_size=1024)
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), "flt", "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return path


def late_by(heard: np.ndarray, reference: np.ndarray) -> float:
    """Seconds by which one sound is later than the other."""
    size = 2 * max(len(heard), len(reference))
    alike = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(reference, size)))
    late = int(np.argmax(alike))
    return (late if late < size // 2 else late - size) / SAMPLE_RATE


def read(path: Path) -> np.ndarray:
    with open_waveform(path) as samples:
        return samples.read(0, len(samples))


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_rate_gives_the_same_tone_at_its_exact_length(tmp_path, rate, channels):
    sound = tone(rate)
    heard = read(wav(tmp_path / "a.wav", np.stack([sound] * channels), rate))
    assert len(heard) == -(-len(sound) * SAMPLE_RATE // rate)
    wanted = tone(SAMPLE_RATE, 2)[: len(heard)]
    assert np.abs(heard - wanted)[200:-200].max() < 2e-4


def test_stereo_is_the_mean_and_surround_keeps_the_center(tmp_path):
    left, right = tone(16_000, 1, 300), tone(16_000, 1, 700)
    heard = read(wav(tmp_path / "a.wav", np.stack([left, right]), 16_000))
    assert np.abs(heard - (left + right) / 2).max() < 1e-4
    surround = np.zeros((6, 16_000))
    surround[2] = left  # front left, front right, center
    heard = read(wav(tmp_path / "b.wav", surround, 16_000))
    assert np.corrcoef(heard, left)[0, 1] > 0.999 and heard.std() > 0.5 * left.std()


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.flac", "flac"), ("a.mp3", "libmp3lame"), ("a.m4a", "aac"), ("a.ogg", "libopus")],
)
def test_codecs(tmp_path, name, codec):
    sound = noise(2, 48_000)
    path = encoded(tmp_path / name, codec, sound, 48_000)
    heard = read(path)
    reference = read(wav(tmp_path / "reference.wav", sound[None], 48_000))
    assert abs(len(heard) - len(reference)) <= SAMPLE_RATE * 0.06
    assert abs(late_by(heard, reference)) < 0.002


def test_an_mp3_that_is_a_wav(tmp_path):
    path = wav(tmp_path / "a.mp3", tone(16_000)[None], 16_000)
    assert len(read(path)) == len(tone(16_000))


@pytest.mark.parametrize("late", [0.0, 0.5])
def test_a_video_counts_from_its_first_picture(tmp_path, late):
    sound = noise(2)
    heard = read(make_clip(tmp_path / "a.mp4", 75, sound=sound, sound_start=late))
    quiet = round(late * SAMPLE_RATE)
    assert np.abs(heard[: max(quiet - 800, 0)]).max(initial=0) < 1e-3
    reference = read(wav(tmp_path / "a.wav", sound[None], SOUND_RATE))
    assert abs(late_by(heard, reference) - late) < 0.002


def test_one_sample_is_some_sound(tmp_path):
    for rate in (8_000, 48_000, 96_000):
        assert len(read(wav(tmp_path / "a.wav", np.full((1, 1), 0.5), rate))) >= 1


def test_clipping_and_silence_are_sounds(tmp_path):
    loud = np.sign(tone(16_000))
    assert np.abs(read(wav(tmp_path / "a.wav", loud[None], 16_000))).max() > 0.99
    assert not read(wav(tmp_path / "b.wav", np.zeros((1, 16_000)), 16_000)).any()


def test_what_holds_no_sound_is_one_line(tmp_path):
    for name, content, says in (
        ("none.wav", b"", "is empty"),
        ("zero.wav", wav(tmp_path / "zero.wav", np.zeros((1, 0)), 16_000).read_bytes(), "0 seconds"),
        ("text.wav", b"not a sound at all" * 50, "not a readable video or audio file"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=says), open_waveform(tmp_path / name):
            pass
    with pytest.raises(InputError, match="has no audio"), open_waveform(make_clip(tmp_path / "mute.mp4", 5)):
        pass


def test_a_file_cut_short_gives_what_is_there(tmp_path):
    whole = wav(tmp_path / "a.wav", tone(16_000, 2)[None], 16_000).read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    assert 0.9 * SAMPLE_RATE < len(read(tmp_path / "cut.wav")) < 1.1 * SAMPLE_RATE


def test_reading_beyond_the_ends_is_silent():
    samples = Waveform(io.BytesIO(np.arange(1, 4, dtype=np.float32).tobytes()), 3)
    assert samples.read(-2, 5).tolist() == [0, 0, 1, 2, 3, 0, 0]
    assert samples.read(5, 7).tolist() == [0, 0] and samples.read(2, 1).tolist() == []


def test_memory_does_not_grow_with_the_sound(tmp_path):
    short = wav(tmp_path / "a.wav", noise(5, 16_000)[None], 16_000)
    with wave.open(str(tmp_path / "b.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        for _ in range(20):
            file.writeframes(short.read_bytes()[44:])
    peaks = []
    for path in (short, tmp_path / "b.wav"):
        tracemalloc.start()
        with open_waveform(path) as samples:
            total = sum(float(np.square(block).sum()) for block in samples.blocks())
        assert total > 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 3_000_000, peaks  # the longer one takes 6.4 MB
