"""Sound -> what is said, a hundred times a second: how likely each of 42 English phones sounds, and the spectrum.

The phones are judged by Gaussian mixtures of context-free states, trained by others on many hours of many speakers
(CMU Sphinx's en-us model, see weights/speech478.md), frame by frame and without words or grammar: so they are a
description of sounds, which serves other languages too. The front end is the one those mixtures were trained with.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy.special import softmax

from mimaface_cli.media.waveform import SAMPLE_RATE, Waveform

HOP = 160  # samples from frame to frame; frame t is centerd on sample 160 t
_LENGTH, _FFT = 410, 512
BANDS, _LOWEST, _HIGHEST = 25, 130.0, 6800.0  # Hz
CEPSTRA, _LIFTER = 13, 22
_FLOOR = 100.0  # energy of a band that 16-bit silence reaches
_SCALE = 32768.0  # the mixtures know 16-bit samples
SPEECH_LEVEL = -20.0  # dB of full scale to which the louder frames of a sound are brought
_QUIETEST, _MOST_GAIN = -70.0, 45.0  # dB: below, nothing sounds; what is quiet is not raised for ever
_ACTIVE = 30.0  # dB below the louder frames; what is above shapes the sound's mean
_SHARPNESS, _SMOOTHING = 0.3, 3  # of the likelihoods before they become probabilities; frames
_REACH = 3 + _SMOOTHING // 2  # frames to either side that a frame's numbers depend on
_CACHED = 64  # frames judged at a time, so that their densities stay in the processor's cache
_BLOCK = 3000  # frames that are read at a time for a sound's means


@dataclass(frozen=True, eq=False)
class PhoneModel:
    """names: the phones. means, variances: 3 streams (cepstra, their change, its change) × phones × G × 13.
    weights: 3 × phones × G × 3 states, sums of 1 over G.
    """

    names: tuple[str, ...]
    means: np.ndarray
    variances: np.ndarray
    weights: np.ndarray

    def log_likelihoods(self, features: np.ndarray) -> np.ndarray:
        """Features T × 3 × 13 -> T × phones, of the likeliest mix of a phone's states."""
        blocks = [self._block(features[start : start + _CACHED]) for start in range(0, len(features), _CACHED)]
        return np.concatenate(blocks) if blocks else np.zeros((0, len(self.names)), np.float32)

    def _block(self, features: np.ndarray) -> np.ndarray:
        total = 0.0
        for x, quadratic, weight in zip(features.swapaxes(0, 1), self._quadratics, self.weights):
            near = np.concatenate([x, x * x, np.ones((len(x), 1), np.float32)], 1) @ quadratic  # phones × T × G
            top = near.max(2, keepdims=True)
            near -= top
            total = total + np.log(np.exp(near, out=near) @ weight + 1e-30) + top  # phones × T × states
        top = total.max(2)
        return (np.log(np.exp(total - top[..., None]).sum(2)) + top).T

    @cached_property
    def _quadratics(self) -> list[np.ndarray]:
        """For each stream phones × 27 × G: what (x, x², 1) is multiplied by for a Gaussian's log density."""
        inverse = 1 / self.variances
        constant = -0.5 * (np.log(2 * np.pi * self.variances) + self.means**2 * inverse).sum(3, keepdims=True)
        parts = np.concatenate([self.means * inverse, -0.5 * inverse, constant], 3)
        return list(np.ascontiguousarray(parts.swapaxes(2, 3), np.float32))


@dataclass(frozen=True)
class WaveformStatistics:
    """What a whole sound is like: gain (factor) that brings it to SPEECH_LEVEL, mean log energy of each band while it
    sounds. silent: nothing sounds at all.
    """

    gain: float
    bands: np.ndarray
    silent: bool = False


def count_feature_frames(samples: int) -> int:
    """Frames of so many samples; the first is centerd on the first sample."""
    return samples // HOP + 1


