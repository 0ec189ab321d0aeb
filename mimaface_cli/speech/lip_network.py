"""The embedded lip network: audio features to mouth blendshapes at 25 frames per second.

It is an ensemble: the average of small temporal convolutional networks that differ in their random initialization, and
of a linear regression. A frame depends on about 0.6 s of audio before and after it. Mouth movement is relative to the
speaker's range; 0 is the mouth at rest. `mimaface_cli.builders.speech478` trains the networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mimaface_cli.media.waveform import SAMPLE_RATE
from mimaface_cli.speech.audio_features import SpeechFrontEnd
from mimaface_cli.speech.numpy_layers import apply_layer_norm, convolve_centered, gelu_tanh

FRAME_RATE = 25
FEATURES_PER_FRAME = 4  # feature frames per video frame
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
PAIRED_BLENDSHAPES = [  # predicted once for both sides
    "mouthSmile",
    "mouthFrown",
    "mouthDimple",
    "mouthPress",
    "mouthStretch",
    "mouthLowerDown",
    "mouthUpperUp",
]
CHANNELS = (*UNPAIRED_BLENDSHAPES, *PAIRED_BLENDSHAPES, "gap", "closed", "speech")
"""Outputs of the network. "gap": distance between the inner lips in model units; "closed": log odds of closed lips;
"speech": log odds of speech, rather than noise or music."""
GAP, CLOSED, SPEECH = range(len(CHANNELS) - 3, len(CHANNELS))
DILATIONS = (1, 2, 4)
CONTEXT = 12  # number of video frames before and after a frame on which its output depends
LINEAR_REACH = 8  # the same for the linear member
LINEAR_SHARE = 0.4


@dataclass(frozen=True, eq=False)
class LipModel:
    """The lip network with its front end and output scaling.

    `rest`, `scale` and `gain` have one value for each channel except "closed" and "speech".

    Attributes:
        front_end: Models that compute the features.
        nets: Weights of each network of the ensemble, by name.
        rest: Output of the network for a mouth at rest.
        scale: Range of a typical speaker.
        gain: Factor that compensates for the network's tendency to predict too little movement.
        gap_curve: 2 × K, increasing: outputs of "gap", and the gaps above rest, in units of `scale`, that people's lips
            exceed as often.
        closing_threshold: Log odds above which the lips are closed.
        version: Hash of the build.
    """

    front_end: SpeechFrontEnd
    nets: tuple[dict[str, np.ndarray], ...]
    rest: np.ndarray
    scale: np.ndarray
    gain: np.ndarray
    gap_curve: np.ndarray
    closing_threshold: float
    version: str

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Average the predictions of all networks of the ensemble.

        Args:
            features: 4 T × F, feature frames.

        Returns:
            T × 18, channels of video frames. The first and last CONTEXT frames lack context and should not be used.
        """
        return run_ensemble(self.nets, features)

    def lip_gap(self, output: np.ndarray) -> np.ndarray:
        """Return the distance of the inner lips (T, model units, at least 0) for the outputs of "gap" (T)."""
        outputs, gaps = self.gap_curve
        slope = (gaps[-1] - gaps[-2]) / (outputs[-1] - outputs[-2])
        above_rest = np.interp(output, outputs, gaps) + slope * np.maximum(output - outputs[-1], 0)
        return np.maximum(above_rest, 0) * self.scale[GAP]


def run_ensemble(nets: Sequence[dict[str, np.ndarray]], x: np.ndarray) -> np.ndarray:
    """Average the outputs of networks. Linear ones together have the weight LINEAR_SHARE beside others.

    Args:
        nets: Weights of each network by name.
        x: 4 T × F, feature frames.

    Returns:
        T × 18.
    """
    groups = [[net for net in nets if _is_linear(net) == is_linear] for is_linear in (False, True)]
    means = [np.mean([run_network(net, x) for net in group], axis=0) for group in groups if group]
    return means[0] if len(means) == 1 else (1 - LINEAR_SHARE) * means[0] + LINEAR_SHARE * means[1]


def _is_linear(net: dict[str, np.ndarray]) -> bool:
    return "linear.weight" in net


def pool_frames(x: np.ndarray) -> np.ndarray:
    """Average the feature frames around each video frame.

    Args:
        x: N × F, feature frames.

    Returns:
        ceil(N / 4) × F.
    """
    count = -(-len(x) // FEATURES_PER_FRAME)
    before = FEATURES_PER_FRAME // 2
    padded = np.pad(x, ((before, FEATURES_PER_FRAME), (0, 0)))[: count * FEATURES_PER_FRAME]
    return padded.reshape(count, FEATURES_PER_FRAME, -1).mean(1)


def run_network(net: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Run one network of the ensemble.

    Args:
        net: Its weights by name.
        x: 4 T × F, feature frames.

    Returns:
        T × 18, channels of video frames.
    """
    if _is_linear(net):
        return convolve_centered(pool_frames(x), net["linear.weight"], net["linear.bias"])
    x = gelu_tanh(convolve_centered(x, net["a.weight"], net["a.bias"], stride=2))
    x = gelu_tanh(convolve_centered(x, net["b.weight"], net["b.bias"], stride=2))
    for k, dilation in enumerate(DILATIONS):
        block = f"blocks.{k}"
        inner = apply_layer_norm(x, net[f"{block}.norm.weight"]) + net[f"{block}.norm.bias"]
        inner = convolve_centered(inner, net[f"{block}.wide.weight"], net[f"{block}.wide.bias"], dilation=dilation)
        x = x + convolve_centered(gelu_tanh(inner), net[f"{block}.mix.weight"], net[f"{block}.mix.bias"])
    return convolve_centered(x, net["out.weight"], net["out.bias"])


def count_video_frames(samples: int) -> int:
    """Return the number of video frames for a number of samples, rounded up, at least 1."""
    return max(-(-samples * FRAME_RATE // SAMPLE_RATE), 1)
