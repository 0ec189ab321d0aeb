"""The embedded lip network: features of a sound -> the mouth's blendshapes of face478, 25 times a second.

A few small temporal convolutions, which hear about 0.6 s to either side, averaged over several trainings. It says how
the mouth moves in units of the speaker's own range; rest is 0. Trained by `mimaface_cli.builders.speech478`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from mimaface_cli.media.waveform import SAMPLE_RATE, Waveform
from mimaface_cli.motion.coefficients import EXPRESSION_DIM, blendshape_index
from mimaface_cli.speech.audio_features import FeatureExtractor, SpeechFrontEnd
from mimaface_cli.speech.numpy_layers import convolve_centered, norm
from mimaface_cli.speech.phones import BANDS, SPEECH_LEVEL, levels

FRAME_RATE = 25
FEATURES_PER_FRAME = 4  # frames of the sound's features for a frame of the picture
UNPAIRED_BLENDSHAPES = [
    "jawOpen",
    "mouthClose",
    "mouthFunnel",
    "mouthPucker",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
]
PAIRED_BLENDSHAPES = [
    "mouthSmile",
    "mouthFrown",
    "mouthDimple",
    "mouthPress",
    "mouthStretch",
    "mouthLowerDown",
    "mouthUpperUp",
]
CHANNELS = (*UNPAIRED_BLENDSHAPES, *PAIRED_BLENDSHAPES, "gap", "closed")
GAP, CLOSED = len(CHANNELS) - 2, len(CHANNELS) - 1
"""gap: of the inner lips in model units; closed: log odds that the lips meet."""
DILATIONS = (1, 2, 4)
SILENCE = -2.0  # loudness where nothing sounds
CONTEXT = 12  # frames of the picture to either side that a frame depends on
_BLOCK = 250  # frames of the picture computed at once: ten seconds
PHONES = {
    "lips": ("P", "B", "M"),
    "teeth": ("F", "V"),
    "round": ("UW", "W", "OW", "UH"),
    "spread": ("IY", "EY", "Y"),
    "hiss": ("SH", "CH", "JH", "ZH"),
}
"""Phones whose shape is plain to see. Likelihoods from which they are believed, and over which to the full:"""
_FROM, _OVER = np.array([0.14, 0.07, 0.15, 0.2, 0.15]), np.array([0.08, 0.12, 0.3, 0.4, 0.25])
_PHONE_SPREAD = 0.4  # frames
_QUIET, _AUDIBLE = -48.0, -38.0  # dB below the louder frames
_LEAST, _MOST = -0.25, 1.0  # of a blendshape
_SHORT = 2000  # samples that the encoder is tried on


@dataclass(frozen=True, eq=False)
class LipModel:
    """hearing: what its features are made by. nets: one dict of arrays for each training. rest, scale, gain: one for each channel but
    `closed`: what the network says at rest, a typical speaker's range, and what makes up for the network's caution.
    close_at: log odds from which the lips meet. version: hash-like name of the build.
    """

    front_end: SpeechFrontEnd
    nets: tuple[dict[str, np.ndarray], ...]
    rest: np.ndarray
    scale: np.ndarray
    gain: np.ndarray
    close_at: float
    version: str

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Features 4 T × F -> channels T × 17; the first and last CONTEXT of the T are not to be used."""
        return np.mean([run_network(net, features) for net in self.nets], axis=0)


def run_network(net: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """One network on features 4 T × F -> T × channels."""
    x = gelu(convolve_centered(x, net["a.weight"], net["a.bias"], stride=2))
    x = gelu(convolve_centered(x, net["b.weight"], net["b.bias"], stride=2))
    for k, dilation in enumerate(DILATIONS):
        inner = norm(x, net[f"blocks.{k}.norm.weight"]) + net[f"blocks.{k}.norm.bias"]
        wide = convolve_centered(inner, net[f"blocks.{k}.wide.weight"], net[f"blocks.{k}.wide.bias"], dilation=dilation)
        inner = gelu(wide)
        x = x + convolve_centered(inner, net[f"blocks.{k}.mix.weight"], net[f"blocks.{k}.mix.bias"])
    return convolve_centered(x, net["out.weight"], net["out.bias"])


def gelu(x: np.ndarray) -> np.ndarray:
    """Gaussian error linear unit in its tanh form."""
    return 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))


