"""How well motion was carried over: distances of the estimator's coefficients (paper section 4, Metrics), the head's
rotation in degrees, and correlation over time.
"""

import numpy as np

from mimaface_cli.motion.coefficients import BLENDSHAPES
from mimaface_cli.motion.rotation import rotation_matrix

MOVES = 0.03  # a score whose standard deviation over the driver is smaller does not move
GROUPS = {
    "jawOpen": ["jawOpen"],
    "eyeBlink": ["eyeBlinkLeft", "eyeBlinkRight"],
    "mouthSmile": ["mouthSmileLeft", "mouthSmileRight"],
    "eyeLook": [name for name in BLENDSHAPES if name.startswith("eyeLook")],
    "brow": [name for name in BLENDSHAPES if name.startswith("brow")],
    "all": list(BLENDSHAPES[1:]),
}


def distances(result: np.ndarray, driver: np.ndarray) -> np.ndarray:
    """Euclidean distance of each frame's coefficients: N×D and N×D to N."""
    return np.linalg.norm(np.asarray(result, np.float64) - np.asarray(driver, np.float64), axis=-1)


def pose_distances(result: np.ndarray, driver: np.ndarray) -> np.ndarray:
    """`distances` of N×6 poses whose angles may differ by whole turns."""
    difference = np.asarray(result, np.float64) - np.asarray(driver, np.float64)
    difference[:, :3] = (difference[:, :3] + np.pi) % (2 * np.pi) - np.pi
    return np.linalg.norm(difference, axis=-1)


def rotation_angles(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angle in degrees between rotations …×3×3 and …×3×3."""
    trace = np.einsum("...ij,...ij->...", first, second)
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def head_angles(result: np.ndarray, driver: np.ndarray) -> np.ndarray:
    """Angle in degrees between the heads of poses N×6 and N×6: N."""
    return rotation_angles(rotation_matrix(result[:, :3]), rotation_matrix(driver[:, :3]))


def rotation_error(driver: np.ndarray, result: np.ndarray, at: int) -> tuple[float, float]:
    """Rotations N×3×3 of both: mean angle (degrees) between their changes since frame `at`, and the driver's mean
    change.
    """
    change_driver, change_result = (turns @ turns[at].T for turns in (driver, result))
    moved = rotation_angles(change_driver, np.broadcast_to(np.eye(3), change_driver.shape))
    return float(rotation_angles(change_driver, change_result).mean()), float(moved.mean())


def correlate(driver: np.ndarray, result: np.ndarray) -> dict[str, tuple[float, float]]:
    """Blendshape scores N×52 of both: for each of GROUPS the mean correlation over time of the scores that the driver
    moves, and the mean gain (slope of result on driver). Groups that do not move are left out.
    """
    out = {}
    for group, names in GROUPS.items():
        rows = []
        for name in names:
            d, r = (scores[:, BLENDSHAPES.index(name)] for scores in (driver, result))
            if d.std() > MOVES:
                covariance = ((d - d.mean()) * (r - r.mean())).mean()
                rows.append((covariance / max(d.std() * r.std(), 1e-9), covariance / d.var()))
        if rows:
            correlation, gain = np.mean(rows, axis=0)
            out[group] = float(correlation), float(gain)
    return out
