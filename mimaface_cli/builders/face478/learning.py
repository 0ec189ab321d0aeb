"""From observed landmarks to the bases of face478: mean, identity A, expression B, albedo and texture C.

Linear throughout: alignment by weighted Procrustes, B by ridge regression of displacements on MediaPipe's blendshape
scores, A and the last columns of B as principal components of what is left. Everything is mirrored, so that the model
is as symmetric as faces are on average.
"""

from dataclasses import dataclass

import numpy as np

from mimaface_cli.errors import InputError
from mimaface_cli.face.topology import IRIS
from mimaface_cli.motion.coefficients import BLENDSHAPES, UNSCORED_BLENDSHAPES

NAMED = len(BLENDSHAPES)


@dataclass(frozen=True)
class Observations:
    """Landmarks of faces. points: N×478×3 pixels (x right, y up, z to the camera); scores: N×52 in 0..1;
    rotation: N×3×3 canonical to camera; subject: N int, one per person or clip; colors: N×478×3 in 0..255 or None.
    """

    points: np.ndarray
    scores: np.ndarray
    rotation: np.ndarray
    subject: np.ndarray
    colors: np.ndarray | None = None

    def take(self, index: np.ndarray) -> "Observations":
        colors = None if self.colors is None else self.colors[index]
        return Observations(self.points[index], self.scores[index], self.rotation[index], self.subject[index], colors)


