"""The score model: a logistic model of MediaPipe's scores from the geometry of a fitted face.

It lets motion be transferred by appearance (scores) and not by coefficients alone.
"""

from dataclasses import dataclass

import numpy as np

from mimaface_cli.builders.face478.regression import fit_logistic
from mimaface_cli.face.topology import IRIS
from mimaface_cli.motion.coefficients import BLENDSHAPES, UNSCORED_BLENDSHAPES

DIMENSIONS = 100  # principal directions of shape that scores depend on; smaller movements are not visible
RIDGE = 0.03
_MAX_SVD_SAMPLES = 4000
_UNSCORED_LOGIT = -6.0


@dataclass(frozen=True)
class ScoreSamples:
    """Fitted faces with their scores.

    Attributes:
        identity: N×80.
        expression: N×64.
        scores: N×52, 0..1.
        weight: N sample weights.
    """

    identity: np.ndarray
    expression: np.ndarray
    scores: np.ndarray
    weight: np.ndarray


def fit_score_model(
    identity_basis: np.ndarray, expression_basis: np.ndarray, samples: ScoreSamples
) -> dict[str, np.ndarray]:
    """Fit logit(score) = score_bias + score_identity·identity + score_expression·expression.

    Args:
        identity_basis: 478×3×80.
        expression_basis: 478×3×64.
        samples: Fitted faces.

    Returns:
        `score_bias` 52, `score_identity` 52×80 and `score_expression` 52×64; unscored names have a constant logit.
    """
    vertices = np.setdiff1d(np.arange(len(identity_basis)), IRIS)
    identity_columns = identity_basis[vertices].reshape(-1, identity_basis.shape[2])
    expression_columns = expression_basis[vertices].reshape(-1, expression_basis.shape[2])
    shapes = samples.identity @ identity_columns.T + samples.expression @ expression_columns.T
    mean = shapes.mean(0)
    subset = (shapes - mean)[:: max(1, len(shapes) // _MAX_SVD_SAMPLES)]
    _, spread, directions = np.linalg.svd(subset, full_matrices=False)
    directions = directions[:DIMENSIONS] * (10 * np.sqrt(min(len(shapes), _MAX_SVD_SAMPLES)) / spread[0])
    features = np.column_stack([(shapes - mean) @ directions.T, np.ones(len(shapes))])
    linear = np.zeros((len(BLENDSHAPES), features.shape[1]))
    for k, name in enumerate(BLENDSHAPES):
        if name in UNSCORED_BLENDSHAPES:
            linear[k, -1] = _UNSCORED_LOGIT
        else:
            linear[k] = fit_logistic(features, np.clip(samples.scores[:, k], 0, 1), samples.weight, RIDGE)
    shape_weights = linear[:, :-1] @ directions
    return {
        "score_bias": linear[:, -1] - shape_weights @ mean,
        "score_identity": shape_weights @ identity_columns,
        "score_expression": shape_weights @ expression_columns,
    }
