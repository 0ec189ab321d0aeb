"""Model of the landmark model's blendshape scores for face478, and expressions that reach target scores.

The model is linear in logits.
"""

import numpy as np

from mimaface_cli.face.face478 import Face478
from mimaface_cli.motion.coefficients import BLENDSHAPES

BIAS_LIMIT = 2.0  # logits
LOGIT_LIMIT = 3.9  # scores from 0.02 to 0.98: no change is visible beyond
# Eyelids and irises are excluded: they are controlled separately, including contact of the lids.
_IS_MATCHED = np.array([name.startswith(("brow", "jaw", "mouth", "eyeSquint")) for name in BLENDSHAPES])
# Standard deviations of the prior, in model units and in coefficients: large enough to keep faces natural.
_SKIN_DEVIATION, _COEFFICIENT_DEVIATION = 0.012, 0.35


def predict_logits(model: Face478, identity: np.ndarray, expression: np.ndarray) -> np.ndarray:
    """Predict score logits.

    Args:
        model: The face model.
        identity: (80,) identity of the person.
        expression: (..., 64) expressions.

    Returns:
        (..., 52) logits.
    """
    return model.score_bias + model.score_identity @ identity + expression @ model.score_expression.T


def logits_to_scores(logits: np.ndarray) -> np.ndarray:
    """Convert logits of any shape to scores in 0..1 of the same shape."""
    return 1 / (1 + np.exp(-np.clip(logits, -30, 30)))


def transfer_scores(portrait: np.ndarray, driver: np.ndarray, driver_rest: np.ndarray) -> np.ndarray:
    """Transfer a driver's change of scores to a portrait.

    The change is the driver's, scaled down only where the portrait has less range up to 1 or down to 0.

    Args:
        portrait: (52,) scores of the portrait at rest, in 0..1.
        driver: (N, 52) scores of the driver.
        driver_rest: (52,) scores of the driver at rest.

    Returns:
        (N, 52) scores for the portrait.
    """
    change = driver - driver_rest
    range_up = np.minimum(1.0, (1 - portrait) / np.maximum(1 - driver_rest, 1e-3))
    range_down = np.minimum(1.0, portrait / np.maximum(driver_rest, 1e-3))
    return portrait + change * np.where(change > 0, range_up, range_down)


def measure_bias(model: Face478, identity: np.ndarray, expression: np.ndarray, scores: np.ndarray | None) -> np.ndarray:
    """Measure how far a person's scores lie above the prediction, from one image.

    Args:
        model: The face model.
        identity: (80,) identity of the person.
        expression: (64,) expression in the image.
        scores: (52,) scores that the landmark model reported for the image, or None when unknown.

    Returns:
        (52,) logits within BIAS_LIMIT, zero where `scores` is None.
    """
    if scores is None:
        return np.zeros(len(BLENDSHAPES))
    inner_scores = np.clip(scores, 0.002, 0.998)
    logits = np.log(inner_scores / (1 - inner_scores))
    return np.clip(logits - predict_logits(model, identity, expression), -BIAS_LIMIT, BIAS_LIMIT)


def match_scores(
    model: Face478, identity: np.ndarray, expression: np.ndarray, target_scores: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """Adjust expressions until brows, jaw and mouth reach target scores.

    Ridge regression in logits; the penalty keeps the movement of the skin small.

    Args:
        model: The face model.
        identity: (80,) identity of the person.
        expression: (N, 64) expressions to adjust.
        target_scores: (N, 52) scores in 0..1.
        bias: (52,) the person's bias in logits, see `measure_bias`.

    Returns:
        (N, 64) adjusted expressions.
    """
    floor = 1 / (1 + np.exp(LOGIT_LIMIT))
    target_scores = np.clip(target_scores, floor, 1 - floor)
    target_logits = np.log(target_scores / (1 - target_scores))
    logits = np.clip(predict_logits(model, identity, expression) + bias, -LOGIT_LIMIT - 1, LOGIT_LIMIT + 1)
    residual = (target_logits - logits)[:, _IS_MATCHED]
    jacobian = model.score_expression[_IS_MATCHED]
    coefficient_count = jacobian.shape[1]
    basis = model.expression_basis.reshape(-1, coefficient_count)
    skin_penalty = basis.T @ basis / (_SKIN_DEVIATION**2 * len(model.mean))
    penalty = skin_penalty + np.eye(coefficient_count) / _COEFFICIENT_DEVIATION**2
    gain = np.linalg.solve(jacobian.T @ jacobian + penalty, jacobian.T)
    return expression + residual @ gain.T
