"""Contact of lids and lips: coefficients describe an average face, contact must be exact on this one."""

import numpy as np

from mimaface_cli.face.face478 import Face478
from mimaface_cli.motion.coefficients import blendshape_index

# Upper and lower landmarks at the middle of each eye's opening.
_LID_LANDMARKS = {"left": ((386, 387, 385), (374, 373, 380)), "right": ((159, 158, 160), (145, 153, 144))}
# (upper, lower) landmarks along the inner lips.
LIP_PAIRS = np.array(
    [(191, 95), (80, 88), (81, 178), (82, 87), (13, 14), (312, 317), (311, 402), (310, 318), (415, 324)]
)
CLOSED_LID_SHARE = 0.22  # the landmarks of a closed eye are still this share of an open eye's height apart
MAX_LID_OPENNESS = 1.5


def measure_lid_gap(face: np.ndarray, side: str) -> np.ndarray:
    """Measure the mean height of an eye's opening.

    Args:
        face: (..., 478, 3) vertices without pose, in model units.
        side: "left" or "right".

    Returns:
        (...) heights in model units.
    """
    upper, lower = _LID_LANDMARKS[side]
    return (face[..., list(upper), 1] - face[..., list(lower), 1]).mean(-1)


def measure_lid_openness(model: Face478, identity: np.ndarray, expression: np.ndarray) -> np.ndarray:
    """Measure how far a person's eyes are open.

    Args:
        model: The face model.
        identity: (80,) identity coefficients.
        expression: (N, 64) expression coefficients.

    Returns:
        (N, 2) openness of the left and right eye: 0 closed, 1 as in the resting face, at most `MAX_LID_OPENNESS`.
    """
    neutral = model.shape(identity, np.zeros(expression.shape[1]))
    columns = []
    for side in ("left", "right"):
        upper, lower = _LID_LANDMARKS[side]
        lift = (model.expression_basis[list(upper), 1] - model.expression_basis[list(lower), 1]).mean(0)
        rest = float(measure_lid_gap(neutral, side))
        columns.append(((rest + expression @ lift) / max(rest, 1e-6) - CLOSED_LID_SHARE) / (1 - CLOSED_LID_SHARE))
    return np.clip(np.stack(columns, -1), 0.0, MAX_LID_OPENNESS)


def match_lids(face: np.ndarray, model: Face478, heights: np.ndarray) -> np.ndarray:
    """Move the lids along the model's own blink until the eyes' openings have the requested heights.

    The vertices around the lids follow as in a blink.

    Args:
        face: (478, 3) vertices without pose.
        model: The face model.
        heights: (2,) heights of the left and right opening in model units.

    Returns:
        (478, 3) vertices.
    """
    moved = face.copy()
    for side, name, height in zip(("left", "right"), ("eyeBlinkLeft", "eyeBlinkRight"), heights, strict=True):
        column = model.expression_basis[:, :, blendshape_index(name)]
        rate = float(measure_lid_gap(column, side))
        amount = (height - float(measure_lid_gap(moved, side))) / min(rate, -1e-3)
        moved += np.clip(amount, -1.5, 2.5) * column
    return moved


def separate_lips(face: np.ndarray) -> np.ndarray:
    """Let lips that pass through each other meet halfway.

    Args:
        face: (478, 3) vertices without pose.

    Returns:
        (478, 3) vertices; a copy even where nothing crosses.
    """
    moved = face.copy()
    upper, lower = LIP_PAIRS.T
    overlap = np.clip(face[lower, 1] - face[upper, 1], 0, None) / 2
    moved[upper, 1] += overlap
    moved[lower, 1] -= overlap
    return moved
