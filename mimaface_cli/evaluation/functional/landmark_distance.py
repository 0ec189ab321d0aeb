"""Distances of landmarks in the image, from the coefficients of two tracks.

Both faces are projected by the same model and camera, so no landmark has to be detected again.
"""

from collections.abc import Generator

import numpy as np

from mimaface_cli.evaluation.functional.track_curves import project_landmarks
from mimaface_cli.face.face478 import Face478
from mimaface_cli.motion.track import MotionTrack

KEYPOINT_SIDE = 256  # pixels of the longest side of the frame in which keypoint distances are stated
# Outer and inner outline of the lips among the 478 landmarks, from the subject's right corner on.
LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191,
)  # fmt: skip
_BLOCK_FRAMES = 100  # frames that are projected at once


def image_landmarks(track: MotionTrack, model: Face478, frames: slice) -> np.ndarray:
    """Return the landmarks (N, 478, 2) of some frames in a frame whose longest side is KEYPOINT_SIDE pixels."""
    points = project_landmarks(track, model, frames)
    linear = track.crop[frames, :, :2].astype(np.float64)
    offset = track.crop[frames, :, 2].astype(np.float64)
    determinant = np.linalg.det(linear)
    inverse = np.linalg.inv(np.where((determinant == 0)[:, None, None], np.eye(2), linear))
    pixels = np.einsum("nij,nvj->nvi", inverse, points - offset[:, None])
    return pixels * (KEYPOINT_SIDE / max(track.meta.width, track.meta.height, 1))


def keypoint_errors(points: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the mean absolute difference (N) of the coordinates of landmarks (N, V, 2), in their pixels.

    Source: the evaluation of First Order Motion Model (AKD).
    """
    return np.abs(points - reference).mean((1, 2))


def lip_distances(points: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the mean distance (N) of the lips of landmarks (N, 478, 2), after both centers are aligned.

    Source: Chen et al. 2018, "Lip Movements Generation at a Glance" (LMD).
    """
    lips, other = points[:, LIPS], reference[:, LIPS]
    lips, other = lips - lips.mean(1, keepdims=True), other - other.mean(1, keepdims=True)
    return np.linalg.norm(lips - other, axis=-1).mean(1)


def landmark_pairs(
    track: MotionTrack, driver: MotionTrack, model: Face478
) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
    """Yield the landmarks of two tracks of the same length in blocks, so that memory does not grow."""
    for start in range(0, len(track), _BLOCK_FRAMES):
        frames = slice(start, start + _BLOCK_FRAMES)
        yield image_landmarks(track, model, frames), image_landmarks(driver, model, frames)
