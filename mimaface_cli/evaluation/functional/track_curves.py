"""Curves of a motion track: mouth opening and jitter."""

import numpy as np

from mimaface_cli.evaluation.functional.temporal import jitter
from mimaface_cli.face import camera
from mimaface_cli.face.face478 import Face478
from mimaface_cli.motion.rotation import rotation_matrix
from mimaface_cli.motion.track import MotionTrack

_LIP_CENTERS = 13, 14  # inner center of the upper and of the lower lip
_LIP_CORNERS = 61, 291  # right and left corner of the mouth
_BLOCK_FRAMES = 100  # frames that are projected at once


def mouth_opening(track: MotionTrack, model: Face478) -> np.ndarray:
    """Return the distance (N) between the centers of the inner lips in model units."""
    identity = track.identity.astype(np.float64)
    upper, lower = (model.mean[k] + model.identity_basis[k] @ identity for k in _LIP_CENTERS)
    basis_gap = model.expression_basis[_LIP_CENTERS[0]] - model.expression_basis[_LIP_CENTERS[1]]
    gap = upper - lower + track.expression @ basis_gap.T
    return np.linalg.norm(gap, axis=1)


def mouth_width(track: MotionTrack, model: Face478) -> np.ndarray:
    """Return the distance (N) between the corners of the mouth in model units."""
    identity = track.identity.astype(np.float64)
    right, left = (model.mean[k] + model.identity_basis[k] @ identity for k in _LIP_CORNERS)
    basis = model.expression_basis[_LIP_CORNERS[0]] - model.expression_basis[_LIP_CORNERS[1]]
    return np.linalg.norm(right - left + track.expression @ basis.T, axis=1)


def mean_jitter(track: MotionTrack, model: Face478) -> float | None:
    """Return the mean `jitter` of a track's landmarks.

    The unit is the diagonal of the face's box.

    Returns:
        The mean over all runs of three frames that show the face within one shot, or None if there are none.
    """
    shots = np.searchsorted(np.asarray(track.meta.cuts, int), np.arange(len(track)), side="right")
    usable = track.valid[:-2] & track.valid[1:-1] & track.valid[2:] & (shots[:-2] == shots[2:])
    if not usable.any():
        return None
    jitters, sizes = [], []
    for start in range(0, len(track) - 2, _BLOCK_FRAMES):
        points = project_landmarks(track, model, slice(start, min(start + _BLOCK_FRAMES + 2, len(track))))
        jitters.append(jitter(points, 1.0)[usable[start : start + _BLOCK_FRAMES]])
        sizes.append(np.linalg.norm(np.ptp(points, axis=1), axis=-1))
    return float(np.concatenate(jitters).mean() / np.median(np.concatenate(sizes)))


def project_landmarks(track: MotionTrack, model: Face478, frames: slice) -> np.ndarray:
    """Return the landmarks (N, 478, 2) in pixels of the crop."""
    neutral = model.mean + model.identity_basis @ track.identity.astype(np.float64)
    expression, pose = (values[frames].astype(np.float64) for values in (track.expression, track.pose))
    flat_basis = model.expression_basis.reshape(-1, expression.shape[1])
    shapes = neutral + (expression @ flat_basis.T).reshape(-1, *neutral.shape)
    posed = shapes @ np.swapaxes(rotation_matrix(pose[:, :3]), -1, -2) + pose[:, None, 3:]
    points, _ = camera.project(posed.reshape(-1, 3))
    return points.reshape(*posed.shape[:2], 2)
