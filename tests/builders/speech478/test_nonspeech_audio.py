"""Audio without speech for training."""

import numpy as np
import pytest

from mimaface_cli.builders.speech478 import nonspeech_audio
from mimaface_cli.builders.speech478.nonspeech_audio import (
    choose_background,
    generate_breath,
    generate_colored_noise,
    generate_hum,
    generate_music,
    synthesize_nonspeech,
)
from mimaface_cli.media.waveform import SAMPLE_RATE


@pytest.mark.parametrize("number", range(16))
def test_audio_without_speech_has_its_length_and_peak(number):
    samples = synthesize_nonspeech(number, SAMPLE_RATE, np.random.default_rng(number))
    assert len(samples) == SAMPLE_RATE and np.isfinite(samples).all()
    assert np.abs(samples).max() == pytest.approx(0.3)


def test_every_kind_is_used():
    kinds = {nonspeech_audio._GENERATORS[number % len(nonspeech_audio._GENERATORS)] for number in range(16)}
    assert len(kinds) == 7


def test_noise_and_backgrounds_have_power_1():
    rng = np.random.default_rng(0)
    assert generate_colored_noise(4000, rng).std() == pytest.approx(1)
    for _ in range(8):
        assert choose_background(SAMPLE_RATE, rng).std() == pytest.approx(1)


def test_hum_is_harmonic():
    spectrum = np.abs(np.fft.rfft(generate_hum(SAMPLE_RATE, np.random.default_rng(2)) * np.hanning(SAMPLE_RATE))) ** 2
    strongest = np.sort(spectrum)[-200:].sum()
    assert strongest > 0.9 * spectrum.sum()


def test_music_is_tonal_and_changes():
    samples = generate_music(4 * SAMPLE_RATE, np.random.default_rng(1))
    spectra = [np.abs(np.fft.rfft(samples[start : start + SAMPLE_RATE])) for start in range(0, 48_001, SAMPLE_RATE)]
    assert max(np.sort(spectrum)[-100:].sum() / spectrum.sum() for spectrum in spectra) > 0.2
    assert np.corrcoef(spectra)[0, 1:].min() < 0.9


def test_breath_swells_and_fades():
    power = np.abs(generate_breath(4 * SAMPLE_RATE, np.random.default_rng(0))).reshape(-1, 1600).mean(1)
    assert power.min() < 0.2 * power.max()