def measure_waveform(samples: Waveform) -> WaveformStatistics:
    """Read a sound through for its level and mean spectrum; memory does not grow with it."""
    edges = np.arange(_QUIETEST, 40.0, 0.5)
    counts = np.zeros(len(edges) - 1)
    total = count_feature_frames(len(samples))
    for start in range(0, total, _BLOCK):
        level = levels(samples, start, min(start + _BLOCK, total))
        counts += np.histogram(level, edges)[0]
    if counts.sum() < 3:
        return WaveformStatistics(1.0, np.zeros(BANDS), silent=True)
    loud = edges[np.searchsorted(np.cumsum(counts), 0.95 * counts.sum())]
    gain = 10 ** (min(SPEECH_LEVEL - loud, _MOST_GAIN) / 20)
    sums, number = np.zeros(BANDS), 0
    for start in range(0, total, _BLOCK):
        stop = min(start + _BLOCK, total)
        active = levels(samples, start, stop) > loud - _ACTIVE
        sums += log_bands(samples, start, stop, gain)[active].sum(0)
        number += int(active.sum())
    return WaveformStatistics(gain, sums / max(number, 1))


def phones_and_bands(
    samples: Waveform, means: WaveformStatistics, model: PhoneModel, start: int, stop: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of frames start..stop the phones' probabilities (T × phones) and the log energies of the bands relative to the
    sound's mean (T × 25). Frames beyond the sound are silent. The same whatever range is asked for.
    """
    bands = log_bands(samples, start - _REACH, stop + _REACH, means.gain) - means.bands
    cepstra = bands @ _cosines().T
    inner = cepstra[3:-3]
    first = cepstra[5:-1] - cepstra[1:-5]
    second = (cepstra[6:] - cepstra[2:-4]) - (cepstra[4:-2] - cepstra[:-6])
    likely = model.log_likelihoods(np.stack([inner, first, second], 1).astype(np.float32))
    smooth = np.stack([likely[k : len(likely) - _SMOOTHING + 1 + k] for k in range(_SMOOTHING)]).mean(0)
    return softmax(_SHARPNESS * smooth, axis=1), bands[_REACH:-_REACH]


def log_bands(samples: Waveform, start: int, stop: int, gain: float = 1.0) -> np.ndarray:
    """Log energies (stop - start) × 25 of the mel bands of frames start..stop."""
    first = start * HOP - _LENGTH // 2 - 1
    sound = samples.read(first, (stop - 1) * HOP + _LENGTH // 2) * np.float32(gain * _SCALE)
    sound = sound[1:] - np.float32(0.97) * sound[:-1]
    pieces = np.lib.stride_tricks.sliding_window_view(sound, _LENGTH)[::HOP]
    spectrum = np.fft.rfft(pieces * np.hamming(_LENGTH).astype(np.float32), _FFT)
    return np.log((spectrum.real**2 + spectrum.imag**2) @ _filters().T + _FLOOR)


def levels(samples: Waveform, start: int, stop: int) -> np.ndarray:
    """Decibels of full scale of frames start..stop."""
    sound = samples.read(start * HOP - HOP, stop * HOP).astype(np.float64)
    power = (sound**2).reshape(-1, HOP).mean(1)
    return 10 * np.log10((power[1:] + power[:-1]) / 2 + 1e-12)


@lru_cache(maxsize=1)
def _filters() -> np.ndarray:
    """Triangles of equal area on the mel scale, their corners on bins of the spectrum: 25 × 257."""
    ends = 2595 * np.log10(1 + np.array([_LOWEST, _HIGHEST]) / 700)
    corners = 700 * (10 ** (np.linspace(*ends, BANDS + 2) / 2595) - 1)
    width = SAMPLE_RATE / _FFT
    corners = np.round(corners / width) * width
    low, middle, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    hertz = np.arange(_FFT // 2 + 1) * width
    return (
        np.maximum(0, np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle))) * 2 / (high - low)
    )


@lru_cache(maxsize=1)
def _cosines() -> np.ndarray:
    """Log energies -> liftered cepstra, 13 × 25."""
    order = np.arange(CEPSTRA)
    basis = np.cos(order[:, None] * np.pi / BANDS * (np.arange(BANDS) + 0.5)) * np.sqrt(2 / BANDS)
    basis[0] /= np.sqrt(2)
    return basis * (1 + _LIFTER / 2 * np.sin(order * np.pi / _LIFTER))[:, None]
