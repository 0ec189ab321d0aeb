"""Altered speech for training."""

import numpy as np

from mimaface_cli.builders.speech478.audio_augmentation import (
    add_room,
    augment_speech,
    coarsen_spectrum,
    replace_voice_source,
)
from tests.speech.synthetic_speech import synthesize_speech


def _log_spectrum(samples: np.ndarray, start: int) -> np.ndarray:
    power = np.abs(np.fft.rfft(samples[start : start + 4000] * np.hanning(4000))) ** 2
    return np.log(np.convolve(power, np.ones(100), "same")[50:900] + 1e-6)


def test_replaced_voice_source_keeps_the_vowels_and_changes_the_waveform():
    speech = synthesize_speech(("ah", 0.5), ("", 0.2), ("ee", 0.5), pitch=150)
    replaced = replace_voice_source(speech, np.random.default_rng(3))
    ah, ee = 2000, 13000
    for start in (ah, ee):
        assert np.corrcoef(_log_spectrum(speech, start), _log_spectrum(replaced, start))[0, 1] > 0.8
    assert np.corrcoef(_log_spectrum(speech, ah), _log_spectrum(replaced, ee))[0, 1] < 0.6
    assert np.abs(replaced[9000:10500]).max() < 0.01 < np.abs(replaced[2000:6000]).max()
    assert abs(np.corrcoef(speech[2000:6000], replaced[2000:6000])[0, 1]) < 0.5


def test_augmented_speech_has_the_stated_duration():
    rng = np.random.default_rng(0)
    samples = rng.standard_normal(16_000)
    versions = augment_speech(samples, rng, 8)
    assert len(versions) == 8 and len(augment_speech(samples, rng, 3)) == 3
    for version, stretch in versions:
        assert abs(len(version) - stretch * len(samples)) <= 1
        assert np.isfinite(version).all()


def test_room_adds_sound_after_the_speech():
    samples = np.concatenate([synthesize_speech(("ah", 0.3)), np.zeros(4000)])
    room = add_room(samples, np.random.default_rng(1))
    assert len(room) == len(samples) and np.corrcoef(room, samples)[0, 1] > 0.5
    end = len(samples) - 3500
    assert np.abs(room[end : end + 800]).mean() > 3 * np.abs(samples[end : end + 800]).mean()


def test_coarse_spectrum_stays_intelligible_and_loses_high_frequencies():
    samples = synthesize_speech(("ah", 0.5), ("s", 0.3))
    coarse = coarsen_spectrum(samples, np.random.default_rng(0))
    assert len(coarse) == len(samples) and not np.array_equal(coarse, samples)
    assert np.corrcoef(_log_spectrum(samples, 2000), _log_spectrum(coarse, 2000))[0, 1] > 0.6
