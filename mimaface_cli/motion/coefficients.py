"""Coefficients of a face: their counts, the names of the expression columns, and a container for motion."""

from dataclasses import dataclass

import numpy as np

IDENTITY_DIM, EXPRESSION_DIM, TEXTURE_DIM, LIGHT_DIM = 80, 64, 80, 27

# MediaPipe's blendshape scores in its order: names of the first 52 expression coefficients of face478.
BLENDSHAPES = [
    "_neutral",
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "eyeBlinkLeft",
    "eyeBlinkRight",
    "eyeLookDownLeft",
    "eyeLookDownRight",
    "eyeLookInLeft",
    "eyeLookInRight",
    "eyeLookOutLeft",
    "eyeLookOutRight",
    "eyeLookUpLeft",
    "eyeLookUpRight",
    "eyeSquintLeft",
    "eyeSquintRight",
    "eyeWideLeft",
    "eyeWideRight",
    "jawForward",
    "jawLeft",
    "jawOpen",
    "jawRight",
    "mouthClose",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthFunnel",
    "mouthLeft",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthPucker",
    "mouthRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "noseSneerLeft",
    "noseSneerRight",
]
# The landmark model never scores these: its outputs for them stay below 0.02.
UNSCORED_BLENDSHAPES = (
    "_neutral",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "jawForward",
    "noseSneerLeft",
    "noseSneerRight",
)


@dataclass(frozen=True)
class Coefficients:
    """Coefficients that describe motion, over N frames.

    Args:
        expression: (N, 64), in the space of the track or portrait.
        pose: (N, 6), angles about x, y, z in radians, then translation x, y, z in model units.
        gaze: (N, 4), yaw and pitch of the left, then of the right eye, in radians (bfm09: outputs of its network).
    """

    expression: np.ndarray
    pose: np.ndarray
    gaze: np.ndarray

    def __len__(self) -> int:
        return len(self.pose)


def blendshape_index(name: str) -> int:
    """Return the column of a named expression coefficient.

    Raises:
        KeyError: For an unknown name; the message lists the known ones.
    """
    if name not in BLENDSHAPES:
        raise KeyError(f"{name}: unknown blendshape. Choose one of {', '.join(BLENDSHAPES)}.")
    return BLENDSHAPES.index(name)
