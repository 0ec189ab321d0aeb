"""Synchronization of mouth and audio, without a network.

There are two methods. The first compares a result with its driver, which counts as synchronous; it is precise, because
it compares curves of the same kind. The second compares the loudness of the speech band with the jaw of the result
alone; it is coarse, and not comparable with SyncNet.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

AUDIO_RATE = 16_000  # samples per second from which the envelope is computed
ENVELOPE_RATE = 100  # envelope values per second
MAX_OFFSET = 0.5  # seconds
MIN_DURATION = 1.5  # seconds
MIN_CORRELATION = 0.35
SPEECH_BAND = (200.0, 3800.0)  # Hz


@dataclass(frozen=True)
class Lag:
    """Time offset between two curves.

    Attributes:
        offset: Seconds by which the first curve is later than the second; negative if it is earlier.
        correlation: Correlation of both curves at that offset, -1 to 1.
    """

    offset: float
    correlation: float

    @property
    def is_reliable(self) -> bool:
        """Whether the curves correlate enough for the offset to be meaningful."""
        return self.correlation >= MIN_CORRELATION


def speech_envelope(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Return the loudness in the speech band, ENVELOPE_RATE values per second.

    Args:
        blocks: Mono samples at AUDIO_RATE in blocks of whole envelope steps; only the last block may have any length.

    Returns:
        Envelope; value k is centered on (k + 0.5) / ENVELOPE_RATE seconds.
    """
    hop = AUDIO_RATE // ENVELOPE_RATE
    window = np.hanning(hop + 1)[:hop]
    low, high = (round(edge / ENVELOPE_RATE) for edge in SPEECH_BAND)  # a step's spectrum has a bin every 100 Hz
    parts = [np.zeros(0)]
    for samples in blocks:
        count = len(samples) // hop
        spectrum = np.fft.rfft(samples[: count * hop].reshape(count, hop).astype(np.float64) * window)
        parts.append((np.abs(spectrum[:, low:high]) ** 2).mean(1))
    return np.concatenate(parts) ** 0.25  # approximates the ear's compression


def audio_mouth_lag(envelope: np.ndarray, opening: np.ndarray, times: np.ndarray) -> Lag | None:
    """Return the lag of the audio behind the mouth; on real speech the error is about 150 ms.

    Args:
        envelope: Output of `speech_envelope` from the time of the first frame on.
        opening: (N) opening of the mouth in any unit.
        times: (N) seconds.

    Returns:
        The lag, or None if less than MIN_DURATION is available or a curve is constant.
    """
    end = min(len(envelope) / ENVELOPE_RATE, float(times[-1]) if len(times) else 0.0)
    clock = (np.arange(int(end * ENVELOPE_RATE)) + 0.5) / ENVELOPE_RATE
    return curve_lag(envelope[: len(clock)], np.interp(clock, times, opening) if len(clock) else clock)


def sampled_curve_lag(curve: np.ndarray, times: np.ndarray, other: np.ndarray, other_times: np.ndarray) -> Lag | None:
    """Return the lag of a curve behind another of the same kind.

    Both have times in seconds. The curves are, for example, two mouth openings.
    """
    end = min(float(times[-1]), float(other_times[-1]))
    clock = (np.arange(int(end * ENVELOPE_RATE)) + 0.5) / ENVELOPE_RATE
    return curve_lag(np.interp(clock, times, curve), np.interp(clock, other_times, other))


def curve_lag(first: np.ndarray, second: np.ndarray) -> Lag | None:
    """Return the lag of one curve behind another.

    Args:
        first: ENVELOPE_RATE values per second.
        second: The same; both are cut to the shorter length.

    Returns:
        The lag, or None if less than MIN_DURATION is available or a curve is constant.
    """
    length = min(len(first), len(second))
    if length < MIN_DURATION * ENVELOPE_RATE:
        return None
    late, early = _band_pass(first[:length]), _band_pass(second[:length])
    if late is None or early is None:
        return None
    reach = min(int(MAX_OFFSET * ENVELOPE_RATE), length // 3)
    steps = np.arange(-reach, reach + 1)
    scores = np.array([_correlation(late, early, int(step)) for step in steps])
    best = int(np.argmax(scores))
    offset, peak = float(steps[best]), float(scores[best])
    if 0 < best < len(steps) - 1:  # refine with a parabola through the three values around the peak
        left, right = scores[best - 1], scores[best + 1]
        curvature = left - 2 * peak + right
        if curvature < 0:
            offset += float(np.clip((left - right) / (2 * curvature), -0.5, 0.5))
    return Lag(offset / ENVELOPE_RATE, peak)


def _band_pass(values: np.ndarray) -> np.ndarray | None:
    """Keep changes between the scales of an onset (50 ms) and a phrase (600 ms); None for a constant curve."""
    from scipy.ndimage import gaussian_filter1d

    smooth = gaussian_filter1d(values, 0.05 * ENVELOPE_RATE, mode="nearest")
    filtered = smooth - gaussian_filter1d(values, 0.6 * ENVELOPE_RATE, mode="nearest")
    return filtered if filtered.std() > 1e-6 else None


def _correlation(late: np.ndarray, early: np.ndarray, step: int) -> float:
    """Return the correlation of the first curve from `step` values later with the second curve."""
    length = len(late) - abs(step)
    first, second = late[max(step, 0) :][:length], early[max(-step, 0) :][:length]
    first, second = first - first.mean(), second - second.mean()
    return float(first @ second / max(np.linalg.norm(first) * np.linalg.norm(second), 1e-12))
