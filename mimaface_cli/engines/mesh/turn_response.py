"""Response of a portrait to turns: how far its rendered head is turned, as the landmark model measures it.

The landmark model measures a rendered head as turned less than it is, and a head that turns sideways as nodding a
little. How much depends on the face and on the direction.
"""

from dataclasses import dataclass

import numpy as np

# Turns of a track, which are fitted to landmarks, relative to those that the landmark model itself reports:
# pitch, yaw, roll, rounded from 20 clips.
_TRACK_TURN = np.array([0.95, 1.1, 1.0])
_BELIEVABLE = (0.7, 1.05)  # range of a measured turn relative to the rendered one
_MAX_CROSS = 0.2  # largest turn about another axis, relative to the rendered one
_NOMINAL = 0.85
_BLEND = np.radians(4.0)  # angle over which the response changes from one direction to the other
_STEPS = 4  # of the inversion; each leaves less than a third of the error


@dataclass(frozen=True)
class TurnResponse:
    """Measured turns per rendered turn.

    Attributes:
        columns: (3, 2, 3), for a turn about x, y or z, in negative and in positive direction, the measured Euler angles
            per rendered angle.
    """

    columns: np.ndarray

    @classmethod
    def nominal(cls) -> "TurnResponse":
        """Return the response of a portrait whose turns are measured as a track's turns are."""
        return cls(np.repeat(np.diag(1 / _TRACK_TURN)[:, None], 2, axis=1))

    @classmethod
    def fit(cls, columns: np.ndarray) -> "TurnResponse":
        """Limit measurements to what is plausible, and fill in those that are missing.

        Args:
            columns: (3, 2, 3) as the attribute; NaN where nothing was measured.
        """
        filled = np.zeros((3, 2, 3))
        for axis, unit in enumerate(np.eye(3)):
            for side in range(2):
                own, other = columns[axis, side], columns[axis, 1 - side]
                if np.isnan(own).any():  # what turns with the head changes sign with it
                    own = np.where(unit > 0, other, -other)
                if np.isnan(own).any():
                    own = _NOMINAL * unit
                cross = np.clip(own, -_MAX_CROSS, _MAX_CROSS)
                filled[axis, side] = np.where(unit > 0, np.clip(own, *_BELIEVABLE), cross)
        return cls(filled)

    def apply(self, turn: np.ndarray) -> np.ndarray:
        """Return the measured turns (N, 3) of rendered turns (N, 3), Euler angles in radians."""
        direction = np.tanh(turn / _BLEND)[..., None]
        mean, difference = self.columns.mean(1), (self.columns[:, 1] - self.columns[:, 0]) / 2
        return (turn[..., None] * (mean + direction * difference)).sum(-2)

    def plan(self, turn: np.ndarray) -> np.ndarray:
        """Return the turns to render so that a track's turns are measured as on the driver.

        The result changes smoothly with the turn.

        Args:
            turn: (N, 3) Euler angles in radians.
        """
        measured, planned = turn / _TRACK_TURN, turn
        for _ in range(_STEPS):
            planned = planned + measured - self.apply(planned)
        return planned
