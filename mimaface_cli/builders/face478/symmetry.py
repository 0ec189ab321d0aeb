"""Left-right symmetry of vertices, blendshape names, covariances and columns."""

import numpy as np

from mimaface_cli.errors import InputError
from mimaface_cli.motion.coefficients import BLENDSHAPES

MIRROR_SIGNS = np.array([-1, 1, 1])  # effect of mirroring on the components of a displacement


def pair_vertices(mean: np.ndarray) -> np.ndarray:
    """Return, for each vertex, the index of its counterpart on the other side of the face.

    Args:
        mean: V×3 mean face, frontal and centered.

    Raises:
        InputError: If the counterparts are ambiguous.
    """
    from scipy.optimize import linear_sum_assignment

    distance = ((mean[:, None] - mean[None] * MIRROR_SIGNS) ** 2).sum(-1)
    index = linear_sum_assignment(distance)[1]
    if not np.array_equal(index[index], np.arange(len(mean))):
        raise InputError("the mean face is too asymmetric to pair left and right vertices. Add more frontal faces.")
    return index


def pair_blendshapes() -> np.ndarray:
    """Return, for each blendshape, the index of its left-right counterpart, or its own index without one."""
    opposite = {"Left": "Right", "Right": "Left"}

    def mirror_name(name: str) -> str:
        for side, other_side in opposite.items():
            if name.endswith(side):
                return name.removesuffix(side) + other_side
        return name

    return np.array([BLENDSHAPES.index(mirror_name(name)) for name in BLENDSHAPES])


def get_blendshape_side(name: str) -> str:
    """Return the side of the face that a blendshape moves: "Left", "Right", or "" for both.

    jawLeft, mouthRight and their like move the whole jaw or mouth to one side: "".
    """
    if name.startswith("jaw") or name in ("mouthLeft", "mouthRight"):
        return ""
    return next((side for side in ("Left", "Right") if name.endswith(side)), "")


def mirror_covariance(covariance: np.ndarray, mirror: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Return the covariance of samples together with their mirror images.

    Args:
        covariance: 3V×3V covariance of the samples.
        mirror: Counterpart of each vertex, V.
        signs: Effect of mirroring on the three components of a vertex, 3.
    """
    order = (3 * mirror[:, None] + np.arange(3)).ravel()
    sign = np.tile(signs, len(mirror))
    return (covariance + covariance[np.ix_(order, order)] * np.outer(sign, sign)) / 2


def symmetrize_columns(columns: np.ndarray, mirror: np.ndarray, mirror_names: np.ndarray) -> np.ndarray:
    """Average columns with their mirror images.

    Args:
        columns: V×3×K.
        mirror: Counterpart of each vertex, V.
        mirror_names: Counterpart of each column, K.
    """
    return (columns + columns[mirror][:, :, mirror_names] * MIRROR_SIGNS[:, None]) / 2
