"""Curves over time out of a motion track: how far the mouth is open, how steady the face is."""

import numpy as np

from mimaface_cli.evaluation.functional.temporal import jitter
from mimaface_cli.face import camera
from mimaface_cli.face.face478 import Face478
from mimaface_cli.motion.rotation import rotation_matrix
from mimaface_cli.motion.track import MotionTrack

_LIPS = 13, 14  # inner middle of the upper and the lower lip
_BLOCK = 500  # frames whose points are held at once


def mouth_opening(track: MotionTrack, model: Face478) -> np.ndarray:
    """Distance of the inner lips' middles in model units: N."""
    identity = track.identity.astype(np.float64)
    upper, lower = (model.mean[k] + model.identity_basis[k] @ identity for k in _LIPS)
    gap = upper - lower + track.expression @ (model.expression_basis[_LIPS[0]] - model.expression_basis[_LIPS[1]]).T
    return np.linalg.norm(gap, axis=1)


def steadiness(track: MotionTrack, model: Face478) -> float | None:
    """`jitter` of the track's points in its crop, in units of the face's size (diagonal of its box), mean over all
    three frames in a row that show the face in one shot; None where there are none.
    """
    shots = np.searchsorted(np.asarray(track.meta.cuts, int), np.arange(len(track)), side="right")
    fine = track.valid[:-2] & track.valid[1:-1] & track.valid[2:] & (shots[:-2] == shots[2:])
    if not fine.any():
        return None
    total, sizes = [], []
    for start in range(0, len(track) - 2, _BLOCK):
        points = _points(track, model, slice(start, min(start + _BLOCK + 2, len(track))))
        total.append(jitter(points, 1.0)[fine[start : start + _BLOCK]])
        sizes.append(np.linalg.norm(np.ptp(points, axis=1), axis=-1))
    return float(np.concatenate(total).mean() / np.median(np.concatenate(sizes)))


def _points(track: MotionTrack, model: Face478, frames: slice) -> np.ndarray:
    """Projected points N×478×2 in pixels of the crop."""
    neutral = model.mean + model.identity_basis @ track.identity.astype(np.float64)
    expression, pose = (a[frames].astype(np.float64) for a in (track.expression, track.pose))
    shapes = neutral + (expression @ model.expression_basis.reshape(-1, expression.shape[1]).T).reshape(
        -1, *neutral.shape
    )
    placed = shapes @ np.swapaxes(rotation_matrix(pose[:, :3]), -1, -2) + pose[:, None, 3:]
    flat, _ = camera.project(placed.reshape(-1, 3))
    return flat.reshape(*placed.shape[:2], 2)
