"""The embedded lip network: audio features to mouth blendshapes at 25 frames per second.

It is the average of several trainings of a small temporal convolutional network that sees about 0.6 s before and after
a frame. It predicts mouth movement relative to the speaker's own range; rest is 0. `mimaface_cli.builders.speech478`
trains it.
"""

from dataclasses import dataclass

import numpy as np

from mimaface_cli.media.waveform import SAMPLE_RATE
from mimaface_cli.speech.audio_features import SpeechFrontEnd
from mimaface_cli.speech.numpy_layers import convolve_centered, gelu_tanh, normalize_layer

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
CHANNELS = (*UNPAIRED_BLENDSHAPES, *PAIRED_BLENDSHAPES, "gap", "closed")
"""Outputs of the network. gap: distance of the inner lips in model units; closed: log odds that the lips meet."""
GAP, CLOSED = len(CHANNELS) - 2, len(CHANNELS) - 1
DILATIONS = (1, 2, 4)
CONTEXT = 12  # video frames before and after a frame that it depends on


@dataclass(frozen=True, eq=False)
class LipModel:
    """The lip network with its front end and output scaling.

    `rest`, `scale` and `gain` have one number for each channel except `closed`.

    Attributes:
        front_end: Models that compute the features.
        nets: Arrays of each training.
        rest: Output of the network at rest.
        scale: Range of a typical speaker.
        gain: Factor that compensates for the network's cautious predictions.
        close_at: Log odds above which the lips meet.
        version: Hash of the build.
    """

    front_end: SpeechFrontEnd
    nets: tuple[dict[str, np.ndarray], ...]
    rest: np.ndarray
    scale: np.ndarray
    gain: np.ndarray
    close_at: float
    version: str

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Average the predictions of all trainings.

        Args:
            features: 4 T × F.

        Returns:
            T × 17 channels. The first and last CONTEXT frames lack context and should not be used.
        """
        return np.mean([run_network(net, features) for net in self.nets], axis=0)


def run_network(net: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Run one training of the network.

    Args:
        net: Its arrays.
        x: 4 T × F features.

    Returns:
        T × channels.
    """
    x = gelu_tanh(convolve_centered(x, net["a.weight"], net["a.bias"], stride=2))
    x = gelu_tanh(convolve_centered(x, net["b.weight"], net["b.bias"], stride=2))
    for k, dilation in enumerate(DILATIONS):
        block = f"blocks.{k}"
        inner = normalize_layer(x, net[f"{block}.norm.weight"]) + net[f"{block}.norm.bias"]
        inner = convolve_centered(inner, net[f"{block}.wide.weight"], net[f"{block}.wide.bias"], dilation=dilation)
        x = x + convolve_centered(gelu_tanh(inner), net[f"{block}.mix.weight"], net[f"{block}.mix.bias"])
    return convolve_centered(x, net["out.weight"], net["out.bias"])


def count_video_frames(samples: int) -> int:
    """Return the number of video frames for a number of samples, rounded up, at least 1."""
    return max(-(-samples * FRAME_RATE // SAMPLE_RATE), 1)
