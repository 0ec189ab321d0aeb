"""Idle motion of a face that listens or waits: breath, drift of the head, small movements of brows, lids and lips.

The same audio and seed give the same motion. The motion has no period, so that it never loops.
"""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from mimaface_cli.motion.coefficients import EXPRESSION_DIM, blendshape_index
from mimaface_cli.speech.lip_network import FRAME_RATE
from mimaface_cli.speech.nonverbal_motion import add_bump, generate_sway, make_bump

_BREATH_RATE, _BREATH_VARIATION = 0.23, 0.05  # Hz: mean and standard deviation
_BREATH_PITCH, _BREATH_RISE = 0.007, 0.012  # rad and model units: the head rises and tilts back while inhaling
_INHALE_SHARE = 0.4  # of a breath
_DRIFT = np.array([0.008, 0.006, 0.01])  # model units, standard deviation of the head's position
_DRIFT_FREQUENCY = 0.06  # Hz
_FACE_FREQUENCY = 0.12  # Hz
_FACE_DRIFT = {"browInnerUp": 0.05, "browDown": 0.04, "eyeSquint": 0.04, "eyeBlink": 0.03}  # standard deviations
_SMILE_DRIFT = 0.05
_PRESS, _MIN_PRESS_GAP, _MEAN_EXTRA_PRESS_GAP = 0.3, 4.0, 7.0  # amount; seconds between presses of the lips


def generate_breath(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Generate the fill of the lungs over time.

    Args:
        frames: Number of frames T.
        rng: Source of randomness.

    Returns:
        T, from 0 (exhaled) to 1 (inhaled).
    """
    rate = _BREATH_RATE + _BREATH_VARIATION * generate_sway(frames, 0.05, rng)[:, 0]
    phase = (rng.random() + np.cumsum(np.maximum(rate, 0.1)) / FRAME_RATE) % 1
    part = np.where(phase < _INHALE_SHARE, phase / _INHALE_SHARE, 1 - (phase - _INHALE_SHARE) / (1 - _INHALE_SHARE))
    return 0.5 - 0.5 * np.cos(np.pi * part)


def generate_idle_pose(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Generate the head's small motion by breath and drift.

    Returns:
        T × 6: angles (rad) and translation (model units).
    """
    pose = np.zeros((frames, 6))
    breath = generate_breath(frames, rng) - 0.5
    pose[:, 0] = -_BREATH_PITCH * breath
    pose[:, 3:] = _DRIFT * generate_sway(frames, _DRIFT_FREQUENCY, rng)
    pose[:, 4] += _BREATH_RISE * breath
    return pose


def generate_idle_face(activity: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Generate small movements of brows and lids, and of the lips in silence. The lips stay closed.

    Args:
        activity: T, speech activity from 0 to 1.
        rng: Source of randomness.

    Returns:
        T × 64 expression coefficients.
    """
    frames = len(activity)
    expression = np.zeros((frames, EXPRESSION_DIM), np.float32)
    for name, deviation in _FACE_DRIFT.items():
        drift = deviation * np.clip(generate_sway(frames, _FACE_FREQUENCY, rng), -2, 2)
        if name == "browInnerUp":
            expression[:, blendshape_index(name)] = drift[:, 0]
        else:  # the sides move together, but not exactly
            expression[:, blendshape_index(name + "Left")] = 0.9 * drift[:, 0] + 0.3 * drift[:, 1]
            expression[:, blendshape_index(name + "Right")] = 0.9 * drift[:, 0] + 0.3 * drift[:, 2]
    rest = 1 - gaussian_filter1d(activity, 0.2 * FRAME_RATE)
    smile = _SMILE_DRIFT * np.clip(generate_sway(frames, _FACE_FREQUENCY, rng), -2, 2)
    press = _generate_presses(frames, rng)
    for k, side in enumerate(("Left", "Right")):
        expression[:, blendshape_index("mouthSmile" + side)] = rest * (0.9 * smile[:, 0] + 0.3 * smile[:, k + 1])
        expression[:, blendshape_index("mouthPress" + side)] = rest * press
    return expression


def _generate_presses(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Generate brief presses of the lips (T), seconds apart."""
    press = np.zeros(frames)
    time = rng.uniform(2.0, 6.0)
    while time * FRAME_RATE < frames:
        add_bump(
            press, rng.uniform(0.5, 1) * _PRESS * make_bump(0.25, rng.uniform(0.1, 0.4), 0.5), round(time * FRAME_RATE)
        )
        time += _MIN_PRESS_GAP + rng.gamma(2.0, _MEAN_EXTRA_PRESS_GAP / 2)
    return press
