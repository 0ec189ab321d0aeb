"""Altered versions of speech for training."""

from collections.abc import Callable

import numpy as np
from scipy.linalg import solve_toeplitz
from scipy.signal import fftconvolve, lfilter

from mimaface_cli.builders.speech478.nonspeech_audio import choose_background
from mimaface_cli.media.waveform import SAMPLE_RATE

_WINDOW = 512  # samples of a window of linear prediction and of spectra
_ORDER = 16  # coefficients of linear prediction


def augment_speech(samples: np.ndarray, rng: np.random.Generator, count: int) -> list[tuple[np.ndarray, float]]:
    """Return altered versions of speech.

    The alterations are drawn from: much and little noise, a telephone with noise, a synthetic voice, a lower and a
    higher pitch and speed, a room, and a coarse codec.

    Args:
        samples: Mono samples at SAMPLE_RATE.
        rng: Source of randomness.
        count: Number of versions, up to 8.

    Returns:
        The versions with their duration relative to the original.
    """
    kinds: list[Callable[[], tuple[np.ndarray, float]]] = [
        lambda: (add_noise(samples, rng.uniform(3, 12), rng), 1.0),
        lambda: (add_noise(samples, rng.uniform(12, 25), rng), 1.0),
        lambda: (limit_to_telephone(add_noise(samples, rng.uniform(12, 25), rng)), 1.0),
        lambda: (replace_voice_source(samples, rng), 1.0),
        lambda: stretch_speech(samples, rng.uniform(0.86, 0.95)),
        lambda: stretch_speech(samples, rng.uniform(1.05, 1.16)),
        lambda: (add_room(samples, rng), 1.0),
        lambda: (coarsen_spectrum(samples, rng), 1.0),
    ]
    return [kinds[k]() for k in rng.choice(len(kinds), count, replace=False)]


def add_noise(samples: np.ndarray, snr: float, rng: np.random.Generator) -> np.ndarray:
    """Add noise, music or another background. snr: ratio of speech to it in dB."""
    level = np.sqrt(np.mean(samples**2)) + 1e-9
    return samples + choose_background(len(samples), rng) * level * 10 ** (-snr / 20)


def limit_to_telephone(samples: np.ndarray) -> np.ndarray:
    """Keep the frequencies of a telephone, 300 to 3400 Hz."""
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    return np.fft.irfft(np.fft.rfft(samples) * ((hertz > 300) & (hertz < 3400)), len(samples))


def stretch_speech(samples: np.ndarray, stretch: float) -> tuple[np.ndarray, float]:
    """Play speech slower (stretch above 1) or faster; the pitch changes too. Return it with its stretch."""
    positions = np.arange(int(len(samples) * stretch)) / stretch
    return np.interp(positions, np.arange(len(samples)), samples), stretch


def add_room(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add the reverberation of a room and a little noise."""
    duration = rng.uniform(0.15, 0.6)  # seconds in which the reverberation falls by 60 dB
    time = np.arange(int(duration * SAMPLE_RATE)) / SAMPLE_RATE
    response = rng.standard_normal(len(time)) * 10 ** (-3 * time / duration)
    response[: int(0.002 * SAMPLE_RATE)] = 0
    response *= 10 ** (-rng.uniform(0, 10) / 20) / np.sqrt((response**2).sum())
    response[0] = 1
    return add_noise(fftconvolve(samples, response)[: len(samples)], rng.uniform(15, 35), rng)


def coarsen_spectrum(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Quantize the spectrum as a codec of a low bit rate does, and remove high frequencies."""
    step, cutoff = rng.uniform(0.3, 1.2), rng.uniform(3000, 7500)
    is_low = np.fft.rfftfreq(_WINDOW, 1 / SAMPLE_RATE) < cutoff
    window = np.sqrt(np.hanning(_WINDOW + 1)[:-1])
    padded = np.pad(samples, _WINDOW)
    output = np.zeros(len(padded))
    for start in range(0, len(padded) - _WINDOW, _WINDOW // 2):
        part = slice(start, start + _WINDOW)
        spectrum = np.fft.rfft(padded[part] * window)
        quantum = step * (np.convolve(np.abs(spectrum), np.ones(17) / 17, "same") + 1e-9)
        coarse = (np.round(spectrum.real / quantum) + 1j * np.round(spectrum.imag / quantum)) * quantum * is_low
        output[part] += window * np.fft.irfft(coarse, _WINDOW)
    return output[_WINDOW : _WINDOW + len(samples)]


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
