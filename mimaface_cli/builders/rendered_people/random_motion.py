"""How rendered people move: smooth head turns, speech-like mouths, smiles, brows, blinks and glances."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from mimaface_cli.motion.coefficients import EXPRESSION_DIM, Coefficients, blendshape_index

# Largest turns (pitch, yaw, roll; rad) and shifts (model units) of a head.
TURN = np.radians([14.0, 30.0, 9.0])
SHIFT = np.array([0.10, 0.08, 0.25])
GLANCE = np.radians([26.0, 16.0])  # of the irises: yaw, pitch
_MOODS = (
    (("mouthSmileLeft", "mouthSmileRight"), 1.0),
    (("browInnerUp", "browOuterUpLeft", "browOuterUpRight"), 1.0),
    (("browDownLeft", "browDownRight"), 1.0),
    (("mouthFrownLeft", "mouthFrownRight", "mouthShrugLower"), 0.8),
    (("mouthPucker",), 0.9),
    (("eyeSquintLeft", "eyeSquintRight"), 0.9),
    (("mouthLeft",), 0.8),
    (("mouthRight",), 0.8),
    (("mouthStretchLeft", "mouthStretchRight"), 0.7),
    (("mouthUpperUpLeft", "mouthUpperUpRight"), 0.8),
    (("eyeWideLeft", "eyeWideRight"), 0.8),
)


def make_moves(seed: int, frames: int, rate: float = 25.0) -> Coefficients:
    """Expression N×64, pose N×6 and gaze N×4 (rad) of a clip, at `rate` frames a second; the same for a seed."""
    rng = np.random.default_rng((10_478, seed))
    spare = int(rate)  # smoothing sees as much at the ends as in the middle
    total = frames + 2 * spare
    cut = slice(spare, spare + frames)

    def wander(reach: float, seconds: float) -> np.ndarray:
        """Smooth noise within about ±reach."""
        noise = gaussian_filter1d(rng.normal(size=total + 8 * spare), seconds * rate, mode="reflect")
        noise = noise[4 * spare :][:total] / (noise.std() + 1e-9)
        return reach * np.tanh(0.8 * noise + rng.normal(0, 0.5))

    pose = np.stack([wander(reach, 0.45) for reach in (*TURN, *SHIFT)], -1)
    expression = np.zeros((total, EXPRESSION_DIM))
    for names, reach in _MOODS:
        if rng.random() < 0.4:
            level = np.clip(wander(1.2, 0.3), 0, 1) * reach
            for name in names:
                expression[:, blendshape_index(name)] = np.maximum(
                    expression[:, blendshape_index(name)], level * rng.uniform(0.8, 1.0)
                )
    if rng.random() < 0.7:  # talks
        jaw = np.clip(0.25 + wander(0.5, 0.06) + wander(0.25, 0.3), 0, 0.9)
        expression[:, blendshape_index("jawOpen")] = jaw
        expression[:, blendshape_index("mouthFunnel")] = np.clip(wander(0.8, 0.09), 0, 1)
        for name in ("mouthLowerDownLeft", "mouthLowerDownRight"):
            expression[:, blendshape_index(name)] = 0.5 * jaw
    expression[:, 52:] = 0.15 * np.stack([wander(1.0, 0.4) for _ in range(EXPRESSION_DIM - 52)], -1)
    shut = np.zeros(total)
    place = rng.uniform(0, 1.5) * rate
    while place < total:
        width = rng.uniform(1.1, 2.2)
        shut = np.maximum(shut, np.exp(-(((np.arange(total) - place) / width) ** 2)))
        place += rng.uniform(0.7, 3.0) * rate
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        column = blendshape_index(name)
        expression[:, column] = np.maximum(expression[:, column], shut)
    glance = np.zeros((total, 2))
    place = 0
    while place < total:
        stay = int(rng.uniform(0.25, 1.1) * rate) + 1
        glance[place : place + stay] = rng.uniform(-1, 1, 2) * GLANCE
        place += stay
    glance = gaussian_filter1d(glance, 0.02 * rate + 0.4, axis=0)
    gaze = np.concatenate([glance, glance], 1)
    return Coefficients(expression[cut], pose[cut], gaze[cut])
