"""Random motion of rendered people: head turns, speech-like mouths, smiles, brows, blinks and glances."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from mimaface_cli.motion.coefficients import BLENDSHAPES, EXPRESSION_DIM, Coefficients, blendshape_index

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


def generate_motion(seed: int, frames: int, rate: float = 25.0) -> Coefficients:
    """Return expression N×64, pose N×6 and gaze N×4 (rad) of a clip; the same for a seed.

    Args:
        seed: Random seed.
        frames: Number of frames N.
        rate: Frames per second.
    """
    margin = int(rate)  # so that smoothing has as many neighbors at the ends as in the middle
    motion = _RandomMotion(np.random.default_rng((10_478, seed)), frames + 2 * margin, rate)
    pose = motion.wander_head()
    expression = motion.generate_expression()
    gaze = motion.generate_gaze()
    part = slice(margin, margin + frames)
    return Coefficients(expression[part], pose[part], gaze[part])


class _RandomMotion:
    """Random curves of a clip with margins.

    Args:
        rng: Source of randomness.
        total: Number of frames with both margins.
        rate: Frames per second.
    """

    def __init__(self, rng: np.random.Generator, total: int, rate: float) -> None:
        self._rng, self._total, self._rate = rng, total, rate

    def wander(self, reach: float, seconds: float) -> np.ndarray:
        """Return smooth noise within about ±reach. seconds: standard deviation of the smoothing."""
        spare = 4 * int(self._rate)
        noise = self._rng.normal(size=self._total + 2 * spare)
        noise = gaussian_filter1d(noise, seconds * self._rate, mode="reflect")
        noise = noise[spare:][: self._total] / (noise.std() + 1e-9)
        return reach * np.tanh(0.8 * noise + self._rng.normal(0, 0.5))

    def wander_head(self) -> np.ndarray:
        """Return poses T×6."""
        return np.stack([self.wander(reach, 0.45) for reach in (*TURN, *SHIFT)], -1)

    def generate_expression(self) -> np.ndarray:
        """Return expressions T×64: moods, speech, unnamed columns and blinks."""
        expression = np.zeros((self._total, EXPRESSION_DIM))
        self._add_moods(expression)
        if self._rng.random() < 0.7:
            self._add_speech(expression)
        named = len(BLENDSHAPES)
        unnamed = [self.wander(1.0, 0.4) for _ in range(EXPRESSION_DIM - named)]
        expression[:, named:] = 0.15 * np.stack(unnamed, -1)
        lids = self._generate_blinks()
        for name in ("eyeBlinkLeft", "eyeBlinkRight"):
            column = blendshape_index(name)
            expression[:, column] = np.maximum(expression[:, column], lids)
        return expression

    def _add_moods(self, expression: np.ndarray) -> None:
        for names, reach in _MOODS:
            if self._rng.random() < 0.4:
                level = np.clip(self.wander(1.2, 0.3), 0, 1) * reach
                for name in names:
                    column = blendshape_index(name)
                    side = level * self._rng.uniform(0.8, 1.0)
                    expression[:, column] = np.maximum(expression[:, column], side)

    def _add_speech(self, expression: np.ndarray) -> None:
        jaw = np.clip(0.25 + self.wander(0.5, 0.06) + self.wander(0.25, 0.3), 0, 0.9)
        expression[:, blendshape_index("jawOpen")] = jaw
        expression[:, blendshape_index("mouthFunnel")] = np.clip(self.wander(0.8, 0.09), 0, 1)
        for name in ("mouthLowerDownLeft", "mouthLowerDownRight"):
            expression[:, blendshape_index(name)] = 0.5 * jaw

    def _generate_blinks(self) -> np.ndarray:
        """Return how far the lids are closed over time, 0..1."""
        closed = np.zeros(self._total)
        center = self._rng.uniform(0, 1.5) * self._rate
        while center < self._total:
            width = self._rng.uniform(1.1, 2.2)
            closed = np.maximum(closed, np.exp(-(((np.arange(self._total) - center) / width) ** 2)))
            center += self._rng.uniform(0.7, 3.0) * self._rate
        return closed

    def generate_gaze(self) -> np.ndarray:
        """Return gaze T×4 that jumps from target to target, both eyes alike."""
        glance = np.zeros((self._total, 2))
        start = 0
        while start < self._total:
            duration = int(self._rng.uniform(0.25, 1.1) * self._rate) + 1
            glance[start : start + duration] = self._rng.uniform(-1, 1, 2) * GLANCE
            start += duration
        glance = gaussian_filter1d(glance, 0.02 * self._rate + 0.4, axis=0)
        return np.concatenate([glance, glance], 1)
