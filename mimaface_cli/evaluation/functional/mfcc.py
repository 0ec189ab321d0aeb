"""Mel-frequency cepstral coefficients as SyncNet was trained on."""

from functools import lru_cache

import numpy as np

RATE = 16_000  # samples per second
STEP, FRAME = 160, 400  # samples from one step to the next, and of one step
_FFT, _FILTERS, _COEFFICIENTS = 512, 26, 13
_PREEMPHASIS, _LIFTER = 0.97, 22
_LOWEST = np.finfo(float).eps  # replaces zeros before the logarithm


def mfcc(samples: np.ndarray) -> np.ndarray:
    """Return the coefficients (N, 13), 100 steps per second; the first one is the logarithm of the energy.

    Args:
        samples: (S,) mono samples at RATE in the range of 16-bit integers.

    Source: the defaults of the package python_speech_features, which SyncNet's evaluation uses.
    """
    from scipy.fft import dct

    samples = np.asarray(samples, np.float64)
    if not len(samples):
        return np.zeros((0, _COEFFICIENTS))
    emphasized = np.append(samples[0], samples[1:] - _PREEMPHASIS * samples[:-1])
    count = 1 + max(0, -(-(len(samples) - FRAME) // STEP))
    padded = np.concatenate([emphasized, np.zeros(max(0, (count - 1) * STEP + FRAME - len(samples)))])
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[: (count - 1) * STEP + 1 : STEP]
    power = np.abs(np.fft.rfft(frames, _FFT)) ** 2 / _FFT
    energy = np.log(_above_zero(power.sum(1)))
    cepstrum = dct(np.log(_above_zero(power @ _mel_filters().T)), type=2, axis=1, norm="ortho")[:, :_COEFFICIENTS]
    lift = 1 + _LIFTER / 2 * np.sin(np.pi * np.arange(_COEFFICIENTS) / _LIFTER)
    return np.column_stack([energy, (cepstrum * lift)[:, 1:]])


def _above_zero(values: np.ndarray) -> np.ndarray:
    return np.where(values == 0, _LOWEST, values)


@lru_cache(maxsize=1)
def _mel_filters() -> np.ndarray:
    """Return the triangular filters (26, 257), evenly spaced on the mel scale."""
    highest = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, highest, _FILTERS + 2) / 2595) - 1)
    bins = np.floor((_FFT + 1) * edges / RATE)
    k = np.arange(_FFT // 2 + 1)[None]
    left, center, right = bins[:-2, None], bins[1:-1, None], bins[2:, None]
    rising = (k - left) / np.maximum(center - left, 1)
    falling = (right - k) / np.maximum(right - center, 1)
    return np.where((k >= left) & (k < center), rising, np.where((k >= center) & (k < right), falling, 0.0))
