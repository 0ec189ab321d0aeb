"""SadTalker's audio front end: log-mel columns and a window of them per video frame.

Each requested range is computed directly from the samples. So long audio needs little memory, and adjacent ranges join
without a seam. Samples may be any array, including a memory map.

Source: SadTalker release v0.0.2, which uses the front end of Wav2Lip.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mimaface_cli.errors import InputError


@dataclass(frozen=True)
class MelConfig:
    """Parameters of the front end.

    Attributes:
        sample_rate: Samples per second.
        n_fft: Length of the Fourier transform in samples.
        hop_size: Samples between columns.
        win_size: Length of the Hann window in samples.
        num_mels: Number of mel bands.
        fmin: Lowest frequency in Hz.
        fmax: Highest frequency in Hz.
        preemphasis: Coefficient of the pre-emphasis filter.
        min_level_db: Level in dB that maps to -max_abs_value.
        ref_level_db: Level in dB that is subtracted from all levels.
        max_abs_value: Range of the output: ±max_abs_value.
        fps: Video frames per second.
        window_len: Mel columns per video frame's window.
    """

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
    def samples_per_frame(self) -> int:
        """Samples per video frame."""
        return self.sample_rate // self.fps

    @property
    def columns_per_frame(self) -> float:
        """Mel columns per video frame."""
        return self.sample_rate / (self.hop_size * self.fps)


RELEASE = MelConfig()
"""Parameters of the release."""


def count_whole_frames(samples: int, config: MelConfig = RELEASE) -> int:
    """Return the number of whole video frames in a number of samples."""
    return samples // config.samples_per_frame


def crop_to_whole_frames(samples: np.ndarray, config: MelConfig = RELEASE) -> np.ndarray:
    """Return a view of the samples of whole video frames."""
    return samples[: count_whole_frames(len(samples), config) * config.samples_per_frame]


def count_columns(samples: int, config: MelConfig = RELEASE) -> int:
    """Return the number of mel columns: one centered on every hop, the first one on sample 0."""
    return 1 + samples // config.hop_size


def melspectrogram(
    samples: np.ndarray, start: int = 0, stop: int | None = None, config: MelConfig = RELEASE
) -> np.ndarray:
    """Compute the log-mel columns start to stop - 1.

    Beyond both ends the pre-emphasized audio is silent.

    Args:
        samples: (L,), mono audio in [-1, 1].
        start: First column.
        stop: End of the columns (exclusive). None computes all columns from `start`.
        config: Parameters.

    Returns:
        (num_mels, stop - start) float64, from -max_abs_value to max_abs_value.

    Raises:
        InputError: The audio contains NaN or Inf.
    """
    stop = count_columns(len(samples), config) if stop is None else stop
    if stop <= start:
        return np.empty((config.num_mels, 0))
    first = start * config.hop_size - config.n_fft // 2
    last = (stop - 1) * config.hop_size - config.n_fft // 2 + config.n_fft
    audio = _preemphasize(samples, max(first, 0), min(last, len(samples)), config.preemphasis)
    audio = np.pad(audio, (max(-first, 0), max(last - len(samples), 0)))
    columns = np.lib.stride_tricks.sliding_window_view(audio, config.n_fft)[:: config.hop_size]
    magnitude = np.abs(np.fft.rfft(columns * _hann_window(config)))
    # einsum instead of `@`: for so few columns, starting BLAS threads would take longer than the product.
    energy = np.einsum("mf,cf->mc", mel_basis(config).astype(np.float64), magnitude)
    levels = 20 * np.log10(np.maximum(1e-5, energy)) - config.ref_level_db
    limit = config.max_abs_value
    return np.clip(2 * limit * (levels - config.min_level_db) / -config.min_level_db - limit, -limit, limit)


def window_columns(start: int, stop: int, columns: int, config: MelConfig = RELEASE) -> np.ndarray:
    """Return the mel columns in the windows of video frames start to stop - 1.

    The window of frame i begins at the column of frame i - 2, rounded toward zero.

    Args:
        start: First frame.
        stop: End of the frames.
        columns: Number of mel columns. Indices beyond both ends repeat the first and last column.
        config: Parameters.

    Returns:
        (stop - start, window_len) int64, column indices.
    """
    first = np.trunc((np.arange(start, stop) - 2) * config.columns_per_frame).astype(np.int64)
    return np.clip(first[:, None] + np.arange(config.window_len), 0, columns - 1)


def mel_windows(samples: np.ndarray, start: int, stop: int, config: MelConfig = RELEASE) -> np.ndarray:
    """Compute the networks' input for video frames start to stop - 1.

    Args:
        samples: (L,), mono audio in [-1, 1], cropped by `crop_to_whole_frames`.
        start: First frame.
        stop: End of the frames.
        config: Parameters.

    Returns:
        (stop - start, num_mels, window_len) float32.

    Raises:
        InputError: The audio contains NaN or Inf.
    """
    if stop <= start:
        return np.empty((0, config.num_mels, config.window_len), np.float32)
    columns = window_columns(start, stop, count_columns(len(samples), config), config)
    first = int(columns.min())
    mel = melspectrogram(samples, first, int(columns.max()) + 1, config).astype(np.float32)
    return np.ascontiguousarray(mel[:, columns - first].swapaxes(0, 1))


@lru_cache(maxsize=4)
def mel_basis(config: MelConfig = RELEASE) -> np.ndarray:
    """Return triangular filters of equal area on Slaney's mel scale.

    Returns:
        (num_mels, n_fft // 2 + 1) float32, read-only.

    Source: M. Slaney, Auditory Toolbox (1998), as in librosa.filters.mel.
    """
    low, high = _hz_to_mel(np.array([config.fmin, config.fmax]))
    edges = _mel_to_hz(np.linspace(low, high, config.num_mels + 2))
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
    above_knee = _KNEE_MEL + np.log(np.maximum(hz, _KNEE_HZ) / _KNEE_HZ) / _LOG_STEP
    return np.where(hz < _KNEE_HZ, hz * _KNEE_MEL / _KNEE_HZ, above_knee)


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    above_knee = _KNEE_HZ * np.exp(_LOG_STEP * (mel - _KNEE_MEL))
    return np.where(mel < _KNEE_MEL, mel * _KNEE_HZ / _KNEE_MEL, above_knee)


def _hann_window(config: MelConfig) -> np.ndarray:
    """Return a periodic Hann window in the middle of n_fft samples."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.win_size) / config.win_size)
    left = (config.n_fft - config.win_size) // 2
    return np.pad(hann, (left, config.n_fft - config.win_size - left))


def _preemphasize(samples: np.ndarray, start: int, stop: int, factor: float) -> np.ndarray:
    """Return x[n] - factor x[n - 1] for n from start to stop - 1 in float64, where x[-1] is 0."""
    audio = np.asarray(samples[max(start - 1, 0) : stop], np.float64)
    if not np.isfinite(audio).all():
        raise InputError("The audio contains NaN or Inf. Decode or export it again.")
    if start == 0:
        audio = np.concatenate([[0.0], audio])
    return audio[1:] - factor * audio[:-1]
