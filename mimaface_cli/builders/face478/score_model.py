"""What MediaPipe would score on a face of face478: a logistic model from geometry, so that motion can be carried over
by what it looks like instead of by coefficients alone.
"""

import numpy as np

from mimaface_cli.face.topology import IRIS
from mimaface_cli.motion.coefficients import BLENDSHAPES, UNSCORED_BLENDSHAPES

DIMENSIONS = 100  # principal directions of shape that the scores may look at: what hardly moves cannot be seen


def build_scores(
    identity_basis: np.ndarray,
    expression_basis: np.ndarray,
    identity: np.ndarray,
    expression: np.ndarray,
    scores: np.ndarray,
    weight: np.ndarray,
    ridge: float = 0.03,
) -> dict[str, np.ndarray]:
    """Fit logit(score) = score_bias + score_identity·identity + score_expression·expression on N fitted faces: identity
    N×80, expression N×64, scores N×52, weight N. Silent scores get a flat -6.
    """
    seen = np.setdiff1d(np.arange(len(identity_basis)), IRIS)
    to_identity = identity_basis[seen].reshape(-1, identity_basis.shape[2])
    to_expression = expression_basis[seen].reshape(-1, expression_basis.shape[2])
    shapes = identity @ to_identity.T + expression @ to_expression.T
    mean = shapes.mean(0)
    _, spread, directions = np.linalg.svd((shapes - mean)[:: max(1, len(shapes) // 4000)], full_matrices=False)
    directions = directions[:DIMENSIONS] * (10 * np.sqrt(min(len(shapes), 4000)) / spread[0])
    features = np.column_stack([(shapes - mean) @ directions.T, np.ones(len(shapes))])
    linear = np.zeros((len(BLENDSHAPES), features.shape[1]))
    for k, name in enumerate(BLENDSHAPES):
        if name in UNSCORED_BLENDSHAPES:
            linear[k, -1] = -6.0
        else:
            linear[k] = logistic(features, np.clip(scores[:, k], 0, 1), weight, ridge)
    on_shape = linear[:, :-1] @ directions
    return {
        "score_bias": linear[:, -1] - on_shape @ mean,
        "score_identity": on_shape @ to_identity,
        "score_expression": on_shape @ to_expression,
    }


def logistic(
    features: np.ndarray, target: np.ndarray, weight: np.ndarray, ridge: float, rounds: int = 14
) -> np.ndarray:
    """Weighted ridge logistic regression on targets in 0..1 by damped Newton steps; the last feature is the constant."""
    rest = float(np.clip(np.average(target, weights=weight), 1e-3, 1 - 1e-3))
    theta = np.zeros(features.shape[1])
    theta[-1] = np.log(rest / (1 - rest))
    penalty = np.full(len(theta), ridge)
    penalty[-1] = 1e-9
    for _ in range(rounds):
        guess = 1 / (1 + np.exp(-np.clip(features @ theta, -12, 12)))
        slope = features.T @ (weight * (guess - target)) + penalty * theta
        curvature = weight * guess * (1 - guess) + 1e-6
        step = np.linalg.solve((features * curvature[:, None]).T @ features + np.diag(penalty), slope)
        theta -= step * min(1.0, 8.0 / max(float(np.abs(step).max()), 1e-9))
    return theta