def count_video_frames(samples: int) -> int:
    """Frames of the picture that last at least as long as so many samples."""
    return max(-(-samples * FRAME_RATE // SAMPLE_RATE), 1)


def predict_mouth(samples: Waveform, model: LipModel) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Expression coefficients n × 64 of the mouth alone and loudness n (1 for each 35 dB above the sound's mean), for
    as many frames as the sound lasts, a block at a time: the same whatever the blocks.
    """
    total = count_video_frames(len(samples))
    listener = FeatureExtractor(samples, model.front_end)
    means = listener.means
    for start in range(0, total, _BLOCK):
        stop = min(start + _BLOCK, total)
        if means.silent:
            yield np.zeros((stop - start, EXPRESSION_DIM)), np.full(stop - start, SILENCE)
            continue
        first, last = (start - CONTEXT) * FEATURES_PER_FRAME, (stop + CONTEXT) * FEATURES_PER_FRAME
        features, phones = listener.extract(first, last)
        loudness = np.maximum(features[:, -BANDS:].mean(1).reshape(-1, FEATURES_PER_FRAME).mean(1), SILENCE)
        phones = gaussian_filter1d(shown_phones(model, phones), _PHONE_SPREAD, axis=0)
        inner = slice(CONTEXT, -CONTEXT)
        spoken = expression(model, model.predict(features)[inner], phones[inner])
        level = (
            levels(samples, first, last).reshape(-1, FEATURES_PER_FRAME).max(1)
            + 20 * np.log10(means.gain)
            - SPEECH_LEVEL
        )
        yield spoken * sounding(level)[inner, None], loudness[inner]


def sounding(level: np.ndarray) -> np.ndarray:
    """0 where nothing sounds, 1 where something does (T), from dB below the louder frames (T): in silence the mouth
    rests for certain.
    """
    share = np.clip((maximum_filter1d(level, 5) - _QUIET) / (_AUDIBLE - _QUIET), 0, 1)
    return gaussian_filter1d(share, 1.2)


def shown_phones(model: LipModel, likely: np.ndarray) -> np.ndarray:
    """How likely the phones of each of PHONES sound at each frame of the picture (T × 5), from all phones' 4 T × P."""
    names = model.front_end.phones.names
    groups = [likely[:, [names.index(name) for name in group]].sum(1) for group in PHONES.values()]
    return np.stack(groups, 1).reshape(-1, FEATURES_PER_FRAME, len(PHONES)).max(1)


def expression(model: LipModel, channels: np.ndarray, phones: np.ndarray) -> np.ndarray:
    """Channels T × 17 of the network and phones T × 5 as of `shown_phones` to expression coefficients T × 64.

    The network is sure of how far the mouth opens and careful about its shape; a clear phone adds what is seen of it.
    """
    moved = (channels[:, :CLOSED] - model.rest) * model.scale * model.gain
    lips, teeth, round_, spread, hiss = np.clip((phones - _FROM) / _OVER, 0, 1).T
    result = np.zeros((len(channels), EXPRESSION_DIM))
    for k, name in enumerate(UNPAIRED_BLENDSHAPES):
        result[:, blendshape_index(name)] = moved[:, k]
    for k, name in enumerate(PAIRED_BLENDSHAPES, len(UNPAIRED_BLENDSHAPES)):
        result[:, blendshape_index(name + "Left")] = result[:, blendshape_index(name + "Right")] = moved[:, k]
    for name, more in (
        ("mouthPucker", 0.5 * round_ + 0.15 * hiss),
        ("mouthFunnel", 0.15 * round_ + 0.25 * hiss),
        ("mouthRollLower", 0.45 * teeth),
        ("mouthUpperUpLeft", 0.15 * teeth),
        ("mouthUpperUpRight", 0.15 * teeth),
        ("mouthStretchLeft", 0.15 * spread),
        ("mouthStretchRight", 0.15 * spread),
        ("mouthSmileLeft", 0.12 * spread - 0.15 * round_),
        ("mouthSmileRight", 0.12 * spread - 0.15 * round_),
    ):
        result[:, blendshape_index(name)] += more
    result = np.clip(result, _LEAST, _MOST)
    # What the columns leave open although the lips should be nearer: mouthClose brings them together.
    slope = lip_gap_gradient()
    near = (
        meeting(channels[:, CLOSED] - model.close_at)
        * (1 - lips)
        * (1 - 0.7 * teeth)
        * (1 - 0.35 * np.maximum(round_, hiss))
    )
    wanted = np.maximum(moved[:, GAP], 0) * near
    extra = np.maximum(result @ slope - wanted, 0) / -slope[blendshape_index("mouthClose")]
    result[:, blendshape_index("mouthClose")] = np.minimum(result[:, blendshape_index("mouthClose")] + extra, _MOST)
    return result


def meeting(odds: np.ndarray) -> np.ndarray:
    """Log odds above the threshold -> factor of the gap: 1 well below it, 0 from it on, smoothly between."""
    near = np.clip(-odds / 1.5, 0, 1)
    return near * near * (3 - 2 * near)


@lru_cache(maxsize=1)
def lip_gap_gradient() -> np.ndarray:
    """How far each expression coefficient parts the inner lips (64, model units)."""
    from mimaface_cli.face import face478

    basis = face478.load().expression_basis
    return (basis[[13, 82, 312], 1] - basis[[14, 87, 317], 1]).mean(0)
