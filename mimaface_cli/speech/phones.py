"""Phone probabilities and mel band energies of audio, 100 per second.

A pretrained acoustic model scores each frame: Gaussian mixtures of context-independent phone states. It uses
neither words nor a grammar, so it also works for languages other than English. The front end is the one with which the
model was trained.

Source: the en-us acoustic model of CMU Sphinx, see weights/speech478.md.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy.special import softmax

from mimaface_cli.media.waveform import SAMPLE_RATE, Waveform

HOP = 160  # samples between frames; frame t is centered on sample 160 t
_WINDOW, _FFT = 410, 512  # samples
BANDS, _MIN_FREQUENCY, _MAX_FREQUENCY = 25, 130.0, 6800.0  # frequencies in Hz
CEPSTRA, _LIFTER = 13, 22
_ENERGY_FLOOR = 100.0  # band energy of silent 16-bit audio
_PCM_SCALE = 32768.0  # the mixtures were trained on 16-bit samples
SPEECH_LEVEL = -20.0  # dBFS to which the louder frames are amplified
_MIN_LEVEL, _MAX_LEVEL, _LEVEL_STEP = -70.0, 40.0, 0.5  # dBFS, range of the level histogram; below it is silence
_LOUD_QUANTILE = 0.95
_MAX_GAIN = 45.0  # dB
_ACTIVE_RANGE = 30.0  # dB below the louder frames; frames in it count for the mean spectrum
_SHARPNESS = 0.3  # factor of the log likelihoods before the softmax
_SMOOTHING = 3  # frames over which log likelihoods are averaged
_REACH = 3 + _SMOOTHING // 2  # number of frames before and after a frame on which its features depend
_CACHED_FRAMES = 64  # frames scored at once, so that their densities stay in the processor's cache
_BLOCK = 3000  # frames read at once


@dataclass(frozen=True, eq=False)
class PhoneModel:
    """Gaussian mixtures of phone states.

    The features are three streams of 13 values: cepstra, their first and their second difference over time.

    Attributes:
        names: Names of the P phones.
        means: 3 × P × G × 13, means of G Gaussians for each stream.
        variances: 3 × P × G × 13.
        weights: 3 × P × G × 3, mixture weights of each phone's three states. They sum to 1 over G.
    """

    names: tuple[str, ...]
    means: np.ndarray
    variances: np.ndarray
    weights: np.ndarray

    def log_likelihoods(self, features: np.ndarray) -> np.ndarray:
        """Compute the log likelihood of each phone, summed over its states.

        Args:
            features: T × 3 × 13.

        Returns:
            T × P.
        """
        starts = range(0, len(features), _CACHED_FRAMES)
        blocks = [self._score_block(features[start : start + _CACHED_FRAMES]) for start in starts]
        return np.concatenate(blocks) if blocks else np.zeros((0, len(self.names)), np.float32)

    def _score_block(self, features: np.ndarray) -> np.ndarray:
        """Compute the log likelihoods (T × P) of a few frames."""
        total = np.zeros((), np.float32)
        for x, density, weight in zip(features.swapaxes(0, 1), self._log_densities, self.weights, strict=True):
            log_density = np.concatenate([x, x * x, np.ones((len(x), 1), np.float32)], 1) @ density  # P × T × G
            peak = log_density.max(2, keepdims=True)  # subtracted, so that exp does not underflow
            log_density -= peak
            total = total + np.log(np.exp(log_density, out=log_density) @ weight + 1e-30) + peak  # P × T × states
        peak = total.max(2)
        return (np.log(np.exp(total - peak[..., None]).sum(2)) + peak).T

    @cached_property
    def _log_densities(self) -> list[np.ndarray]:
        """Matrix P × 27 × G of each stream that maps (x, x², 1) to the Gaussians' log densities."""
        inverse = 1 / self.variances
        constant = -0.5 * (np.log(2 * np.pi * self.variances) + self.means**2 * inverse).sum(3, keepdims=True)
        parts = np.concatenate([self.means * inverse, -0.5 * inverse, constant], 3)
        return list(np.ascontiguousarray(parts.swapaxes(2, 3), np.float32))


@dataclass(frozen=True)
class WaveformStatistics:
    """Statistics of a whole recording.

    Attributes:
        gain: Factor that brings the louder frames to SPEECH_LEVEL.
        bands: Mean log energy of each band over active frames.
        is_silent: Whether the recording is silent.
    """

    gain: float
    bands: np.ndarray
    is_silent: bool = False


def count_feature_frames(samples: int) -> int:
    """Return the number of feature frames; the first one is centered on the first sample."""
    return samples // HOP + 1


