"""Measures of a face: the distances by which a viewer, or a landmark model, judges how far a face moves.

All measures are heights and widths in the head's frame, relative to the distance of the outer corners of the eyes.
They are linear in the expression.
"""

from dataclasses import dataclass

import numpy as np

from mimaface_cli.face.face478 import Face478
from mimaface_cli.motion.coefficients import BLENDSHAPES

# (upper, lower) landmarks along the inner lips, from one side to the other; the middle pair is the lip gap.
LIP_GAPS = ((81, 178), (82, 87), (13, 14), (312, 317), (311, 402))
GAPS = slice(0, len(LIP_GAPS))  # columns of the measures
GAP, WIDTH = 2, len(LIP_GAPS)
BROWS = slice(WIDTH + 1, WIDTH + 3)  # left, right
LIDS = slice(WIDTH + 3, WIDTH + 5)  # left, right
COUNT = WIDTH + 5
EYE_CORNERS = (33, 263)
_MOUTH_CORNERS = (61, 291)
# Landmarks of the brow and of the eye's corners, by side.
BROW_LANDMARKS = (((334, 296, 336), (263, 362)), ((105, 66, 107), (33, 133)))
LID_LANDMARKS = ((386, 374), (159, 145))  # the middle of the upper and lower lid, by side
_GAP_PROFILE = np.array([0.85, 0.96, 1.0, 0.96, 0.85])  # of the gaps along the lips, as the jaw opens
_DEVIATION = 0.0015  # of a matched measure from its target
_PASSES = 2
# Standard deviation of the change that matching causes in a coefficient. The jaw opens and closes a mouth: lips that
# do it alone grow thick.
_COEFFICIENT_DEVIATION, _JAW_DEVIATION, _CLOSE_DEVIATION = 0.3, 2.0, 0.1


@dataclass(frozen=True)
class FaceMeasures:
    """The measures of one person as a linear function of the expression.

    Attributes:
        offset: (COUNT,) measures of the neutral face.
        basis: (COUNT, 64) change of the measures for each expression coefficient.
        eye_distance: Distance of the outer corners of the eyes, model units.
    """

    offset: np.ndarray
    basis: np.ndarray
    eye_distance: float

    @classmethod
    def of(cls, model: Face478, neutral: np.ndarray) -> "FaceMeasures":
        """Build the measures of a person.

        Args:
            model: The face model.
            neutral: (478, 3) the person's neutral face without pose.
        """
        distance = float(np.linalg.norm(neutral[EYE_CORNERS[0]] - neutral[EYE_CORNERS[1]]))
        return cls(measure_shape(neutral) / distance, measure_shape(model.expression_basis) / distance, distance)

    def __call__(self, expression: np.ndarray) -> np.ndarray:
        """Return the measures (N, COUNT) of expressions (N, 64). Lips that pass through each other have gap 0."""
        values = self.offset + expression @ self.basis.T
        values[:, GAPS] = np.maximum(values[:, GAPS], 0)
        return values


def measure_shape(shape: np.ndarray) -> np.ndarray:
    """Return the measures (COUNT, ...) of vertices (478, 2 or 3, ...) in the unit of the vertices, lips as they are."""
    x, y = shape[:, 0], shape[:, 1]
    rows = [y[upper] - y[lower] for upper, lower in LIP_GAPS]
    rows.append(x[_MOUTH_CORNERS[1]] - x[_MOUTH_CORNERS[0]])
    rows += [y[list(brow)].mean(0) - y[list(corners)].mean(0) for brow, corners in BROW_LANDMARKS]
    rows += [y[upper] - y[lower] for upper, lower in LID_LANDMARKS]
    return np.stack(rows)


def measure_landmarks(points: np.ndarray) -> np.ndarray:
    """Measure detected landmarks in the image.

    Args:
        points: (478, 2) landmarks in pixels.

    Returns:
        (COUNT,) measures relative to the distance of the eye corners in the image, for a head of any roll.
    """
    axis = points[EYE_CORNERS[1]] - points[EYE_CORNERS[0]]
    distance = float(np.linalg.norm(axis))
    across = axis / max(distance, 1e-6)
    upright = np.stack([points @ across, -points @ np.array([-across[1], across[0]])], -1)
    return measure_shape(upright) / max(distance, 1e-6)


def spread_gap(gaps: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Return the gaps along the lips for another gap in the middle: they keep the shape of the opening.

    Args:
        gaps: (N, 5) gaps along the lips.
        middle: (N,) requested gap in the middle; a negative one presses the lips together everywhere.

    Returns:
        (N, 5) gaps.
    """
    change = (middle - gaps[:, GAP])[:, None]
    spread = np.maximum(gaps + _GAP_PROFILE * change, 0)
    # Closing lips close everywhere at once.
    share = np.clip(middle / np.maximum(gaps[:, GAP], 1e-3), 0, 1)[:, None]
    closing = np.where(change < 0, gaps * share, spread)
    return np.where(middle[:, None] < 0, middle[:, None], closing)


def match_measures(
    person: FaceMeasures,
    expression: np.ndarray,
    target: np.ndarray,
    low: np.ndarray | float = -np.inf,
    high: np.ndarray | float = np.inf,
) -> np.ndarray:
    """Change expressions as little as possible until mouth and brows have the target measures.

    Ridge regression. Mouth and jaw move for the mouth's measures, and brows for theirs.

    Args:
        person: Measures of the person.
        expression: (N, 64) expressions.
        target: (N, COUNT) target measures. A negative gap presses the lips together. Lids are not matched.
        low: Lowest coefficients, (N, 64) or broadcastable.
        high: Highest coefficients.

    Returns:
        (N, 64) expressions.
    """
    matched = np.array(expression)
    mouth, brows = slice(0, WIDTH + 1), BROWS
    # What the jaw's limits leave, lips do alone.
    for rows, prefixes in ((mouth, ("jawOpen", "mouth")), (mouth, ("mouth",)), (brows, ("brow",))):
        columns = np.array([k for k, name in enumerate(BLENDSHAPES) if name.startswith(prefixes)])
        jacobian = person.basis[rows][:, columns]
        deviations = np.array([_deviation(BLENDSHAPES[k]) for k in columns])
        covariance = deviations[:, None] ** 2 * jacobian.T
        gain = covariance @ np.linalg.inv(jacobian @ covariance + _DEVIATION**2 * np.eye(len(jacobian)))
        limits = [np.broadcast_to(limit, matched.shape)[:, columns] for limit in (low, high)]
        for _ in range(_PASSES):  # what the limits take away, the next pass distributes over the others
            residual = target[:, rows] - (person.offset[rows] + matched @ person.basis[rows].T)
            matched[:, columns] = np.clip(matched[:, columns] + residual @ gain.T, *limits)
    return matched


def _deviation(name: str) -> float:
    return {"jawOpen": _JAW_DEVIATION, "mouthClose": _CLOSE_DEVIATION}.get(name, _COEFFICIENT_DEVIATION)
