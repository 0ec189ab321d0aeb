"""Emotions over speech: visible in the face, and without effect on the distance between the lips."""

import numpy as np
import pytest

from mimaface_cli.motion.coefficients import EXPRESSION_DIM, blendshape_index
from mimaface_cli.speech.emotion import Emotion, add_emotion
from mimaface_cli.speech.mouth_motion import lip_gap_gradient
from mimaface_cli.speech.style_options import EMOTIONS

SIGNS = {
    "happy": ("mouthSmileLeft", "cheekSquintRight"),
    "sad": ("browInnerUp", "mouthFrownLeft"),
    "angry": ("browDownLeft", "noseSneerRight"),
    "surprised": ("browOuterUpLeft", "eyeWideRight"),
    "calm": ("eyeBlinkLeft", "mouthSmileRight"),
}


@pytest.fixture
def speech():
    """Four seconds of syllables, each with open lips, closed lips and rounded lips."""
    expression = np.zeros((100, EXPRESSION_DIM), np.float32)
    open_part = np.maximum(np.sin(np.arange(100) * 2 * np.pi / 10), 0)
    expression[:, blendshape_index("jawOpen")] = 0.4 * open_part
    expression[50:, blendshape_index("mouthPucker")] = 0.5
    return expression


def apply(speech: np.ndarray, text: str, seed: int = 0) -> np.ndarray:
    expression = speech.copy()
    add_emotion(expression, Emotion.parse(text), np.random.default_rng(seed))
    return expression


@pytest.mark.parametrize("name", EMOTIONS)
def test_emotion_shows_in_the_face_and_leaves_the_lip_gap(speech, name):
    result = apply(speech, name)
    for sign in SIGNS[name]:
        assert (result - speech)[:, blendshape_index(sign)].mean() > 0.04, sign
    gap = lip_gap_gradient()
    assert np.abs(result @ gap - speech @ gap).max() < 1e-4
    assert result.max() <= 1


def test_emotion_grows_with_its_strength_and_is_seeded(speech):
    column = blendshape_index("mouthSmileLeft")
    weak, strong = apply(speech, "happy=0.3"), apply(speech, "happy=0.9")
    assert strong[:, column].mean() > 2.5 * weak[:, column].mean() > 0
    assert np.array_equal(apply(speech, "happy", 1), apply(speech, "happy", 1))
    assert not np.array_equal(apply(speech, "happy", 1), apply(speech, "happy", 2))
    assert Emotion.parse("happy=0") is None and Emotion.parse(None) is None


def test_rounded_lips_smile_less(speech):
    smile = apply(speech, "happy")[:, blendshape_index("mouthSmileLeft")]
    assert smile[60:].mean() < 0.6 * smile[:40].mean()


def test_blink_stays_a_blink_with_wide_eyes(speech):
    speech[20:24, [blendshape_index("eyeBlinkLeft"), blendshape_index("eyeBlinkRight")]] = 1
    result = apply(speech, "surprised")
    assert result[21, blendshape_index("eyeWideLeft")] < 0.05 < result[40, blendshape_index("eyeWideLeft")]