def measure_waveform(waveform: Waveform) -> WaveformStatistics:
    """Measure the level and the mean spectrum of a recording. It is read in blocks."""
    edges = np.arange(_MIN_LEVEL, _MAX_LEVEL, _LEVEL_STEP)
    counts = np.zeros(len(edges) - 1)
    total = count_feature_frames(len(waveform))
    for start in range(0, total, _BLOCK):
        levels = measure_levels(waveform, start, min(start + _BLOCK, total))
        counts += np.histogram(levels, edges)[0]
    if counts.sum() < 3:
        return WaveformStatistics(1.0, np.zeros(BANDS), is_silent=True)
    loud_level = edges[np.searchsorted(np.cumsum(counts), _LOUD_QUANTILE * counts.sum())]
    gain = 10 ** (min(SPEECH_LEVEL - loud_level, _MAX_GAIN) / 20)
    sums, active_count = np.zeros(BANDS), 0
    for start in range(0, total, _BLOCK):
        stop = min(start + _BLOCK, total)
        is_active = measure_levels(waveform, start, stop) > loud_level - _ACTIVE_RANGE
        sums += compute_log_bands(waveform, start, stop, gain)[is_active].sum(0)
        active_count += int(is_active.sum())
    return WaveformStatistics(gain, sums / max(active_count, 1))


def compute_phones_and_bands(
    waveform: Waveform, statistics: WaveformStatistics, model: PhoneModel, start: int, stop: int
) -> tuple[np.ndarray, np.ndarray]:
    """Compute phone probabilities and band energies of frames start to stop - 1.

    A frame's values do not depend on the requested range.

    Args:
        waveform: The recording. It is silent beyond both ends.
        statistics: Its statistics.
        model: The phone model.
        start: First frame.
        stop: End of the frames.

    Returns:
        Probabilities T × P, and log energies T × 25 relative to the recording's mean.
    """
    bands = compute_log_bands(waveform, start - _REACH, stop + _REACH, statistics.gain) - statistics.bands
    cepstra = bands @ _cepstrum_basis().T
    inner = cepstra[3:-3]
    change = cepstra[5:-1] - cepstra[1:-5]
    acceleration = (cepstra[6:] - cepstra[2:-4]) - (cepstra[4:-2] - cepstra[:-6])
    likelihoods = model.log_likelihoods(np.stack([inner, change, acceleration], 1).astype(np.float32))
    count = len(likelihoods) - _SMOOTHING + 1
    smooth = np.stack([likelihoods[k : count + k] for k in range(_SMOOTHING)]).mean(0)
    return softmax(_SHARPNESS * smooth, axis=1), bands[_REACH:-_REACH]


def compute_log_bands(waveform: Waveform, start: int, stop: int, gain: float = 1.0) -> np.ndarray:
    """Compute the log energies of the mel bands.

    Args:
        waveform: The recording.
        start: First frame.
        stop: End of the frames.
        gain: Factor of the samples.

    Returns:
        (stop - start) × 25.
    """
    first = start * HOP - _WINDOW // 2 - 1
    samples = waveform.read(first, (stop - 1) * HOP + _WINDOW // 2) * np.float32(gain * _PCM_SCALE)
    samples = samples[1:] - np.float32(0.97) * samples[:-1]
    windows = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::HOP]
    spectrum = np.fft.rfft(windows * np.hamming(_WINDOW).astype(np.float32), _FFT)
    return np.log((spectrum.real**2 + spectrum.imag**2) @ _mel_filters().T + _ENERGY_FLOOR)


def measure_levels(waveform: Waveform, start: int, stop: int) -> np.ndarray:
    """Return the levels (dBFS) of frames start to stop - 1."""
    samples = waveform.read(start * HOP - HOP, stop * HOP).astype(np.float64)
    power = (samples**2).reshape(-1, HOP).mean(1)
    return 10 * np.log10((power[1:] + power[:-1]) / 2 + 1e-12)


@lru_cache(maxsize=1)
def _mel_filters() -> np.ndarray:
    """Return mel filters (25 × 257): triangles of equal area with corners on bins."""
    lowest, highest = 2595 * np.log10(1 + np.array([_MIN_FREQUENCY, _MAX_FREQUENCY]) / 700)
    corners = 700 * (10 ** (np.linspace(lowest, highest, BANDS + 2) / 2595) - 1)
    bin_width = SAMPLE_RATE / _FFT
    corners = np.round(corners / bin_width) * bin_width
    low, middle, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    hertz = np.arange(_FFT // 2 + 1) * bin_width
    triangles = np.maximum(0, np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle)))
    return triangles * 2 / (high - low)


@lru_cache(maxsize=1)
def _cepstrum_basis() -> np.ndarray:
    """Return the matrix 13 × 25 that maps log energies to liftered cepstra."""
    order = np.arange(CEPSTRA)
    basis = np.cos(order[:, None] * np.pi / BANDS * (np.arange(BANDS) + 0.5)) * np.sqrt(2 / BANDS)
    basis[0] /= np.sqrt(2)
    return basis * (1 + _LIFTER / 2 * np.sin(order * np.pi / _LIFTER))[:, None]
