"""Sound that was shifted by a known time is found to be."""

import numpy as np
import pytest

from mimaface_cli.evaluation.functional.audio_sync import RATE, curve_lag, speech_envelope, sync_offset


def speech(seconds: float, late: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples whose loudness follows a mouth `late` seconds before them; times and openings of the mouth at 25 a second."""
    draw = np.random.default_rng(seed)
    clock = np.arange(int((seconds + 2) * 100)) / 100
    syllables = sum(
        np.exp(-0.5 * ((clock - at) / 0.06) ** 2) * draw.uniform(0.4, 1)
        for at in np.arange(0.3, seconds + 2, 0.24) + draw.normal(0, 0.05, len(np.arange(0.3, seconds + 2, 0.24)))
    )
    samples = np.arange(int(seconds * RATE)) / RATE
    loud = np.interp(samples - late + 1, clock, syllables)
    sound = loud * draw.normal(0, 0.2, len(samples))
    times = np.arange(int(seconds * 25)) / 25
    return sound.astype(np.float32), times, np.interp(times + 1, clock, syllables)


@pytest.mark.parametrize("late", [0.0, 0.08, -0.12, 0.3])
def test_a_known_shift_is_found(late):
    sound, times, mouth = speech(8.0, late)
    found = sync_offset(speech_envelope([sound]), mouth, times)
    assert found.sure and found.offset == pytest.approx(late, abs=0.02)


def test_noise_and_music_do_not_pass_for_speech_of_this_mouth():
    _, times, mouth = speech(8.0, 0.0)
    other, _, _ = speech(8.0, 0.0, seed=5)
    noise = np.random.default_rng(1).normal(0, 0.1, 8 * RATE).astype(np.float32)
    assert not sync_offset(speech_envelope([noise]), mouth, times).sure
    assert sync_offset(speech_envelope([other]), mouth, times).correlation < 0.6


def test_too_little_or_nothing_moving_gives_nothing():
    sound, times, mouth = speech(8.0, 0.0)
    assert sync_offset(speech_envelope([sound[: RATE // 2]]), mouth, times) is None
    assert sync_offset(speech_envelope([sound]), np.ones_like(mouth), times) is None
    assert sync_offset(speech_envelope([np.zeros_like(sound)]), mouth, times) is None
    assert sync_offset(speech_envelope([]), mouth, times) is None


def test_blocks_give_what_one_block_gives():
    sound, _, _ = speech(3.0, 0.0)
    parts = [sound[:RATE], sound[RATE:]]
    assert np.allclose(speech_envelope(parts), speech_envelope([sound]))


def test_the_band_is_that_of_speech():
    clock = np.arange(2 * RATE) / RATE
    voice = 0.02 * np.sin(2 * np.pi * 900 * clock)

    def rise(pitch: float) -> float:
        envelope = speech_envelope([voice + np.sin(2 * np.pi * pitch * clock) * (clock > 1)])
        return float(envelope[110:190].mean() / envelope[10:90].mean())

    assert rise(1000) > 5 and rise(30) < 0.5 * rise(1000) and rise(7000) < 0.4 * rise(1000)


def test_a_curve_that_was_shifted_is_found_at_any_rate():
    _, times, mouth = speech(6.0, 0.0)
    later = np.interp(times - 0.13, times, mouth)
    thirty = np.arange(int(6 * 29.97)) / 29.97
    found = curve_lag(np.interp(thirty, times, later), thirty, mouth, times)
    assert found.offset == pytest.approx(0.13, abs=0.005) and found.correlation > 0.95
    assert curve_lag(mouth, times, later, times).offset == pytest.approx(-0.13, abs=0.005)
