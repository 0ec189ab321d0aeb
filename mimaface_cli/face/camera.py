"""The pinhole camera of the released models.

The focal length is 1015 pixels for a 224 pixel crop; the camera is ten model units in front of the face. Camera axes:
x to the subject's left, y up, z to the camera.

Source: the released coefficient code; reference values from it are in tests/goldens (kind `bfm`).
"""

import numpy as np

from mimaface_cli.motion.rotation import rotation_matrix

CAMERA_DISTANCE = 10.0
FOCAL_PER_SIZE = 1015.0 / 224.0
CROP_SIZE = 256


def apply_pose(vertices: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Rotate and translate model vertices into camera axes.

    Args:
        vertices: (V, 3) unposed vertices.
        pose: (6,) Euler angles in rad and translation in model units.

    Returns:
        (V, 3) vertices in camera axes, model units.
    """
    return vertices @ rotation_matrix(pose[:3]).T + pose[3:]


def project(points: np.ndarray, size: float = CROP_SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Project points in camera axes to the pixels of a square crop.

    Args:
        points: (V, 3) points in camera axes.
        size: Side of the crop in pixels.

    Returns:
        Pixels (V, 2), y pointing down, and distances from the camera (V,).
    """
    depth = CAMERA_DISTANCE - points[:, 2]
    scale = FOCAL_PER_SIZE * size / depth
    pixels = points[:, :2] * (scale[:, None] * [1, -1])
    pixels += size / 2
    return pixels, depth


def unproject(pixels: np.ndarray, depth: np.ndarray, size: float = CROP_SIZE) -> np.ndarray:
    """Invert `project` at known distances.

    Args:
        pixels: (V, 2) pixels of the crop.
        depth: (V,) distances from the camera.
        size: Side of the crop in pixels.

    Returns:
        (V, 3) points in camera axes.
    """
    scale = depth / (FOCAL_PER_SIZE * size)
    half = size / 2
    return np.stack([(pixels[:, 0] - half) * scale, (half - pixels[:, 1]) * scale, CAMERA_DISTANCE - depth], -1)
