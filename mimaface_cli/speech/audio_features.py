"""Input features of the lip network: a speech encoding and mel band energies.

There are 100 feature frames per second.

The encoding comes from the first layers of a pretrained speech recognizer, Moonshine's English "tiny" encoder (see
weights/speech478.md). It is projected onto its principal components on speech. Convolutions turn 16 kHz samples into a
frame every 24 ms. Transformer layers with rotary position embeddings add context.

Source: Jeffries et al. 2024, "Moonshine: Speech Recognition for Live Transcription and Voice Commands".
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.special import erf

from mimaface_cli.media.waveform import Waveform
from mimaface_cli.speech.numpy_layers import apply_layer_norm, convolve
from mimaface_cli.speech.phones import (
    BANDS,
    HOP,
    PhoneModel,
    WaveformStatistics,
    compute_log_bands,
    compute_phones_and_bands,
    measure_waveform,
)

STRIDE = 384  # samples between frames of the encoder; frame k is centered on sample 384 k
_RECEPTIVE_FIELD = 895  # samples from which the convolutions compute one frame
_CONV_STRIDES = (64, 3, 2)
_HEADS = 8
_ROTARY_SHARE = 0.9  # share of a head's dimensions that are rotated
_ROTARY_BASE = 10_000.0
_WINDOW = 250  # frames encoded at once
_WINDOW_CONTEXT = 62  # extra frames on either side as context for the transformer layers
_EPSILON = 1e-5
_BAND_SCALE = 8.0  # divisor that brings the log energies to about unit size


@dataclass(frozen=True, eq=False)
class SpeechEncoder:
    """The first layers of Moonshine's encoder in NumPy.

    Attributes:
        arrays: Weights by the names of MoonshineEncoder in `transformers`. Matrices are out × in.
        level: Mean and variance of the first convolution's output, measured on speech at SPEECH_LEVEL. They normalize
            that output. Moonshine measures them on each recording, so that every frame depends on all others.
        mean: W, mean of the last layer's frames.
        basis: W × D, projection of the last layer's frames.
    """

    arrays: dict[str, np.ndarray]
    level: np.ndarray
    mean: np.ndarray
    basis: np.ndarray

    @property
    def layers(self) -> int:
        """Number of transformer layers."""
        return sum(name.endswith(".input_layernorm.weight") for name in self.arrays)

    def compute_hidden_states(self, samples: np.ndarray) -> np.ndarray:
        """Compute the last layer's frames.

        Args:
            samples: S float32, mono audio at 16 kHz.

        Returns:
            ((S - 895) // 384 + 1) × W. Frame k is centered on sample 384 k + 447.
        """
        arrays = self.arrays
        taps = arrays["conv1.weight"].shape[2]
        windows = np.lib.stride_tricks.sliding_window_view(samples, taps)[:: _CONV_STRIDES[0]]
        x = windows @ arrays["conv1.weight"][:, 0].T
        mean, variance = map(float, self.level)  # Python floats do not change float32 arrays to float64
        x = (np.tanh(x) - mean) / (variance + _EPSILON) ** 0.5
        x = x * arrays["groupnorm.weight"] + arrays["groupnorm.bias"]
        for name, stride in zip(("conv2", "conv3"), _CONV_STRIDES[1:], strict=True):
            x = _gelu(convolve(x, arrays[f"{name}.weight"], arrays[f"{name}.bias"], stride))
        rotation = _rotary_factors(len(x), x.shape[1] // _HEADS)
        for k in range(self.layers):
            prefix = f"layers.{k}."
            layer = {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
            x = _run_layer(x, layer, rotation)
        return x

    def project(self, hidden: np.ndarray) -> np.ndarray:
        """Project hidden states T × W to T × D encodings of about unit size."""
        return (hidden - self.mean) @ self.basis


@dataclass(frozen=True, eq=False)
class SpeechFrontEnd:
    """The models that turn audio into features.

    Attributes:
        phones: Gaussian mixtures of phones.
        encoder: Speech encoder.
    """

    phones: PhoneModel
    encoder: SpeechEncoder

    @property
    def width(self) -> int:
        """Features per frame: the encoding, then the bands."""
        return self.encoder.basis.shape[1] + BANDS


@dataclass(eq=False)
class FeatureExtractor:
    """Extractor of a recording's features in any range.

    A frame's features do not depend on the requested range.

    The encoder's windows that the last range used stay cached.

    Attributes:
        waveform: The recording.
        front_end: The models.
        statistics: The recording's level and mean spectrum.
    """

    waveform: Waveform
    front_end: SpeechFrontEnd
    statistics: WaveformStatistics = field(init=False)
    _windows: dict[int, np.ndarray] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.statistics = measure_waveform(self.waveform)

    def extract(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Compute the features of frames start to stop - 1.

        The recording is silent beyond both ends.

        Returns:
            Features, (stop - start) × width float32 (the encoding, then the bands relative to the recording's mean),
            and phone probabilities, (stop - start) × P.
        """
        phones, bands = compute_phones_and_bands(self.waveform, self.statistics, self.front_end.phones, start, stop)
        features = np.concatenate([self.encode(start, stop), bands / _BAND_SCALE], 1)
        return features.astype(np.float32), phones

    def extract_network_input(self, start: int, stop: int) -> np.ndarray:
        """Compute the features of `extract` without the phone probabilities."""
        bands = compute_log_bands(self.waveform, start, stop, self.statistics.gain) - self.statistics.bands
        return np.concatenate([self.encode(start, stop), bands / _BAND_SCALE], 1).astype(np.float32)

    def encode(self, start: int, stop: int) -> np.ndarray:
        """Return the encoding of frames start to stop - 1, interpolated from the encoder's frames.

        Returns:
            (stop - start) × D.
        """
        positions = np.arange(start, stop) * (HOP / STRIDE)
        low = np.floor(positions).astype(int)
        first, last = low[0] // _WINDOW, (low[-1] + 1) // _WINDOW
        self._windows = {k: window for k, window in self._windows.items() if first <= k <= last}
        for k in range(first, last + 1):
            if k not in self._windows:
                self._windows[k] = self._encode_window(k)
        frames = np.concatenate([self._windows[k] for k in range(first, last + 1)])
        low = low - first * _WINDOW
        fraction = (positions % 1)[:, None].astype(np.float32)
        return frames[low] * (1 - fraction) + frames[low + 1] * fraction

    def _encode_window(self, k: int) -> np.ndarray:
        begin = (k * _WINDOW - _WINDOW_CONTEXT) * STRIDE - _RECEPTIVE_FIELD // 2
        end = begin + (_WINDOW + 2 * _WINDOW_CONTEXT - 1) * STRIDE + _RECEPTIVE_FIELD
        samples = self.waveform.read(begin, end)
        encoder = self.front_end.encoder
        hidden = encoder.compute_hidden_states(samples * np.float32(self.statistics.gain))
        return encoder.project(hidden[_WINDOW_CONTEXT:-_WINDOW_CONTEXT]).astype(np.float32)


def _run_layer(x: np.ndarray, arrays: dict[str, np.ndarray], rotation: np.ndarray) -> np.ndarray:
    """Run one transformer layer on T × W frames: self-attention, then the feed-forward part."""
    inner = apply_layer_norm(x, arrays["input_layernorm.weight"])
    queries = _rotate(_split_heads(inner @ arrays["self_attn.q_proj.weight"].T), rotation)
    keys = _rotate(_split_heads(inner @ arrays["self_attn.k_proj.weight"].T), rotation)
    values = _split_heads(inner @ arrays["self_attn.v_proj.weight"].T)
    scores = queries @ keys.swapaxes(1, 2) / np.float32(np.sqrt(queries.shape[2]))
    scores = np.exp(scores - scores.max(2, keepdims=True))
    attended = (scores @ values / scores.sum(2, keepdims=True)).swapaxes(0, 1).reshape(len(x), -1)
    x = x + attended @ arrays["self_attn.o_proj.weight"].T
    inner = apply_layer_norm(x, arrays["post_attention_layernorm.weight"])
    inner = _gelu(inner @ arrays["mlp.fc1.weight"].T + arrays["mlp.fc1.bias"])
    return x + inner @ arrays["mlp.fc2.weight"].T + arrays["mlp.fc2.bias"]


def _split_heads(x: np.ndarray) -> np.ndarray:
    """Reshape T × W to heads × T × W / heads."""
    return x.reshape(len(x), _HEADS, -1).swapaxes(0, 1)


def _rotary_factors(frames: int, width: int) -> np.ndarray:
    """Return the unit complex numbers (frames × pairs) by which positions rotate pairs of dimensions."""
    pairs = int(width * _ROTARY_SHARE) // 2
    frequencies = _ROTARY_BASE ** (-np.arange(pairs) / pairs)
    return np.exp(1j * np.arange(frames)[:, None] * frequencies).astype(np.complex64)


def _rotate(x: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Apply rotary position embeddings to heads × T × width.

    Pairs of neighboring dimensions are rotated. The last dimensions stay unchanged.
    """
    rotated_width = 2 * rotation.shape[1]
    rotated = np.ascontiguousarray(x[..., :rotated_width]).view(np.complex64) * rotation
    return np.concatenate([rotated.view(np.float32), x[..., rotated_width:]], 2)


def _gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + erf(x * np.float32(np.sqrt(0.5))))
