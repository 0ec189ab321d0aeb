"""Zero-phase smoothing of coefficients over time, and filling of frames without a face."""

from collections.abc import Callable, Sequence

import numpy as np

POSE_SIGMA = 0.045  # seconds; a head does not shake faster than about 4 Hz
LIGHT_SIGMA = 0.20
GAZE_SIGMA = 0.025


def fill_missing(values: np.ndarray, valid: np.ndarray, pts: np.ndarray) -> np.ndarray:
    """N×D values with rows where `valid` is false interpolated in time; held at the ends. All false: unchanged."""
    if valid.all() or not valid.any():
        return values
    filled = np.array(values, np.float64)
    for column in range(filled.shape[1]):
        filled[~valid, column] = np.interp(pts[~valid], pts[valid], filled[valid, column])
    return filled


def smooth_by_shot(
    values: np.ndarray,
    valid: np.ndarray,
    pts: np.ndarray,
    cuts: Sequence[int],
    smooth: Callable[[np.ndarray, slice], np.ndarray],
) -> np.ndarray:
    """N×D values with unseen rows filled and each shot smoothed on its own: smooth(values of a shot, its frames).

    cuts: first frames of shots. A shot in which nothing was seen is filled from its neighbors.
    """
    result, known = np.array(values, np.float64), np.zeros(len(values), bool)
    edges = [0, *(cut for cut in cuts if cut > 0), len(values)]
    for start, stop in zip(edges, edges[1:]):
        shot = slice(start, stop)
        if valid[shot].any():
            known[shot] = True
            result[shot] = smooth(fill_missing(result[shot], valid[shot], pts[shot]), shot)
    return fill_missing(result, known, pts)


def gaussian(values: np.ndarray, sigma_frames: float) -> np.ndarray:
    """N×D smoothed along N by a symmetric kernel, edges reflected about their end value (no drift at the ends)."""
    radius = int(np.ceil(3 * sigma_frames))
    if len(values) < 3 or radius < 1 or sigma_frames < 0.2:
        return values
    radius = min(radius, len(values) - 1)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma_frames) ** 2)
    kernel /= kernel.sum()
    head = 2 * values[0] - values[radius:0:-1]
    tail = 2 * values[-1] - values[-2 : -2 - radius : -1]
    padded = np.concatenate([head, values, tail])
    return np.stack([np.convolve(column, kernel, "valid") for column in padded.T], -1)


def savitzky_golay(values: np.ndarray) -> np.ndarray:
    """N×D through a 5-point cubic filter: noise goes down, a blink or a plosive of three frames keeps its depth."""
    if len(values) < 5:
        return values
    kernel = np.array([-3, 12, 17, 12, -3]) / 35
    padded = np.concatenate([2 * values[:1] - values[2:0:-1], values, 2 * values[-1:] - values[-2:-4:-1]])
    return np.stack([np.convolve(column, kernel, "valid") for column in padded.T], -1)


def smooth_pose(pose: np.ndarray, rate: float, strength: float = 1.0) -> np.ndarray:
    """N×6 pose; angles are unwrapped first. rate: frames per second; strength scales the time constant (0: off)."""
    pose = np.array(pose, np.float64)
    pose[:, :3] = np.unwrap(pose[:, :3], axis=0)
    return gaussian(pose, POSE_SIGMA * rate * strength)


def smooth_crop(crop: np.ndarray, rate: float, strength: float = 1.0) -> np.ndarray:
    """N×6 entries of the affine that aligns each frame."""
    return gaussian(crop, POSE_SIGMA * rate * strength)


def smooth_expression(expression: np.ndarray, rate: float, strength: float = 1.0) -> np.ndarray:
    """N×64 expression. Below 20 frames a second every frame counts and nothing is filtered."""
    return savitzky_golay(expression) if strength > 0 and rate >= 20 else expression


def smooth_gaze(gaze: np.ndarray, rate: float, strength: float = 1.0) -> np.ndarray:
    """N×4 gaze: short, so that saccades stay quick."""
    return gaussian(gaze, GAZE_SIGMA * rate * strength)


def smooth_illumination(illumination: np.ndarray, rate: float, strength: float = 1.0) -> np.ndarray:
    """N×27 illumination: light changes slowly, its estimate does not."""
    return gaussian(illumination, LIGHT_SIGMA * rate * strength)
