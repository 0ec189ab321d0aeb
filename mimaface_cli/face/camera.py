"""Pose and the release's pinhole camera: focal 1015·size/224, ten units before the face (goldens `bfm`)."""

import numpy as np

from mimaface_cli.motion.rotation import rotation_matrix

CAMERA_DISTANCE = 10.0
FOCAL_PER_SIZE = 1015.0 / 224.0
CROP_SIZE = 256


def place(vertices: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Model vertices V×3 under a pose (6: angles, translation) in camera-aligned units V×3."""
    return vertices @ rotation_matrix(pose[:3]).T + pose[3:]


def project(placed: np.ndarray, size: float = CROP_SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Placed vertices V×3 to pixels of a size×size crop (V×2, row axis down) and distance from the camera V."""
    depth = CAMERA_DISTANCE - placed[:, 2]
    scale = FOCAL_PER_SIZE * size / depth
    half = size / 2
    return np.stack([half + placed[:, 0] * scale, half - placed[:, 1] * scale], -1), depth


def unproject(pixels: np.ndarray, depth: np.ndarray, size: float = CROP_SIZE) -> np.ndarray:
    """Inverse of `project` at known distances: V×2 pixels and V distances to V×3 placed points."""
    scale = depth / (FOCAL_PER_SIZE * size)
    half = size / 2
    return np.stack([(pixels[:, 0] - half) * scale, (half - pixels[:, 1]) * scale, CAMERA_DISTANCE - depth], -1)
