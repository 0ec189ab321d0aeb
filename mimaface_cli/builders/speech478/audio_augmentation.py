"""Altered versions of speech for training, and noise without speech."""

import numpy as np
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter

from mimaface_cli.media.waveform import SAMPLE_RATE

_WINDOW = 512  # samples of a linear prediction window
_ORDER = 16  # coefficients of linear prediction


def augment_speech(samples: np.ndarray, rng: np.random.Generator) -> list[tuple[np.ndarray, float]]:
    """Return speech with noise, over a telephone, with a synthetic voice, and at a higher and a lower pitch and speed.

    Args:
        samples: Mono samples at SAMPLE_RATE.
        rng: Source of randomness.

    Returns:
        Five versions with their duration relative to the original.
    """
    level = np.sqrt(np.mean(samples**2)) + 1e-9
    noisy = []
    for min_snr, max_snr in ((3, 12), (12, 25)):  # dB
        noise = generate_colored_noise(len(samples), rng)
        noisy.append(samples + noise * level * 10 ** (-rng.uniform(min_snr, max_snr) / 20))
    spectrum = np.fft.rfft(noisy[1])
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    telephone = np.fft.irfft(spectrum * ((hertz > 300) & (hertz < 3400)), len(samples))
    resampled = []
    for low, high in ((0.86, 0.95), (1.05, 1.16)):
        stretch = rng.uniform(low, high)
        positions = np.arange(int(len(samples) * stretch)) / stretch
        resampled.append((np.interp(positions, np.arange(len(samples)), samples), stretch))
    return [(noisy[0], 1.0), (telephone, 1.0), (replace_voice_source(samples, rng), 1.0), *resampled]


def replace_voice_source(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the same speech with another voice source.

    The residual of linear prediction is replaced by pulses of a steady pitch and some noise, so that the network also
    understands synthetic voices and singing.
    """
    time = np.arange(len(samples)) / SAMPLE_RATE
    pitch = rng.uniform(70, 260) * (1 + rng.uniform(0, 0.1) * np.sin(2 * np.pi * rng.uniform(0.3, 5) * time))
    pulses = np.diff(np.floor(np.cumsum(pitch) / SAMPLE_RATE), prepend=0.0) * np.sqrt(SAMPLE_RATE / pitch)
    source = pulses + rng.uniform(0.05, 0.4) * rng.standard_normal(len(samples))
    source /= np.sqrt(np.mean(source**2)) + 1e-9
    window, output = np.hanning(_WINDOW + 1)[:-1], np.zeros(len(samples) + _WINDOW)
    padded, source = np.pad(samples, (0, _WINDOW)), np.pad(source, (0, _WINDOW))
    for start in range(0, len(samples), _WINDOW // 2):
        part = slice(start, start + _WINDOW)
        piece = padded[part] * window
        autocorrelation = np.correlate(piece, piece, "full")[_WINDOW - 1 : _WINDOW + _ORDER]
        if autocorrelation[0] < 1e-6:
            continue
        regularization = 1e-3 * autocorrelation[0] * (np.arange(_ORDER) == 0)
        predictor = solve_toeplitz(autocorrelation[:-1] + regularization, autocorrelation[1:])
        residual_power = max(autocorrelation[0] - predictor @ autocorrelation[1:], 0.0) / (window**2).sum()
        output[part] += window * lfilter([np.sqrt(residual_power)], [1, *-predictor], source[part])
    return output[: len(samples)]


def generate_colored_noise(length: int, rng: np.random.Generator) -> np.ndarray:
    """Return noise of power 1 with a spectrum that falls by a random slope."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    spectrum *= np.maximum(np.arange(len(spectrum)), 20.0) ** -rng.uniform(0, 1)
    noise = np.fft.irfft(spectrum, length)
    return noise / (noise.std() + 1e-9)


def synthesize_noise(kind: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Return noise without speech.

    Args:
        kind: The remainder by 4 selects colored noise, modulated noise, hum or clicks.
        length: Number of samples.
        rng: Source of randomness.
    """
    time = np.arange(length) / SAMPLE_RATE
    samples = generate_colored_noise(length, rng) * 0.1
    if kind % 4 == 1:
        samples *= 1 + 0.9 * np.sin(2 * np.pi * rng.uniform(0.2, 4) * time)
    if kind % 4 == 2:
        hum = rng.uniform(45, 400)
        samples = samples * 0.02 + sum(np.sin(2 * np.pi * hum * n * time) / n for n in range(1, 6)) * 0.1
    if kind % 4 == 3:
        samples *= 0.02
        samples[rng.integers(0, length, 12)] = rng.uniform(-1, 1, 12)
    return samples
