"""Waveforms: equal samples for all formats, rates and channels; exact durations; damaged files; constant memory."""

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
from tests.media.synthetic_media import AUDIO_RATE, make_clip, make_noise, measure_delay


def make_tone(rate: int, seconds: float = 1.3, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def write_wav(path: Path, channels: np.ndarray, rate: int) -> Path:
    """Write channels (C, N) in -1..1 as 16-bit PCM; return the path."""
    with wave.open(str(path), "wb") as file:
        file.setparams((len(channels), 2, rate, 0, "NONE", ""))
        file.writeframes((channels.T * 32767).round().astype("<i2").tobytes())
    return path


def write_encoded(path: Path, codec: str, samples: np.ndarray, rate: int) -> Path:
    """Encode mono samples with any codec; return the path."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate)
        stream.layout = "mono"
        sample_format = stream.codec_context.codec.audio_formats[0].name
        resampler = av.AudioResampler(sample_format, "mono", rate, frame_size=1024)
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), "flt", "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return path


def read_all(path: Path) -> np.ndarray:
    with open_waveform(path) as waveform:
        return waveform.read(0, len(waveform))


def delay_seconds(samples: np.ndarray, reference: np.ndarray) -> float:
    return measure_delay(samples, reference, SAMPLE_RATE)[0]


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_sample_rate_gives_the_same_tone_and_the_exact_duration(tmp_path, rate, channels):
    tone = make_tone(rate)
    samples = read_all(write_wav(tmp_path / "a.wav", np.stack([tone] * channels), rate))
    assert len(samples) == -(-len(tone) * SAMPLE_RATE // rate)
    expected = make_tone(SAMPLE_RATE, 2)[: len(samples)]
    assert np.abs(samples - expected)[200:-200].max() < 2e-4


def test_stereo_becomes_the_mean_of_its_channels(tmp_path):
    left, right = make_tone(16_000, 1, 300), make_tone(16_000, 1, 700)
    samples = read_all(write_wav(tmp_path / "a.wav", np.stack([left, right]), 16_000))
    assert np.abs(samples - (left + right) / 2).max() < 1e-4


def test_surround_mix_contains_the_center_channel(tmp_path):
    tone = make_tone(16_000, 1, 300)
    surround = np.zeros((6, 16_000))
    surround[2] = tone  # front left, front right, center
    samples = read_all(write_wav(tmp_path / "b.wav", surround, 16_000))
    assert np.corrcoef(samples, tone)[0, 1] > 0.999 and samples.std() > 0.5 * tone.std()


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.flac", "flac"), ("a.mp3", "libmp3lame"), ("a.m4a", "aac"), ("a.ogg", "libopus")],
)
def test_every_codec_gives_the_same_samples(tmp_path, name, codec):
    noise = make_noise(2, 48_000)
    samples = read_all(write_encoded(tmp_path / name, codec, noise, 48_000))
    reference = read_all(write_wav(tmp_path / "reference.wav", noise[None], 48_000))
    assert abs(len(samples) - len(reference)) <= SAMPLE_RATE * 0.06
    assert abs(delay_seconds(samples, reference)) < 0.002


def test_wav_named_mp3_is_read_by_its_content(tmp_path):
    path = write_wav(tmp_path / "a.mp3", make_tone(16_000)[None], 16_000)
    assert len(read_all(path)) == len(make_tone(16_000))


@pytest.mark.parametrize("start", [0.0, 0.5])
def test_audio_of_a_video_counts_from_the_first_frame(tmp_path, start):
    noise = make_noise(2)
    samples = read_all(make_clip(tmp_path / "a.mp4", 75, audio=noise, audio_start=start))
    silent = round(start * SAMPLE_RATE)
    assert np.abs(samples[: max(silent - 800, 0)]).max(initial=0) < 1e-3
    reference = read_all(write_wav(tmp_path / "a.wav", noise[None], AUDIO_RATE))
    assert abs(delay_seconds(samples, reference) - start) < 0.002


def test_one_input_sample_gives_at_least_one_sample(tmp_path):
    for rate in (8_000, 48_000, 96_000):
        assert len(read_all(write_wav(tmp_path / "a.wav", np.full((1, 1), 0.5), rate))) >= 1


def test_clipped_and_silent_audio_is_read_unchanged(tmp_path):
    clipped = np.sign(make_tone(16_000))
    assert np.abs(read_all(write_wav(tmp_path / "a.wav", clipped[None], 16_000))).max() > 0.99
    assert not read_all(write_wav(tmp_path / "b.wav", np.zeros((1, 16_000)), 16_000)).any()


def test_file_without_audio_is_refused(tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_bytes(b"not audio at all" * 50)
    write_wav(tmp_path / "zero.wav", np.zeros((1, 0)), 16_000)
    make_clip(tmp_path / "silent.mp4", 5)
    for name, message in (
        ("empty.wav", "is empty"),
        ("text.wav", "not a readable video or audio file"),
        ("zero.wav", "0 seconds"),
        ("silent.mp4", "has no audio"),
    ):
        with pytest.raises(InputError, match=message), open_waveform(tmp_path / name):
            pass


def test_truncated_file_gives_the_remaining_samples(tmp_path):
    content = write_wav(tmp_path / "a.wav", make_tone(16_000, 2)[None], 16_000).read_bytes()
    (tmp_path / "truncated.wav").write_bytes(content[: len(content) // 2])
    assert 0.9 * SAMPLE_RATE < len(read_all(tmp_path / "truncated.wav")) < 1.1 * SAMPLE_RATE


def test_read_gives_zeros_beyond_both_ends():
    waveform = Waveform(io.BytesIO(np.arange(1, 4, dtype=np.float32).tobytes()), 3)
    assert waveform.read(-2, 5).tolist() == [0, 0, 1, 2, 3, 0, 0]
    assert waveform.read(5, 7).tolist() == [0, 0] and waveform.read(2, 1).tolist() == []


def test_memory_map_and_blocks_give_all_samples(tmp_path):
    path = write_wav(tmp_path / "a.wav", make_noise(11, 16_000)[None], 16_000)
    with open_waveform(path) as waveform:
        expected = waveform.read(0, len(waveform))
        assert np.array_equal(waveform.memory_map(), expected)
        assert np.array_equal(np.concatenate(list(waveform.blocks())), expected)


def test_memory_does_not_grow_with_the_duration(tmp_path):
    short = write_wav(tmp_path / "a.wav", make_noise(5, 16_000)[None], 16_000)
    with wave.open(str(tmp_path / "b.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        for _ in range(20):
            file.writeframes(short.read_bytes()[44:])
    peaks = []
    for path in (short, tmp_path / "b.wav"):
        tracemalloc.start()
        with open_waveform(path) as waveform:
            total = sum(float(np.square(block).sum()) for block in waveform.blocks())
        assert total > 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 3_000_000, peaks  # the longer one takes 6.4 MB
