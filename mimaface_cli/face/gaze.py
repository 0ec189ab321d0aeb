"""Gaze angles of the face478 space, from the positions of the irises on the eyeballs, relative to the head."""

import numpy as np

from mimaface_cli.face import camera, topology
from mimaface_cli.motion.rotation import rotation_matrix

IRIS_DISTANCE = 0.105  # distance of the iris plane from the eyeball's center, in model units (about 10.9 mm)
EYEBALL_DEPTH = 0.085  # distance of the eyeball's center behind the line between the eye corners, in model units
GAZE_LIMIT = np.radians(45.0)
_MAX_IRIS_OFFSET = 0.95  # offset of an iris from the eyeball's axis, relative to IRIS_DISTANCE; 1 is a turn by 90°
_DEPTH_STEPS = 3
# Landmark indices: (corners, iris center) of the left and the right eye.
CORNERS_AND_IRIS = (((362, 263), topology.LEFT_IRIS[0]), ((133, 33), topology.RIGHT_IRIS[0]))


def eyeball_centers(shape: np.ndarray) -> np.ndarray:
    """Locate the eyeballs of a face.

    Args:
        shape: (478, 3) unposed face.

    Returns:
        (2, 3) centers of the left and the right eyeball.
    """
    return np.stack([shape[list(corners)].mean(0) - [0, 0, EYEBALL_DEPTH] for corners, _ in CORNERS_AND_IRIS])


def align_irises(points: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Shift the iris centers of each eye by the offset between the two estimates of its corners.

    Neighboring landmarks share their errors, so the place of an iris between the corners of its eye is more accurate
    than its place in the image.

    Args:
        points: (478, 2) landmarks with the irises to shift.
        reference: (478, 2) landmarks with more accurate eye corners.

    Returns:
        (478, 2) copy of `points` with shifted iris centers.
    """
    shifted = np.array(points)
    for corners, iris in CORNERS_AND_IRIS:
        shifted[iris] += (reference[list(corners)] - points[list(corners)]).mean(0)
    return shifted


def gaze_from_iris(points: np.ndarray, shape: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Estimate the gaze of both eyes.

    Args:
        points: (478, 2) landmarks in pixels of the crop.
        shape: (478, 3) fitted unposed face.
        pose: (6,) fitted pose.

    Returns:
        (4,) left yaw, left pitch, right yaw, right pitch in rad relative to the head, within GAZE_LIMIT. Yaw is
        positive to the subject's left, pitch upward.
    """
    rotation = rotation_matrix(pose[:3])
    angles = []
    for center, (_, iris) in zip(eyeball_centers(shape), CORNERS_AND_IRIS, strict=True):
        posed_center = rotation @ center + pose[3:]
        direction = rotation[:, 2]
        for _ in range(_DEPTH_STEPS):  # the depth of the iris depends on the direction of the gaze
            depth = camera.CAMERA_DISTANCE - (posed_center + IRIS_DISTANCE * direction)[2]
            offset = camera.unproject(points[iris][None], np.array([depth]))[0] - posed_center
            planar = offset[:2] / IRIS_DISTANCE
            planar /= max(1.0, float(np.linalg.norm(planar)) / _MAX_IRIS_OFFSET)
            direction = np.append(planar, np.sqrt(1 - planar @ planar))
        x, y, z = rotation.T @ direction
        angles += [np.arctan2(x, max(z, 1e-3)), np.arcsin(np.clip(y, -1, 1))]
    return np.clip(angles, -GAZE_LIMIT, GAZE_LIMIT)


def gaze_direction(yaw: float, pitch: float) -> np.ndarray:
    """Return the unit vector (3,) of a gaze in head axes, from angles in rad."""
    return np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
