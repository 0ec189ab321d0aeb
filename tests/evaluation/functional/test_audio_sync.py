"""Lags of mouth and audio that were shifted by a known time."""

import numpy as np
import pytest

from mimaface_cli.evaluation.functional.audio_sync import (
    AUDIO_RATE,
    audio_mouth_lag,
    sampled_curve_lag,
    speech_envelope,
)

MOUTH_RATE = 25  # frames per second


def make_speech(duration: float, lateness: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return samples whose loudness follows a mouth `lateness` seconds later, and the mouth's times and openings."""
    rng = np.random.default_rng(seed)
    clock = np.arange(int((duration + 2) * 100)) / 100
    starts = np.arange(0.3, duration + 2, 0.24)
    starts = starts + rng.normal(0, 0.05, len(starts))
    syllables = sum(np.exp(-0.5 * ((clock - start) / 0.06) ** 2) * rng.uniform(0.4, 1) for start in starts)
    samples = np.arange(int(duration * AUDIO_RATE)) / AUDIO_RATE
    audio = np.interp(samples - lateness + 1, clock, syllables) * rng.normal(0, 0.2, len(samples))
    times = np.arange(int(duration * MOUTH_RATE)) / MOUTH_RATE
    return audio.astype(np.float32), times, np.interp(times + 1, clock, syllables)


@pytest.mark.parametrize("lateness", [0.0, 0.08, -0.12, 0.3])
def test_audio_mouth_lag_equals_known_shift(lateness):
    audio, times, mouth = make_speech(8.0, lateness)
    lag = audio_mouth_lag(speech_envelope([audio]), mouth, times)
    assert lag.is_reliable and lag.offset == pytest.approx(lateness, abs=0.02)


def test_audio_mouth_lag_is_unreliable_for_noise_and_other_speech():
    _, times, mouth = make_speech(8.0, 0.0)
    other_speech, _, _ = make_speech(8.0, 0.0, seed=5)
    noise = np.random.default_rng(1).normal(0, 0.1, 8 * AUDIO_RATE).astype(np.float32)
    assert not audio_mouth_lag(speech_envelope([noise]), mouth, times).is_reliable
    assert audio_mouth_lag(speech_envelope([other_speech]), mouth, times).correlation < 0.6


def test_audio_mouth_lag_is_none_for_short_or_constant_curves():
    audio, times, mouth = make_speech(8.0, 0.0)
    assert audio_mouth_lag(speech_envelope([audio[: AUDIO_RATE // 2]]), mouth, times) is None
    assert audio_mouth_lag(speech_envelope([audio]), np.ones_like(mouth), times) is None
    assert audio_mouth_lag(speech_envelope([np.zeros_like(audio)]), mouth, times) is None
    assert audio_mouth_lag(speech_envelope([]), mouth, times) is None


def test_speech_envelope_does_not_depend_on_block_size():
    audio, _, _ = make_speech(3.0, 0.0)
    assert np.allclose(speech_envelope([audio[:AUDIO_RATE], audio[AUDIO_RATE:]]), speech_envelope([audio]))


def test_speech_envelope_measures_the_speech_band():
    clock = np.arange(2 * AUDIO_RATE) / AUDIO_RATE
    voice = 0.02 * np.sin(2 * np.pi * 900 * clock)

    def rise(pitch: float) -> float:
        envelope = speech_envelope([voice + np.sin(2 * np.pi * pitch * clock) * (clock > 1)])
        return float(envelope[110:190].mean() / envelope[10:90].mean())

    assert rise(1000) > 5 and rise(30) < 0.5 * rise(1000) and rise(7000) < 0.4 * rise(1000)


def test_sampled_curve_lag_equals_known_shift_at_different_rates():
    _, times, mouth = make_speech(6.0, 0.0)
    delayed = np.interp(times - 0.13, times, mouth)
    ntsc_times = np.arange(int(6 * 29.97)) / 29.97
    lag = sampled_curve_lag(np.interp(ntsc_times, times, delayed), ntsc_times, mouth, times)
    assert lag.offset == pytest.approx(0.13, abs=0.005) and lag.correlation > 0.95
    assert sampled_curve_lag(mouth, times, delayed, times).offset == pytest.approx(-0.13, abs=0.005)
