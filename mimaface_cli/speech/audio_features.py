"""Sound -> what the lip network hears of it, a hundred times a second: an encoding of the sound, and its spectrum.

The encoding is what the first layers of a speech recognizer make of a sound (Moonshine's English "tiny" encoder, by
others and from very many speakers, see weights/speech478.md), projected onto the directions in which speech varies most.
Convolutions take 16 kHz samples to a frame every 24 ms; transformer layers with rotary positions look around.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.special import erf

from mimaface_cli.media.waveform import Waveform
from mimaface_cli.speech.numpy_layers import convolve, norm
from mimaface_cli.speech.phones import BANDS, HOP, PhoneModel, WaveformStatistics, measure_waveform, phones_and_bands

STRIDE = 384  # samples from frame to frame of the encoder; frame k is centerd on sample 384 k
_FIELD = 895  # samples that its convolutions see
_STRIDES = (64, 3, 2)
_HEADS = 8
_ROTATED = 0.9  # share of a head's numbers that carry the position
_BASE = 10_000.0
_WINDOW, _AROUND = 250, 62  # frames that are encoded at a time, and those to either side that they are heard with
_EPSILON = 1e-5
_BAND_SIZE = 8.0  # by which log energies are divided, for numbers of about unit size


@dataclass(frozen=True, eq=False)
class SpeechEncoder:
    """arrays: of the convolutions and layers, as `transformers`' MoonshineEncoder names them, matrices out × in.
    level: mean and variance of the first convolution's output over speech at SPEECH_LEVEL, by which it is normalized
    (Moonshine takes those of each recording, which would make a frame depend on all others). mean W, basis W × D: the
    projection of the last layer's frames.
    """

    arrays: dict[str, np.ndarray]
    level: np.ndarray
    mean: np.ndarray
    basis: np.ndarray

    @property
    def layers(self) -> int:
        """How many transformer layers there are."""
        return sum(name.endswith(".input_layernorm.weight") for name in self.arrays)

    def hidden(self, sound: np.ndarray) -> np.ndarray:
        """Samples S -> frames (S - 895) // 384 + 1 × W, frame k about sample 384 k + 447."""
        a = self.arrays
        taps = a["conv1.weight"].shape[2]
        x = np.lib.stride_tricks.sliding_window_view(sound, taps)[:: _STRIDES[0]] @ a["conv1.weight"][:, 0].T
        mean, variance = map(float, self.level)  # Python's numbers leave float32 as it is
        x = (np.tanh(x) - mean) / (variance + _EPSILON) ** 0.5
        x = x * a["groupnorm.weight"] + a["groupnorm.bias"]
        for name, stride in zip(("conv2", "conv3"), _STRIDES[1:]):
            x = _gelu(convolve(x, a[f"{name}.weight"], a[f"{name}.bias"], stride))
        turn = _turns(len(x), x.shape[1] // _HEADS)
        for k in range(self.layers):
            start = f"layers.{k}."
            x = _layer(x, {name.removeprefix(start): a[name] for name in a if name.startswith(start)}, turn)
        return x

    def project(self, hidden: np.ndarray) -> np.ndarray:
        """Frames T × W -> T × D of about unit size."""
        return (hidden - self.mean) @ self.basis


@dataclass(frozen=True, eq=False)
class SpeechFrontEnd:
    """What a sound is heard by: its phones, and the encoding."""

    phones: PhoneModel
    encoder: SpeechEncoder

    @property
    def width(self) -> int:
        """Numbers in a frame of features: encoding and bands."""
        return self.encoder.basis.shape[1] + BANDS


@dataclass(eq=False)
class FeatureExtractor:
    """Features of one sound, in whatever ranges, the same for a frame whatever range it is asked for with. Windows of
    the encoding are kept while they are near.
    """

    samples: Waveform
    front_end: SpeechFrontEnd
    means: WaveformStatistics = field(init=False)
    _windows: dict[int, np.ndarray] = field(init=False, default_factory=dict)

    def __post_init__(self):
        self.means = measure_waveform(self.samples)

    def extract(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Features of frames start..stop, (stop - start) × width: the encoding, and bands relative to the sound's mean;
        and the phones' probabilities. Frames beyond the sound are silent.
        """
        phones, bands = phones_and_bands(self.samples, self.means, self.front_end.phones, start, stop)
        features = np.concatenate([self.encode(start, stop), bands / _BAND_SIZE], 1)
        return features.astype(np.float32), phones

    def encode(self, start: int, stop: int) -> np.ndarray:
        """The encoder's part of frames start..stop, (stop - start) × D."""
        place = np.arange(start, stop) * (HOP / STRIDE)
        low = np.floor(place).astype(int)
        first, last = low[0] // _WINDOW, (low[-1] + 1) // _WINDOW
        self._windows = {k: kept for k, kept in self._windows.items() if first <= k <= last}
        for k in range(first, last + 1):
            if k not in self._windows:
                self._windows[k] = self._window(k)
        frames = np.concatenate([self._windows[k] for k in range(first, last + 1)])
        low = low - first * _WINDOW
        share = (place % 1)[:, None].astype(np.float32)
        return frames[low] * (1 - share) + frames[low + 1] * share

    def _window(self, k: int) -> np.ndarray:
        begin = (k * _WINDOW - _AROUND) * STRIDE - _FIELD // 2
        sound = self.samples.read(begin, begin + (_WINDOW + 2 * _AROUND - 1) * STRIDE + _FIELD)
        encoder = self.front_end.encoder
        hidden = encoder.hidden(sound * np.float32(self.means.gain))
        return encoder.project(hidden[_AROUND:-_AROUND]).astype(np.float32)


def _layer(x: np.ndarray, a: dict[str, np.ndarray], turn: np.ndarray) -> np.ndarray:
    inner = norm(x, a["input_layernorm.weight"])
    heads = lambda name: (inner @ a[f"self_attn.{name}.weight"].T).reshape(len(x), _HEADS, -1).swapaxes(0, 1)  # noqa: E731
    queries, keys, values = _rotate(heads("q_proj"), turn), _rotate(heads("k_proj"), turn), heads("v_proj")
    alike = queries @ keys.swapaxes(1, 2) / np.float32(np.sqrt(queries.shape[2]))
    alike = np.exp(alike - alike.max(2, keepdims=True))
    seen = (alike @ values / alike.sum(2, keepdims=True)).swapaxes(0, 1).reshape(len(x), -1)
    x = x + seen @ a["self_attn.o_proj.weight"].T
    inner = norm(x, a["post_attention_layernorm.weight"])
    inner = _gelu(inner @ a["mlp.fc1.weight"].T + a["mlp.fc1.bias"])
    return x + inner @ a["mlp.fc2.weight"].T + a["mlp.fc2.bias"]


def _turns(frames: int, width: int) -> np.ndarray:
    """Unit complex numbers, frames × pairs, by which pairs of a head's numbers are turned for their position."""
    pairs = int(width * _ROTATED) // 2
    speed = _BASE ** (-np.arange(pairs) / pairs)
    return np.exp(1j * np.arange(frames)[:, None] * speed).astype(np.complex64)


def _rotate(x: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Rotary positions: neighboring numbers of heads × T × width are turned as pairs, the last ones left alone."""
    many = 2 * turn.shape[1]
    turned = np.ascontiguousarray(x[..., :many]).view(np.complex64) * turn
    return np.concatenate([turned.view(np.float32), x[..., many:]], 2)


def _gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + erf(x * np.float32(np.sqrt(0.5))))
