"""Emotions of a speaker: expression presets over speech-driven motion that leave the lips to the speech.

Brows, lids, nose and cheeks take the whole preset. The corners of the mouth take less of it where the lips meet or
are rounded for a sound. The distance between the lips never changes.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from mimaface_cli.motion.coefficients import BLENDSHAPES, blendshape_index
from mimaface_cli.speech.mouth_motion import lip_gap_gradient, set_lip_gap
from mimaface_cli.speech.nonverbal_motion import generate_sway, measure_activity
from mimaface_cli.speech.style_options import parse_emotion

_FACE: dict[str, dict[str, float]] = {
    "happy": {"cheekSquint": 0.5, "eyeSquint": 0.35, "browOuterUp": 0.12, "browInnerUp": 0.08},
    "sad": {"browInnerUp": 0.7, "browDown": 0.12, "eyeBlink": 0.14, "eyeSquint": 0.08},
    "angry": {"browDown": 0.8, "eyeSquint": 0.25, "eyeWide": 0.12, "noseSneer": 0.4, "cheekSquint": 0.15},
    "surprised": {"browInnerUp": 0.8, "browOuterUp": 0.75, "eyeWide": 0.65},
    "calm": {"eyeBlink": 0.12, "browInnerUp": 0.06},
}
"""Blendshapes apart from the mouth at full strength, both sides."""
_MOUTH: dict[str, dict[str, float]] = {
    "happy": {"mouthSmile": 0.55, "mouthDimple": 0.12, "mouthUpperUp": 0.06},
    "sad": {"mouthFrown": 0.5, "mouthShrugLower": 0.15, "mouthStretch": 0.05},
    "angry": {"mouthFrown": 0.2, "mouthPress": 0.18, "mouthUpperUp": 0.1},
    "surprised": {"mouthUpperUp": 0.06, "mouthLowerDown": 0.05},
    "calm": {"mouthSmile": 0.12},
}
HEAD_FACTORS = {"happy": 1.1, "sad": 0.6, "angry": 1.15, "surprised": 1.0, "calm": 0.6}
"""Factor on the head motion at full strength."""
_DRIFT, _DRIFT_FREQUENCY = 0.12, 0.15  # share of the strength that comes and goes; Hz
_CLOSED_GAP = 0.02  # model units; lips that are nearer to each other count as closing for a sound
_CLOSED_LOSS, _ROUNDED_LOSS = 0.4, 0.7  # shares of the mouth's part that closed and rounded lips take away
_ROUNDED = 0.4  # sum of pucker and funnel at which the lips count as rounded
_SMOOTHING = 1.5  # frames, standard deviation


@dataclass(frozen=True)
class Emotion:
    """An emotion and its strength.

    Attributes:
        name: Name of the preset.
        strength: 0 to 1.
    """

    name: str
    strength: float

    @classmethod
    def parse(cls, text: str | None) -> "Emotion | None":
        """Return the emotion that an option names, or None."""
        parsed = parse_emotion(text)
        return None if parsed is None or parsed[1] == 0 else cls(*parsed)

    @property
    def head_factor(self) -> float:
        """Factor on the head motion."""
        return 1 + self.strength * (HEAD_FACTORS[self.name] - 1)


def add_emotion(expression: np.ndarray, emotion: Emotion, rng: np.random.Generator) -> None:
    """Add an emotion to the expression coefficients (in place).

    Args:
        expression: T × 64, expression of a speaker with blinks.
        emotion: The emotion.
        rng: Source of randomness: the strength comes and goes a little.
    """
    gap = expression @ lip_gap_gradient()
    drift = np.clip(generate_sway(len(expression), _DRIFT_FREQUENCY, rng)[:, 0], -2, 2)
    strength = emotion.strength * (1 + _DRIFT * drift)
    mouth_strength = strength * _mouth_freedom(expression, gap)
    open_share = 1 - np.clip(expression[:, [blendshape_index("eyeBlinkLeft"), blendshape_index("eyeBlinkRight")]], 0, 1)
    for name, amount in _FACE[emotion.name].items():
        for column in _columns(name):
            change = amount * strength
            if name in ("eyeBlink", "eyeWide"):  # a blink shuts the lids all the same
                change = change * open_share.mean(1)
            expression[:, column] = np.minimum(expression[:, column] + change, 1)
    for name, amount in _MOUTH[emotion.name].items():
        for column in _columns(name):
            expression[:, column] = np.minimum(expression[:, column] + amount * mouth_strength, 1)
    set_lip_gap(expression, gap)


def _mouth_freedom(expression: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """Return the share (T) of an emotion that the mouth shows: 1 at rest, less where speech needs the lips."""
    is_closing = measure_activity(expression) * np.clip(1 - gap / _CLOSED_GAP, 0, 1)
    rounded = expression[:, blendshape_index("mouthPucker")] + expression[:, blendshape_index("mouthFunnel")]
    share = (1 - _CLOSED_LOSS * is_closing) * (1 - _ROUNDED_LOSS * np.clip(rounded / _ROUNDED, 0, 1))
    return gaussian_filter1d(share, _SMOOTHING)


def _columns(name: str) -> list[int]:
    """Return the columns of a blendshape: both sides if it has sides."""
    names = [name] if name in BLENDSHAPES else [f"{name}Left", f"{name}Right"]
    return [blendshape_index(side) for side in names]
