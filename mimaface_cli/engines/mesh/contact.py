"""Lids and lips that meet: coefficients speak of an average face, contact must be exact on this one."""

import numpy as np

from mimaface_cli.face.face478 import Face478
from mimaface_cli.motion.coefficients import blendshape_index

# Upper and lower landmarks of the middle of each eye's opening.
_LIDS = {"left": ((386, 387, 385), (374, 373, 380)), "right": ((159, 158, 160), (145, 153, 144))}
LIP_PAIRS = np.array(
    [(191, 95), (80, 88), (81, 178), (82, 87), (13, 14), (312, 317), (311, 402), (310, 318), (415, 324)]
)
CLOSED_LID_SHARE = 0.22  # the landmarks of a shut eye still stand this share of an open one's height apart
MAX_LID_OPENNESS = 1.5


def measure_lid_gap(face: np.ndarray, side: str) -> np.ndarray:
    """Mean height (…) of an eye's opening of unposed faces …×478×3, model units."""
    upper, lower = _LIDS[side]
    return (face[..., list(upper), 1] - face[..., list(lower), 1]).mean(-1)


def measure_lid_openness(model: Face478, identity: np.ndarray, expression: np.ndarray) -> np.ndarray:
    """How open a person's eyes are over N×64 expressions: N×2 (left, right), 1 at the resting face, 0 shut."""
    neutral = model.shape(identity, np.zeros(expression.shape[1]))
    columns = []
    for side in ("left", "right"):
        upper, lower = _LIDS[side]
        lift = (model.expression_basis[list(upper), 1] - model.expression_basis[list(lower), 1]).mean(0)
        rest = float(measure_lid_gap(neutral, side))
        columns.append(((rest + expression @ lift) / max(rest, 1e-6) - CLOSED_LID_SHARE) / (1 - CLOSED_LID_SHARE))
    return np.clip(np.stack(columns, -1), 0.0, MAX_LID_OPENNESS)


def match_lids(face: np.ndarray, model: Face478, wanted: np.ndarray) -> np.ndarray:
    """Move the lids of an unposed face (478×3) along the model's own blink until the openings have the wanted heights
    (left, right; model units). The vertices around follow as in a blink.
    """
    moved = face.copy()
    for side, name, height in zip(("left", "right"), ("eyeBlinkLeft", "eyeBlinkRight"), wanted):
        column = model.expression_basis[:, :, blendshape_index(name)]
        rate = float(measure_lid_gap(column, side))
        amount = (height - float(measure_lid_gap(moved, side))) / min(rate, -1e-3)
        moved += np.clip(amount, -1.5, 2.5) * column
    return moved


def separate_lips(face: np.ndarray) -> np.ndarray:
    """Where the lips of an unposed face (478×3) have passed through each other, let them meet half-way."""
    moved = face.copy()
    upper, lower = LIP_PAIRS.T
    overlap = np.clip(face[lower, 1] - face[upper, 1], 0, None) / 2
    moved[upper, 1] += overlap
    moved[lower, 1] -= overlap
    return moved
