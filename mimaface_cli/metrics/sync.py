"""Does the mouth move with the sound? Without a network: the speech band's loudness against the opening of the lips.

This is no SyncNet: it needs a second or two of speech, and says so where sound and lips do not go together.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

RATE = 16_000  # samples per second that the envelope is taken from
STEPS = 100  # envelope values per second
MOST = 0.5  # seconds of offset that are looked for
LEAST_SECONDS = 1.5
LEAST_CORRELATION = 0.3
SPEECH_BAND = (200.0, 3800.0)  # Hz


@dataclass(frozen=True)
class Sync:
    """offset: seconds by which the sound comes late (negative: early); correlation: at that offset, -1..1."""

    offset: float
    correlation: float

    @property
    def sure(self) -> bool:
        """Whether sound and mouth go together well enough for the offset to mean anything."""
        return self.correlation >= LEAST_CORRELATION


def speech_envelope(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Loudness in the speech band, STEPS values a second (value k is centred on (k + 0.5) / STEPS), from mono samples
    at RATE that come in blocks of whole steps (the last one may end anywhere)."""
    hop = RATE // STEPS
    window = np.hanning(hop + 1)[:hop]
    band = slice(*(round(edge / STEPS) for edge in SPEECH_BAND))  # a step's spectrum has a bin every STEPS Hz
    parts = [np.zeros(0)]
    for samples in blocks:
        count = len(samples) // hop
        spectrum = np.fft.rfft(samples[: count * hop].reshape(count, hop).astype(np.float64) * window)
        parts.append((np.abs(spectrum[:, band]) ** 2).mean(1))
    power = np.concatenate(parts)
    # The ear's compression; what lies 50 dB below the loudest is silence.
    floor = max(float(power.max(initial=0.0)) * 1e-5, 1e-12)
    return np.log10(np.maximum(power, floor) / floor)


def sync_offset(envelope: np.ndarray, opening: np.ndarray, times: np.ndarray) -> Sync | None:
    """How late the sound is against the mouth.

    envelope: as `speech_envelope` gives it, from the moment of the first frame; opening: of the mouth in N frames, in
    any unit; times: N, seconds. None where less than LEAST_SECONDS is there or one of both does not change.
    """
    end = min(len(envelope) / STEPS, float(times[-1]) if len(times) else 0.0)
    if end < LEAST_SECONDS:
        return None
    clock = (np.arange(int(end * STEPS)) + 0.5) / STEPS
    sound = _lively(envelope[: len(clock)])
    mouth = _lively(np.interp(clock, times, opening))
    if sound is None or mouth is None:
        return None
    reach = min(int(MOST * STEPS), len(clock) // 3)
    lags = np.arange(-reach, reach + 1)
    scores = np.array([_correlation(sound, mouth, lag) for lag in lags])
    best = int(np.argmax(scores))
    offset, height = float(lags[best]), float(scores[best])
    if 0 < best < len(lags) - 1:  # a parabola through the three values around the peak
        left, right = scores[best - 1], scores[best + 1]
        bend = left - 2 * height + right
        if bend < 0:
            offset += float(np.clip((left - right) / (2 * bend), -0.5, 0.5))
    return Sync(offset / STEPS, height)


def _lively(values: np.ndarray) -> np.ndarray | None:
    """Smoothed over a syllable's rise, freed of what is slower than a phrase; None where nothing moves."""
    from scipy.ndimage import gaussian_filter1d

    smooth = gaussian_filter1d(values, 0.03 * STEPS, mode="nearest")
    lively = smooth - gaussian_filter1d(values, 0.6 * STEPS, mode="nearest")
    return lively if lively.std() > 1e-6 else None


def _correlation(sound: np.ndarray, mouth: np.ndarray, lag: int) -> float:
    """Of the sound `lag` steps later with the mouth."""
    length = len(sound) - abs(lag)
    a, b = sound[max(lag, 0) :][:length], mouth[max(-lag, 0) :][:length]
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12))
