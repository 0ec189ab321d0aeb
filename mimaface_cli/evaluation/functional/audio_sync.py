"""Does the mouth move with the sound? Without a network, in two ways: a result against its driver, whose sound and
mouth are taken to go together (fine: curves of one kind are compared), and by itself, the speech band's loudness
against the jaw (coarse; this is no SyncNet, and it says so where both do not go together).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

RATE = 16_000  # samples per second that the envelope is taken from
STEPS = 100  # envelope values per second
MOST = 0.5  # seconds of offset that are looked for
LEAST_SECONDS = 1.5
LEAST_CORRELATION = 0.35
SPEECH_BAND = (200.0, 3800.0)  # Hz


@dataclass(frozen=True)
class Lag:
    """offset: seconds by which one curve comes after the other (negative: before); correlation: there, -1..1."""

    offset: float
    correlation: float

    @property
    def sure(self) -> bool:
        """Whether both go together well enough for the offset to mean anything."""
        return self.correlation >= LEAST_CORRELATION


def speech_envelope(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Loudness in the speech band, STEPS values a second (value k is centerd on (k + 0.5) / STEPS), from mono samples
    at RATE that come in blocks of whole steps (the last one may end anywhere).
    """
    hop = RATE // STEPS
    window = np.hanning(hop + 1)[:hop]
    band = slice(*(round(edge / STEPS) for edge in SPEECH_BAND))  # a step's spectrum has a bin every STEPS Hz
    parts = [np.zeros(0)]
    for samples in blocks:
        count = len(samples) // hop
        spectrum = np.fft.rfft(samples[: count * hop].reshape(count, hop).astype(np.float64) * window)
        parts.append((np.abs(spectrum[:, band]) ** 2).mean(1))
    return np.concatenate(parts) ** 0.25  # about the ear's compression


def sync_offset(envelope: np.ndarray, opening: np.ndarray, times: np.ndarray) -> Lag | None:
    """How late the sound is against the mouth, coarsely: on real speech the answer scatters by about 150 ms.

    envelope: as `speech_envelope` gives it, from the moment of the first frame; opening: of the mouth in N frames, in
    any unit; times: N, seconds. None where less than LEAST_SECONDS is there or one of both does not change.
    """
    end = min(len(envelope) / STEPS, float(times[-1]) if len(times) else 0.0)
    clock = (np.arange(int(end * STEPS)) + 0.5) / STEPS
    return lag(envelope[: len(clock)], np.interp(clock, times, opening) if len(clock) else clock)


def curve_lag(curve: np.ndarray, times: np.ndarray, other: np.ndarray, other_times: np.ndarray) -> Lag | None:
    """How late one curve over time (s) is against another of the same kind, as the mouths of two videos."""
    end = min(float(times[-1]), float(other_times[-1]))
    clock = (np.arange(int(end * STEPS)) + 0.5) / STEPS
    return lag(np.interp(clock, times, curve), np.interp(clock, other_times, other))


def lag(late: np.ndarray, early: np.ndarray) -> Lag | None:
    """How late one curve of STEPS values a second is against another (seconds; negative: it is early); both are cut to
    one length. None where less than LEAST_SECONDS is there or one of both does not change.
    """
    length = min(len(late), len(early))
    if length < LEAST_SECONDS * STEPS:
        return None
    first, second = _lively(late[:length]), _lively(early[:length])
    if first is None or second is None:
        return None
    reach = min(int(MOST * STEPS), length // 3)
    steps = np.arange(-reach, reach + 1)
    scores = np.array([_correlation(first, second, step) for step in steps])
    best = int(np.argmax(scores))
    offset, height = float(steps[best]), float(scores[best])
    if 0 < best < len(steps) - 1:  # a parabola through the three values around the peak
        left, right = scores[best - 1], scores[best + 1]
        bend = left - 2 * height + right
        if bend < 0:
            offset += float(np.clip((left - right) / (2 * bend), -0.5, 0.5))
    return Lag(offset / STEPS, height)


def _lively(values: np.ndarray) -> np.ndarray | None:
    """Smoothed over a syllable's rise, freed of what is slower than a phrase; None where nothing moves."""
    from scipy.ndimage import gaussian_filter1d

    smooth = gaussian_filter1d(values, 0.05 * STEPS, mode="nearest")
    lively = smooth - gaussian_filter1d(values, 0.6 * STEPS, mode="nearest")
    return lively if lively.std() > 1e-6 else None


def _correlation(late: np.ndarray, early: np.ndarray, step: int) -> float:
    """Of the first, `step` steps later, with the second."""
    length = len(late) - abs(step)
    a, b = late[max(step, 0) :][:length], early[max(-step, 0) :][:length]
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12))
