"""Quality of motion transfer: coefficient distances, head angles, correlation over time.

Source: paper, section 4, Metrics (distances of the estimator's coefficients).
"""

import numpy as np

from mimaface_cli.motion.coefficients import BLENDSHAPES
from mimaface_cli.motion.rotation import rotation_matrix

MIN_DEVIATION = 0.03  # a driver's score with a smaller standard deviation over time counts as constant
GROUPS = {
    "jawOpen": ["jawOpen"],
    "eyeBlink": ["eyeBlinkLeft", "eyeBlinkRight"],
    "mouthSmile": ["mouthSmileLeft", "mouthSmileRight"],
    "eyeLook": [name for name in BLENDSHAPES if name.startswith("eyeLook")],
    "brow": [name for name in BLENDSHAPES if name.startswith("brow")],
    "all": list(BLENDSHAPES[1:]),
}


def coefficient_distances(result: np.ndarray, driver: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance (N) of the coefficients (N, D) of each frame."""
    return np.linalg.norm(np.asarray(result, np.float64) - np.asarray(driver, np.float64), axis=-1)


def pose_distances(result: np.ndarray, driver: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance (N) of poses (N, 6); angles may differ by whole turns."""
    difference = np.asarray(result, np.float64) - np.asarray(driver, np.float64)
    difference[:, :3] = (difference[:, :3] + np.pi) % (2 * np.pi) - np.pi
    return np.linalg.norm(difference, axis=-1)


def rotation_angles(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the angle in degrees between rotations (..., 3, 3) and (..., 3, 3)."""
    trace = np.einsum("...ij,...ij->...", first, second)
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def head_angles(result: np.ndarray, driver: np.ndarray) -> np.ndarray:
    """Return the angle (N) in degrees between the heads of poses (N, 6) and (N, 6)."""
    return rotation_angles(rotation_matrix(result[:, :3]), rotation_matrix(driver[:, :3]))


def correlate_blendshapes(driver: np.ndarray, result: np.ndarray) -> dict[str, tuple[float, float]]:
    """Correlate blendshape scores over time.

    Args:
        driver: Scores (N, 52).
        result: Scores (N, 52).

    Returns:
        For each of GROUPS, the mean correlation of the scores that change in the driver, and their mean gain (slope of
        the result over the driver). Groups in which no score changes are absent.
    """
    groups = {}
    for group, names in GROUPS.items():
        rows = []
        for name in names:
            column = BLENDSHAPES.index(name)
            score, result_score = driver[:, column], result[:, column]
            deviation = score.std()
            if deviation > MIN_DEVIATION:
                covariance = ((score - score.mean()) * (result_score - result_score.mean())).mean()
                rows.append((covariance / max(deviation * result_score.std(), 1e-9), covariance / score.var()))
        if rows:
            correlation, gain = np.mean(rows, axis=0)
            groups[group] = float(correlation), float(gain)
    return groups
