"""Expression as it is seen: blendshape scores predicted from a face478 face, and coefficients that give wanted ones."""

import numpy as np

from mimaface_cli.face.face478 import Face478
from mimaface_cli.motion.coefficients import BLENDSHAPES

BIAS_LIMIT = 2.0
LOGIT_LIMIT = 3.9  # scores from 0.02 to 0.98: beyond, nothing can be seen to change
# Lids and irises have coefficients and contacts of their own.
_MATCHED = np.array([name.startswith(("brow", "jaw", "mouth", "eyeSquint")) for name in BLENDSHAPES])
# A millimeter of skin weighs as much as this much of a logit: large enough to keep faces natural.
_SKIN_UNITS, _COEFFICIENT_UNITS = 0.012, 0.35


def predict(model: Face478, identity: np.ndarray, expression: np.ndarray) -> np.ndarray:
    """Logits (…×52) of the scores that a person (80) shows with expressions …×64."""
    return model.score_bias + model.score_identity @ identity + expression @ model.score_expression.T


def probability(logits: np.ndarray) -> np.ndarray:
    """Logits to scores in 0..1."""
    return 1 / (1 + np.exp(-np.clip(logits, -30, 30)))


def carry_over(own: np.ndarray, driver: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Scores (N×52) for a source that shows `own` at rest while a driver goes from `rest` to `driver`: the same change,
    shrunk only as far as the source has less room up to 1 or down to 0 than the driver had.
    """
    change = driver - rest
    up = np.minimum(1.0, (1 - own) / np.maximum(1 - rest, 1e-3))
    down = np.minimum(1.0, own / np.maximum(rest, 1e-3))
    return own + change * np.where(change > 0, up, down)


def bias(model: Face478, identity: np.ndarray, expression: np.ndarray, seen: np.ndarray | None) -> np.ndarray:
    """How much (52 logits) a person scores above the prediction, from one picture of expression 64 with scores 52."""
    if seen is None:
        return np.zeros(len(BLENDSHAPES))
    held = np.clip(seen, 0.002, 0.998)
    return np.clip(np.log(held / (1 - held)) - predict(model, identity, expression), -BIAS_LIMIT, BIAS_LIMIT)


def match_scores(
    model: Face478, identity: np.ndarray, expression: np.ndarray, wanted: np.ndarray, offset: np.ndarray
) -> np.ndarray:
    """Nudge expressions N×64 of a person until brows, jaw and mouth are seen as the wanted scores N×52 ask, moving the
    skin as little as that takes (ridge regression in logits). offset: the person's `bias`.
    """
    floor = 1 / (1 + np.exp(LOGIT_LIMIT))
    wanted = np.clip(wanted, floor, 1 - floor)
    current = np.clip(predict(model, identity, expression) + offset, -LOGIT_LIMIT - 1, LOGIT_LIMIT + 1)
    missing = (np.log(wanted / (1 - wanted)) - current)[:, _MATCHED]
    linear = model.score_expression[_MATCHED]
    basis = model.expression_basis.reshape(-1, linear.shape[1])
    penalty = basis.T @ basis / (_SKIN_UNITS**2 * len(model.mean)) + np.eye(linear.shape[1]) / _COEFFICIENT_UNITS**2
    gain = np.linalg.solve(linear.T @ linear + penalty, linear.T)
    return expression + missing @ gain.T
