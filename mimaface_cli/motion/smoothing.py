"""Zero-phase smoothing of coefficients over time, and interpolation of frames without a face."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

POSE_SIGMA = 0.045  # seconds; a head does not shake faster than about 4 Hz
ILLUMINATION_SIGMA = 0.20  # seconds
GAZE_SIGMA = 0.025  # seconds
MIN_EXPRESSION_RATE = 20  # frames per second; expressions are not smoothed at lower rates


def fill_missing(values: np.ndarray, valid: np.ndarray, pts: np.ndarray) -> np.ndarray:
    """Interpolate invalid frames in time; the first and the last valid frame are held beyond the ends.

    Args:
        values: (N, D).
        valid: (N,), False for the frames to fill. If no frame is valid, the values are returned unchanged.
        pts: (N,), times in seconds.

    Returns:
        (N, D).
    """
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
    """Fill invalid frames and smooth every shot separately.

    Args:
        values: (N, D).
        valid: (N,), False for the frames to fill.
        pts: (N,), times in seconds.
        cuts: First frames of shots.
        smooth: Called with the values of a shot and its range of frames; returns the smoothed values.

    Returns:
        (N, D). A shot without any valid frame is interpolated from its neighbors.
    """
    result = np.array(values, np.float64)
    known = np.zeros(len(values), bool)
    edges = [0, *(cut for cut in cuts if cut > 0), len(values)]
    for start, stop in pairwise(edges):
        shot = slice(start, stop)
        if valid[shot].any():
            known[shot] = True
            result[shot] = smooth(fill_missing(result[shot], valid[shot], pts[shot]), shot)
    return fill_missing(result, known, pts)


def filter_gaussian(values: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth along time with a Gaussian kernel.

    The ends are reflected about their end value, so that they do not drift.

    Args:
        values: (N, D).
        sigma: Standard deviation in frames; below 0.2 nothing is filtered.

    Returns:
        (N, D).
    """
    radius = int(np.ceil(3 * sigma))
    if len(values) < 3 or radius < 1 or sigma < 0.2:
        return values
    radius = min(radius, len(values) - 1)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    head = 2 * values[0] - values[radius:0:-1]
    tail = 2 * values[-1] - values[-2 : -2 - radius : -1]
    return _convolve(np.concatenate([head, values, tail]), kernel)


def filter_savitzky_golay(values: np.ndarray) -> np.ndarray:
    """Smooth along time with a 5-point cubic Savitzky-Golay filter.

    It reduces noise and preserves the depth of a blink or a plosive of three frames.

    Args:
        values: (N, D).

    Returns:
        (N, D).

    Source: Savitzky and Golay, "Smoothing and differentiation of data by simplified least squares procedures", 1964.
    """
    if len(values) < 5:
        return values
    kernel = np.array([-3, 12, 17, 12, -3]) / 35
    head = 2 * values[:1] - values[2:0:-1]
    tail = 2 * values[-1:] - values[-2:-4:-1]
    return _convolve(np.concatenate([head, values, tail]), kernel)


def smooth_pose(pose: np.ndarray, rate: float, strength: float = 1.0) -> np.ndarray:
    """Smooth (N, 6) poses; the angles are unwrapped first.

    Args:
        pose: (N, 6), angles in radians, then translation.
        rate: Frames per second.
        strength: Factor on the time constant; 0 turns smoothing off.

    Returns:
        (N, 6) float64.
    """
    pose = np.array(pose, np.float64)
    pose[:, :3] = np.unwrap(pose[:, :3], axis=0)
    return filter_gaussian(pose, POSE_SIGMA * rate * strength)


def smooth_crop(crop: np.ndarray, rate: float, strength: float = 1.0) -> np.ndarray:
    """Smooth the affine crops of the frames.

    Args:
        crop: (N, 6), entries of the (2, 3) affines from the frames to the crop.
        rate: Frames per second.
        strength: Factor on the time constant; 0 turns smoothing off.

    Returns:
        (N, 6).
    """
    return filter_gaussian(crop, POSE_SIGMA * rate * strength)


def smooth_expression(expression: np.ndarray, rate: float, strength: float = 1.0) -> np.ndarray:
    """Smooth expressions; below MIN_EXPRESSION_RATE frames per second they are returned unchanged.

    Args:
        expression: (N, 64).
        rate: Frames per second.
        strength: 0 turns smoothing off; other values make no difference.

    Returns:
        (N, 64).
    """
    return filter_savitzky_golay(expression) if strength > 0 and rate >= MIN_EXPRESSION_RATE else expression


def smooth_gaze(gaze: np.ndarray, rate: float, strength: float = 1.0) -> np.ndarray:
    """Smooth the gaze over a short time, so that saccades stay fast.

    Args:
        gaze: (N, 4), in radians (bfm09: outputs of its network).
        rate: Frames per second.
        strength: Factor on the time constant; 0 turns smoothing off.

    Returns:
        (N, 4).
    """
    return filter_gaussian(gaze, GAZE_SIGMA * rate * strength)


def smooth_illumination(illumination: np.ndarray, rate: float, strength: float = 1.0) -> np.ndarray:
    """Smooth the illumination over a long time: light changes slowly, but its estimate is noisy.

    Args:
        illumination: (N, 27), spherical-harmonic coefficients.
        rate: Frames per second.
        strength: Factor on the time constant; 0 turns smoothing off.

    Returns:
        (N, 27).
    """
    return filter_gaussian(illumination, ILLUMINATION_SIGMA * rate * strength)


def _convolve(padded: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return np.stack([np.convolve(column, kernel, "valid") for column in padded.T], -1)