def procrustes(points: np.ndarray, target: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Similarity-align N×V×3 points to a V×3 target by weighted least squares; returns them and N rotations R with
    aligned = scale · (points − center) @ R.
    """
    weight = weight / weight.sum()
    centerd = points - np.einsum("nvi,v->ni", points, weight)[:, None]
    middle = weight @ target
    covariance = np.einsum("nvi,v,vj->nij", centerd, weight, target - middle)
    u, s, vt = np.linalg.svd(covariance)
    s[:, 2] *= (sign := np.sign(np.linalg.det(u @ vt)))
    u[:, :, 2] *= sign[:, None]
    rotation = u @ vt
    scale = s.sum(1) / np.einsum("nvi,v,nvi->n", centerd, weight, centerd)
    return scale[:, None, None] * (centerd @ rotation) + middle, rotation


def mean_shape(observed: Observations, rounds: int = 10) -> np.ndarray:
    """The average face (478×3), upright and frontal by the landmarker's own axes, of rms radius 1."""
    mean = observed.points[0] - observed.points[0].mean(0)
    weight = np.ones(len(mean))
    for _ in range(rounds):
        mean /= np.sqrt((mean**2).sum(1).mean())
        aligned, rotation = procrustes(observed.points, mean, weight)
        mean = aligned.mean(0)
    u, _, vt = np.linalg.svd(np.einsum("nji,njk->ik", rotation, observed.rotation))
    mean = mean @ (u @ vt)
    mirrored = mean[mirror_index(mean)] * [-1, 1, 1]
    return (mean + mirrored) / 2


def mirror_index(mean: np.ndarray) -> np.ndarray:
    """For each vertex, the one on the other side of the face. Raises InputError when that is not clear."""
    from scipy.optimize import linear_sum_assignment

    distance = ((mean[:, None] - mean[None] * [-1, 1, 1]) ** 2).sum(-1)
    index = linear_sum_assignment(distance)[1]
    if not np.array_equal(index[index], np.arange(len(mean))):
        raise InputError("the mean face is too lopsided to pair its left and right vertices; add more frontal faces")
    return index


def mirror_names() -> np.ndarray:
    """For each blendshape, the index of its left-right counterpart (itself where it has none)."""
    swap = {"Left": "Right", "Right": "Left"}

    def other(name: str) -> str:
        for side, opposite in swap.items():
            if name.endswith(side):
                return name.removesuffix(side) + opposite
        return name

    return np.array([BLENDSHAPES.index(other(name)) for name in BLENDSHAPES])


def stable_weight(mean: np.ndarray, lids: np.ndarray) -> np.ndarray:
    """Alignment weights V: the bony upper face carries pose; jaw, lips and lids hardly count. mean has rms radius 1."""
    height = np.clip((mean[:, 1] + 0.55) / 0.5, 0.0, 1.0)
    weight = 0.05 + 0.95 * height**2 * (3 - 2 * height)
    weight[lids] *= 0.2
    weight[IRIS] = 0.0
    return weight


def solve_ridge(predictors: np.ndarray, values: np.ndarray, weight: np.ndarray, ridge: float) -> np.ndarray:
    """Weighted ridge regression: N×P predictors, N×D values, N weights → P×D."""
    weighted = predictors * weight[:, None]
    gram = predictors.T @ weighted + ridge * weight.sum() * np.eye(predictors.shape[1])
    return np.linalg.solve(gram, weighted.T @ values)


def expression_columns(deviation, score_deviation, weight, upper, left, ridge: float = 5e-5) -> np.ndarray:
    """The 52 named columns (V×3×52) from within-subject deviations of shape (N×V×3) and of scores (N×52).

    Brow and eye scores explain the upper face, jaw and mouth scores the lower one; a left eye's scores the left side, a
    right one's the right side; blended by `upper` and `left` (V, 0..1). Scores that merely happen to move together then
    cannot borrow each other's part of the face: one eye closes alone. Brows and lips do pull at both sides.
    """
    above = np.array([name.startswith(("brow", "eye")) for name in BLENDSHAPES])
    side = np.array([side_of(name) if name.startswith("eye") else "" for name in BLENDSHAPES])
    learned = ~np.isin(BLENDSHAPES, UNSCORED_BLENDSHAPES)
    flat = deviation.reshape(len(deviation), -1)
    columns = np.zeros((NAMED, flat.shape[1]))
    parts = (
        (above & (side != "Right"), upper * left),
        (above & (side != "Left"), upper * (1 - left)),
        (~above, 1 - upper),
    )
    for names, share in parts:
        chosen = np.flatnonzero(names & learned)
        columns[chosen] += solve_ridge(score_deviation[:, chosen], flat, weight, ridge) * np.repeat(share, 3)
    return columns.T.reshape(-1, 3, NAMED)


def side_of(name: str) -> str:
    """ "Left" or "Right" for a blendshape that has a counterpart on the other side; "" for the others, among them the
    ones that shift jaw or mouth as a whole.
    """
    whole = name.startswith("jaw") or name in ("mouthLeft", "mouthRight")
    return "" if whole else next((side for side in ("Left", "Right") if name.endswith(side)), "")


def covariance(samples: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted D×D covariance of N×D centerd samples."""
    return samples.T @ (samples * (weight / weight.sum())[:, None])


def with_mirrored(covariance: np.ndarray, mirror: np.ndarray, flip: np.ndarray) -> np.ndarray:
    """The 3V×3V covariance that samples and their mirror images have together. flip: 3, the sign that mirroring gives
    each component of a vertex.
    """
    order = (3 * mirror[:, None] + np.arange(3)).ravel()
    sign = np.tile(flip, len(mirror))
    return (covariance + covariance[np.ix_(order, order)] * np.outer(sign, sign)) / 2


def principal(covariance: np.ndarray, count: int) -> np.ndarray:
    """Leading directions of a 3V×3V covariance, scaled to one standard deviation each: V×3×count."""
    variance, directions = np.linalg.eigh(covariance)
    columns = directions[:, : -count - 1 : -1] * np.sqrt(np.clip(variance[: -count - 1 : -1], 0, None))
    # The sign of a direction is arbitrary: its largest component is positive.
    columns = columns * np.sign(columns[np.abs(columns).argmax(0), np.arange(count)] + 1e-300)
    return columns.reshape(-1, 3, count)


def symmetrize(columns: np.ndarray, mirror: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Average V×3×K columns with their mirror images, left names against right ones."""
    return (columns + columns[mirror][:, :, names] * np.array([-1, 1, 1])[:, None]) / 2


def without(points: np.ndarray, regressors: np.ndarray) -> np.ndarray:
    """N×V×3 with its linear dependence on N×K regressors removed (head angle leaks into landmark depth)."""
    regressors = regressors - regressors.mean(0)
    flat = (points - points.mean(0)).reshape(len(points), -1)
    slope = np.linalg.lstsq(regressors, flat, rcond=None)[0]
    return points - (regressors @ slope).reshape(points.shape)
