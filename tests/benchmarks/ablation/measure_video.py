"""Measurements of the ablation's videos: jumps at the borders of clips, and the video distance."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from mimaface_cli.evaluation.functional.distribution import Gaussian, frechet_distance
from tests.benchmarks.ablation.estimators import MotionEstimator, compute_features, estimate_motion

WINDOW = 8  # frames of a window of the video distance
COMPONENTS = 16  # principal components in which it is computed


def measure_videos(
    estimator: MotionEstimator, videos: np.ndarray, truth: np.ndarray, borders: Sequence[int]
) -> dict[str, float]:
    """Measure B×N×S×S×3 videos against the true ones.

    Args:
        estimator: The motion estimator.
        videos: B×N×S×S×3 uint8, the generated videos.
        truth: B×N×S×S×3 uint8, the true videos.
        borders: Frame numbers at which a clip starts, without 0.

    Returns:
        For pixels and landmarks: the ratio of the jumps between frames at borders to those within clips, for the
        videos and for the true ones, and the jumps within clips. Also "video_distance" and "psnr".
    """
    inside = [k for k in range(1, videos.shape[1]) if k not in borders]
    at_borders, within = [k - 1 for k in borders], [k - 1 for k in inside]
    figures = {}
    for name, measure in (("pixels", _measure_pixel_jumps), ("landmarks", partial(_measure_landmark_jumps, estimator))):
        for suffix, clips in (("", videos), ("_true", truth)):
            jumps = measure(clips)
            jump_within = jumps[:, within].mean()
            figures[f"{name}_border_ratio{suffix}"] = float(jumps[:, at_borders].mean() / jump_within)
            figures[f"{name}_inside{suffix}"] = float(jump_within)
    figures["video_distance"] = compute_video_distance(estimator, videos, truth)
    error = ((videos.astype(np.float32) - truth) ** 2).mean((2, 3, 4))
    figures["psnr"] = float((10 * np.log10(255**2 / error)).mean())
    return figures


def compute_video_distance(estimator: MotionEstimator, videos: np.ndarray, truth: np.ndarray) -> float:
    """Return the Fréchet distance over windows of WINDOW frames.

    The features of a window are the mean and the mean change over time of the estimator's features, in the first
    COMPONENTS principal components of the true videos.
    """
    truth_rows, video_rows = (_compute_window_features(estimator, clips) for clips in (truth, videos))
    mean, scale = truth_rows.mean(0), truth_rows.std(0) + 1e-6
    truth_rows, video_rows = (truth_rows - mean) / scale, (video_rows - mean) / scale
    basis = np.linalg.svd(truth_rows, full_matrices=False)[2][:COMPONENTS].T
    distributions = []
    for rows in (truth_rows, video_rows):
        gaussian = Gaussian(basis.shape[1])
        gaussian.add(rows @ basis)
        distributions.append(gaussian)
    return frechet_distance(*distributions)


def _compute_window_features(estimator: MotionEstimator, videos: np.ndarray) -> np.ndarray:
    count, frames = videos.shape[:2]
    features = compute_features(estimator, videos.reshape(-1, *videos.shape[2:])).reshape(count, frames, -1)
    rows = []
    for first in range(0, frames - WINDOW + 1, WINDOW // 2):
        window = features[:, first : first + WINDOW]
        rows.append(np.concatenate([window.mean(1), np.abs(np.diff(window, axis=1)).mean(1)], 1))
    return np.concatenate(rows)


def _measure_pixel_jumps(videos: np.ndarray) -> np.ndarray:
    """Return the mean absolute pixel difference between consecutive frames, B×(N-1)."""
    return np.abs(np.diff(videos.astype(np.float32), axis=1)).mean((2, 3, 4))


def _measure_landmark_jumps(estimator: MotionEstimator, videos: np.ndarray) -> np.ndarray:
    """Return the mean landmark distance between consecutive frames in pixels, B×(N-1)."""
    count, frames, size = videos.shape[:3]
    points = estimate_motion(estimator, videos.reshape(-1, *videos.shape[2:]))["points"]
    points = points.reshape(count, frames, -1, 2) * size
    return np.linalg.norm(np.diff(points, axis=1), axis=-1).mean(-1)
