"""Sound -> log-mel columns and the window of them that belongs to each video frame (SadTalker's front end).

Everything is computed for the range that is asked for, straight from the samples, so that a long sound needs little
memory and pieces join without a seam. Samples may be any array, a memory map too.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mimaface_cli.errors import InputError


@dataclass(frozen=True)
class MelConfig:
    """Lengths in samples, frequencies in Hz, levels in dB."""

    sample_rate: int = 16000
    n_fft: int = 800
    hop_size: int = 200
    win_size: int = 800
    num_mels: int = 80
    fmin: float = 55
    fmax: float = 7600
    preemphasis: float = 0.97
    min_level_db: float = -100
    ref_level_db: float = 20
    max_abs_value: float = 4
    fps: int = 25
    window_len: int = 16

    @property
    def frame_size(self) -> int:
        """Samples per video frame."""
        return self.sample_rate // self.fps

    @property
    def per_frame(self) -> float:
        """Mel columns per video frame."""
        return self.sample_rate / (self.hop_size * self.fps)


RELEASE = MelConfig()


def count_whole_frames(samples: int, config: MelConfig = RELEASE) -> int:
    """Whole video frames in so many samples."""
    return samples // config.frame_size


def crop(samples: np.ndarray, config: MelConfig = RELEASE) -> np.ndarray:
    """The samples of whole frames, as a view: what `melspectrogram` and `mel_windows` take."""
    return samples[: count_whole_frames(len(samples), config) * config.frame_size]


def column_count(samples: int, config: MelConfig = RELEASE) -> int:
    """Mel columns of so many samples: one centerd on every hop, the first on sample 0."""
    return 1 + samples // config.hop_size


def melspectrogram(
    samples: np.ndarray, start: int = 0, stop: int | None = None, config: MelConfig = RELEASE
) -> np.ndarray:
    """Mono samples (L,) in [-1, 1] -> columns start..stop as (num_mels, stop - start) float64 in ±max_abs_value.

    Beyond its ends the (pre-emphasized) sound is silent. Raises InputError for samples that are not finite.
    """
    stop = column_count(len(samples), config) if stop is None else stop
    if stop <= start:
        return np.empty((config.num_mels, 0))
    first = start * config.hop_size - config.n_fft // 2
    last = (stop - 1) * config.hop_size - config.n_fft // 2 + config.n_fft
    sound = _preemphasized(samples, max(first, 0), min(last, len(samples)), config.preemphasis)
    sound = np.pad(sound, (max(-first, 0), max(last - len(samples), 0)))
    pieces = np.lib.stride_tricks.sliding_window_view(sound, config.n_fft)[:: config.hop_size]
    magnitude = np.abs(np.fft.rfft(pieces * _window(config)))
    # Not `@`: for so little, the linear algebra library's threads cost more than they give.
    energy = np.einsum("mf,cf->mc", mel_basis(config).astype(np.float64), magnitude)
    levels = 20 * np.log10(np.maximum(1e-5, energy)) - config.ref_level_db
    full = config.max_abs_value
    return np.clip(2 * full * (levels - config.min_level_db) / -config.min_level_db - full, -full, full)


def window_columns(start: int, stop: int, columns: int, config: MelConfig = RELEASE) -> np.ndarray:
    """Mel columns of frames start..stop as (stop - start, window_len), the ends repeated.

    Frame i's window begins at the column of frame i - 2, rounded toward zero.
    """
    first = np.trunc((np.arange(start, stop) - 2) * config.per_frame).astype(np.int64)
    return np.clip(first[:, None] + np.arange(config.window_len), 0, columns - 1)


def mel_windows(samples: np.ndarray, start: int, stop: int, config: MelConfig = RELEASE) -> np.ndarray:
    """The networks' input for frames start..stop, (stop - start, num_mels, window_len) float32.

    samples: as `crop` leaves them, see `melspectrogram`.
    """
    if stop <= start:
        return np.empty((0, config.num_mels, config.window_len), np.float32)
    columns = window_columns(start, stop, column_count(len(samples), config), config)
    first = int(columns.min())
    mel = melspectrogram(samples, first, int(columns.max()) + 1, config).astype(np.float32)
    return np.ascontiguousarray(mel[:, columns - first].swapaxes(0, 1))


@lru_cache(maxsize=4)
def mel_basis(config: MelConfig = RELEASE) -> np.ndarray:
    """Triangular filters of equal area on Slaney's mel scale, (num_mels, n_fft // 2 + 1) float32."""
    edges = _mel_to_hz(np.linspace(*_hz_to_mel(np.array([config.fmin, config.fmax])), config.num_mels + 2))
    bins = np.fft.rfftfreq(config.n_fft, 1 / config.sample_rate)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    basis = (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)
    basis.setflags(write=False)
    return basis


# Slaney's scale: linear up to 1 kHz (15 mel), then 27 mel for every factor of 6.4.
_KNEE_HZ, _KNEE_MEL, _LOG_STEP = 1000.0, 15.0, np.log(6.4) / 27


def _hz_to_mel(hz: np.ndarray) -> np.ndarray:
    above = _KNEE_MEL + np.log(np.maximum(hz, _KNEE_HZ) / _KNEE_HZ) / _LOG_STEP
    return np.where(hz < _KNEE_HZ, hz * _KNEE_MEL / _KNEE_HZ, above)


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    above = _KNEE_HZ * np.exp(_LOG_STEP * (mel - _KNEE_MEL))
    return np.where(mel < _KNEE_MEL, mel * _KNEE_HZ / _KNEE_MEL, above)


def _window(config: MelConfig) -> np.ndarray:
    """A periodic Hann window in the middle of n_fft samples."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.win_size) / config.win_size)
    left = (config.n_fft - config.win_size) // 2
    return np.pad(hann, (left, config.n_fft - config.win_size - left))


def _preemphasized(samples: np.ndarray, start: int, stop: int, factor: float) -> np.ndarray:
    """x[n] - factor x[n - 1] for n in start..stop, float64; x[-1] is 0."""
    sound = np.asarray(samples[max(start - 1, 0) : stop], np.float64)
    if not np.isfinite(sound).all():
        raise InputError("the sound has samples that are not finite numbers; decode or export it again")
    if start == 0:
        sound = np.concatenate([[0.0], sound])
    return sound[1:] - factor * sound[:-1]
