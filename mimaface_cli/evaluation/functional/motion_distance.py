"""Quality of motion transfer: coefficient distances, head angles, correlation over time.

Source: paper, section 4, Metrics (distances of the estimator's coefficients).
"""

import numpy as np

from mimaface_cli.motion.coefficients import BLENDSHAPES
from mimaface_cli.motion.rotation import rotation_matrix

MIN_DEVIATION = 0.03  # a driver's score with a smaller standard deviation over time counts as constant
VELOCITY_SPAN = 0.12  # seconds over which a velocity is measured, so that noise between two frames does not count
MIN_VELOCITIES = 5
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


def coefficient_errors(result: np.ndarray, driver: np.ndarray) -> np.ndarray:
    """Return the mean absolute difference (N) of the coefficients (N, D) of each frame."""
    return np.abs(np.asarray(result, np.float64) - np.asarray(driver, np.float64)).mean(-1)


def pose_errors(result: np.ndarray, driver: np.ndarray) -> np.ndarray:
    """Return the mean absolute difference (N) of poses (N, 6); angles may differ by whole turns."""
    return np.abs(_pose_differences(result, driver)).mean(-1)


def pose_distances(result: np.ndarray, driver: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance (N) of poses (N, 6); angles may differ by whole turns."""
    return np.linalg.norm(_pose_differences(result, driver), axis=-1)


def _pose_differences(result: np.ndarray, driver: np.ndarray) -> np.ndarray:
    difference = np.asarray(result, np.float64) - np.asarray(driver, np.float64)
    difference[:, :3] = (difference[:, :3] + np.pi) % (2 * np.pi) - np.pi
    return difference


def gaze_directions(gaze: np.ndarray) -> np.ndarray:
    """Return the unit vectors (N, 2, 3) of gaze angles (N, 4): yaw and pitch of the left, then of the right eye."""
    angles = np.asarray(gaze, np.float64).reshape(-1, 2, 2)
    yaw, pitch = angles[..., 0], angles[..., 1]
    return np.stack([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)], -1)


def gaze_errors(result: np.ndarray, driver: np.ndarray) -> np.ndarray:
    """Return the angle (N) in degrees between the gaze directions of gaze angles (N, 4), mean of both eyes."""
    first, second = gaze_directions(result), gaze_directions(driver)
    sine = np.linalg.norm(np.cross(first, second), axis=-1)
    return np.degrees(np.arctan2(sine, (first * second).sum(-1))).mean(1)


def velocity_correlation(
    result: np.ndarray, driver: np.ndarray, times: np.ndarray, is_usable: np.ndarray, starts: np.ndarray
) -> float | None:
    """Return how well a result follows the velocity of its driver: the correlation of their changes over time.

    Args:
        result: (N, D) values of the result.
        driver: (N, D) values of the driver at the same times.
        times: (N) seconds.
        is_usable: (N, bool) frames that have a value in both.
        starts: (N) number of the shot of each frame; changes across a cut do not count.

    Returns:
        -1 to 1: the sum over all columns of the covariances, relative to both deviations. None with fewer than
        MIN_VELOCITIES changes, or if one of both does not move.
    """
    if len(times) < 2:
        return None
    step = max(1, round(VELOCITY_SPAN / max(float(np.median(np.diff(times))), 1e-3)))
    first, last = slice(None, -step), slice(step, None)
    counted = np.concatenate([[0], np.cumsum(~is_usable)])
    gaps = counted[step + 1 :] - counted[: -step - 1]  # unusable frames from the first to the last of each change
    usable = (gaps == 0) & (starts[first] == starts[last])
    if usable.sum() < MIN_VELOCITIES:
        return None
    seconds = (times[last] - times[first])[usable, None]
    velocities = [np.asarray(values, np.float64)[last] - values[first] for values in (result, driver)]
    moved, wanted = (velocity[usable] / seconds for velocity in velocities)
    moved, wanted = moved - moved.mean(0), wanted - wanted.mean(0)
    scale = np.linalg.norm(moved) * np.linalg.norm(wanted)
    return float((moved * wanted).sum() / scale) if scale > 1e-9 else None


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
