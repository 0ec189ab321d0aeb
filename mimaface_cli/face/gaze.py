"""Gaze in the face478 space: where the irises stand on their eyeballs, in the head's own frame."""

import numpy as np

from mimaface_cli.face import camera, topology
from mimaface_cli.motion.rotation import rotation_matrix

IRIS_RADIUS_OF_BALL = 0.105  # center of the eyeball to the iris plane in model units (about 10.9 mm)
BALL_DEPTH = 0.085  # how far the center lies behind the line between the corners of the eye
LIMIT = np.radians(45.0)
# (corners, iris center) of the left and the right eye
EYES = (((362, 263), topology.LEFT_IRIS[0]), ((133, 33), topology.RIGHT_IRIS[0]))


def eyeball_centers(shape: np.ndarray) -> np.ndarray:
    """Centers of the left and right eyeball (2×3) of an unposed face 478×3."""
    return np.stack([shape[list(corners)].mean(0) - [0, 0, BALL_DEPTH] for corners, _ in EYES])


def irises_beside(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Landmarks 478×2 with the irises moved as the corners of their eyes are to those of `corners` (478×2): landmarks
    err together, so an iris is told by where it stands in its own eye.
    """
    moved = np.array(points)
    for ends, iris in EYES:
        moved[iris] += (corners[list(ends)] - points[list(ends)]).mean(0)
    return moved


def gaze_from_iris(points: np.ndarray, shape: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """points: 478×2 crop pixels; shape: unposed fitted face 478×3; pose: 6. Returns left yaw, left pitch, right yaw,
    right pitch in rad: yaw positive to the subject's left, pitch positive upwards, both relative to the head.
    """
    turn = rotation_matrix(pose[:3])
    angles = []
    for center, (_, iris) in zip(eyeball_centers(shape), EYES):
        ball = turn @ center + pose[3:]
        direction = turn[:, 2]
        for _ in range(3):  # the depth of the iris depends on where it looks
            depth = camera.CAMERA_DISTANCE - (ball + IRIS_RADIUS_OF_BALL * direction)[2]
            seen = camera.unproject(points[iris][None], np.array([depth]))[0] - ball
            planar = seen[:2] / IRIS_RADIUS_OF_BALL
            planar /= max(1.0, float(np.linalg.norm(planar)) / 0.95)
            direction = np.append(planar, np.sqrt(1 - planar @ planar))
        x, y, z = turn.T @ direction
        angles += [np.arctan2(x, max(z, 1e-3)), np.arcsin(np.clip(y, -1, 1))]
    return np.clip(angles, -LIMIT, LIMIT)


def gaze_direction(yaw: float, pitch: float) -> np.ndarray:
    """Unit vector (3) of a gaze in the head's frame."""
    return np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
