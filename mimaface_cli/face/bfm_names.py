"""The named expressions in the Basel Face Model: a linear map fitted where both models know the same 68 points."""

import numpy as np

from mimaface_cli.errors import WeightsError
from mimaface_cli.face.bfm import Bfm09
from mimaface_cli.face.face478 import Face478
from mimaface_cli.motion.channels import NAMED_EXPRESSIONS, ExpressionMap
from mimaface_cli.motion.coefficients import BLENDSHAPES

# MediaPipe's landmarks nearest to the 68 usual ones, in their order: jaw line from the subject's right, brows, nose,
# eyes, outer and inner lips.
LANDMARKS_68 = np.array(
    [127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356]
    + [70, 63, 105, 66, 107, 336, 296, 334, 293, 300]
    + [168, 197, 5, 4, 75, 97, 2, 326, 305]
    + [33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380]
    + [61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181]
    + [78, 82, 13, 312, 308, 317, 14, 87]
)
# The jaw line is not one set of points: it slides along the cheek as the head turns. It counts less.
_WEIGHT = np.where(np.arange(68) < 17, 0.3, 1.0)
_PENALTY = 0.02  # of a coefficient of 1 (a standard deviation) against a movement of one unit at one point


def fit_named(bfm: Bfm09, model: Face478) -> ExpressionMap:
    """For each named expression of face478 the BFM coefficients that move the 68 landmarks most like it (regularized
    least squares), and how much of the movement stays out of reach. Raises WeightsError for a model without the 68
    landmarks in their usual places.
    """
    if len(bfm.landmarks) != 68:
        raise WeightsError(
            f"the face model has {len(bfm.landmarks)} landmarks where the usual 68 are needed; take another"
        )
    vertices = 3 * bfm.landmarks[:, None] + np.arange(3)
    basis = bfm.expression_basis[vertices].astype(np.float64)  # 68×3×64
    turn, misfit = _alignment(model.mean[LANDMARKS_68], bfm.mean[bfm.landmarks].astype(np.float64))
    if misfit > 0.25:
        raise WeightsError("the face model's 68 landmarks do not lie like a face's; is it BFM09_model_info.mat?")
    columns = [BLENDSHAPES.index(name) for name in NAMED_EXPRESSIONS]
    wanted = model.expression_basis[LANDMARKS_68][:, :, columns]
    wanted = np.einsum("ij,vjn->vin", turn, wanted)
    flat = (basis * _WEIGHT[:, None, None]).reshape(204, -1)
    goal = (wanted * _WEIGHT[:, None, None]).reshape(204, -1)
    scale = float(np.sqrt((flat**2).sum(0).mean())) or 1.0
    normal = flat.T @ flat + (_PENALTY * scale) ** 2 * np.eye(flat.shape[1])
    directions = np.linalg.solve(normal, flat.T @ goal).T
    moved = np.maximum(np.linalg.norm(goal, axis=0), 1e-9)
    residuals = np.linalg.norm(goal - flat @ directions.T, axis=0) / moved
    return ExpressionMap(directions, np.linalg.pinv(directions, rcond=1e-3).T, np.clip(residuals, 0, 1))


def _alignment(points: np.ndarray, onto: np.ndarray) -> tuple[np.ndarray, float]:
    """Scale times rotation (3×3) that brings centerd points onto others, and the share of them it cannot."""
    a, b = points - points.mean(0), onto - onto.mean(0)
    u, values, vt = np.linalg.svd(b.T @ a)
    sign = np.diag([1, 1, np.sign(np.linalg.det(u @ vt)) or 1])
    turn = u @ sign @ vt * (values * np.diag(sign)).sum() / max((a**2).sum(), 1e-12)
    return turn, float(np.linalg.norm(b - a @ turn.T) / max(np.linalg.norm(b), 1e-12))
