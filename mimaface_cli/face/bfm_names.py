"""Named expressions in the Basel Face Model, fitted at the 68 landmarks that both face models have."""

import numpy as np

from mimaface_cli.errors import WeightsError
from mimaface_cli.face.bfm import Bfm09
from mimaface_cli.face.face478 import Face478
from mimaface_cli.motion.channels import NAMED_EXPRESSIONS, ExpressionMap
from mimaface_cli.motion.coefficients import BLENDSHAPES

# The MediaPipe landmarks nearest to the 68 iBUG landmarks, in iBUG order.
LANDMARKS_68 = np.concatenate(
    [
        [127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356],  # jaw from the right ear
        [70, 63, 105, 66, 107, 336, 296, 334, 293, 300],  # brows
        [168, 197, 5, 4, 75, 97, 2, 326, 305],  # nose
        [33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380],  # eyes
        [61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181],  # outer lips
        [78, 82, 13, 312, 308, 317, 14, 87],  # inner lips
    ]
)
# The jaw line is not a fixed set of points: it slides along the cheek as the head turns. It gets a lower weight.
_WEIGHTS = np.where(np.arange(68) < 17, 0.3, 1.0)
_PENALTY = 0.02  # penalty of one standard deviation, relative to one unit of movement at one point
_MAX_MISFIT = 0.25  # share of the landmarks' spread that a similarity may leave unexplained


def fit_expression_names(bfm: Bfm09, model: Face478) -> ExpressionMap:
    """Fit BFM coefficients to each named expression of face478.

    Regularized least squares over the movement of the 68 landmarks.

    Args:
        bfm: The Basel Face Model.
        model: The face478 model, whose expressions have names.

    Returns:
        The directions of the named expressions, their inverse, and the share of each movement that the Basel Face
        Model cannot reproduce.

    Raises:
        WeightsError: When the Basel Face Model does not have the 68 landmarks in their usual places.
    """
    if len(bfm.landmarks) != 68:
        raise WeightsError(
            f"The face model has {len(bfm.landmarks)} landmarks instead of 68. "
            "Use BFM09_model_info.mat from the release."
        )
    rotation, misfit = _fit_scaled_rotation(model.mean[LANDMARKS_68], bfm.mean[bfm.landmarks].astype(np.float64))
    if misfit > _MAX_MISFIT:
        raise WeightsError(
            "The face model's 68 landmarks do not form a face. Use BFM09_model_info.mat from the release."
        )
    rows = 3 * bfm.landmarks[:, None] + np.arange(3)
    basis = bfm.expression_basis[rows].astype(np.float64)  # (68, 3, 64)
    columns = [BLENDSHAPES.index(name) for name in NAMED_EXPRESSIONS]
    targets = model.expression_basis[LANDMARKS_68][:, :, columns]
    targets = np.einsum("ij,vjn->vin", rotation, targets)
    weighted_basis = (basis * _WEIGHTS[:, None, None]).reshape(204, -1)
    weighted_targets = (targets * _WEIGHTS[:, None, None]).reshape(204, -1)
    scale = float(np.sqrt((weighted_basis**2).sum(0).mean())) or 1.0
    hessian = weighted_basis.T @ weighted_basis + (_PENALTY * scale) ** 2 * np.eye(weighted_basis.shape[1])
    directions = np.linalg.solve(hessian, weighted_basis.T @ weighted_targets).T
    movements = np.maximum(np.linalg.norm(weighted_targets, axis=0), 1e-9)
    residuals = np.linalg.norm(weighted_targets - weighted_basis @ directions.T, axis=0) / movements
    return ExpressionMap(directions, np.linalg.pinv(directions, rcond=1e-3).T, np.clip(residuals, 0, 1))


def _fit_scaled_rotation(points: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the scaled rotation (3, 3) that maps centered points to centered targets, and the unexplained share.

    Source: Umeyama, "Least-squares estimation of transformation parameters", 1991.
    """
    centered_points, centered_targets = points - points.mean(0), targets - targets.mean(0)
    u, values, vt = np.linalg.svd(centered_targets.T @ centered_points)
    sign = np.diag([1, 1, np.sign(np.linalg.det(u @ vt)) or 1])
    spread = float(np.maximum((centered_points**2).sum(), 1e-12))
    rotation = u @ sign @ vt * (values * np.diag(sign)).sum() / spread
    misfit = np.linalg.norm(centered_targets - centered_points @ rotation.T)
    return rotation, float(misfit / max(float(np.linalg.norm(centered_targets)), 1e-12))
