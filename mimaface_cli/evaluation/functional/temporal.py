"""Temporal consistency of a video: jitter, flicker, jumps at clip borders, drift."""

from dataclasses import dataclass

import numpy as np

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # weights of red, green and blue
GRID_CELLS = 32  # luma is compared over time on a grid of GRID_CELLS×GRID_CELLS cells
BORDER_PERIODS = range(4, 65)  # candidate frame counts between clip borders
BORDER_SCORE = 3.0  # exceeded by about one in 1000 videos without clip borders
BORDER_EXCESS = 0.25  # gray levels; smaller jumps are invisible
MIN_BORDERS = 4


def jitter(points: np.ndarray, size: float) -> np.ndarray:
    """Return the mean length (N - 2) of the second difference of landmarks (N, V, 2).

    It is divided by the face's size.
    """
    return np.linalg.norm(np.diff(points, 2, axis=0), axis=-1).mean(-1) / size


def sample_luma(image: np.ndarray) -> np.ndarray:
    """Return the luma of every k-th pixel of an H×W×3 uint8 RGB image.

    Large images then cost no more than small ones.

    Returns:
        H/k×W/k uint8; its shorter side has 256 to 511 pixels if the image is larger than that.
    """
    import cv2

    step = max(1, min(image.shape[:2]) // 256)
    luma = cv2.cvtColor(np.ascontiguousarray(image[::step]), cv2.COLOR_RGB2GRAY)
    return np.ascontiguousarray(luma[:, ::step])


def luma_cells(luma: np.ndarray, cells: int = GRID_CELLS) -> np.ndarray:
    """Return the mean luma of each cell of a grid over an image.

    Args:
        luma: H×W uint8 (see `sample_luma`) or float.
        cells: Cells along each side.

    Returns:
        (cells, cells) float32, 0 to 255.
    """
    import cv2

    return cv2.resize(np.asarray(luma, np.float32), (cells, cells), interpolation=cv2.INTER_AREA)


def flicker(before: np.ndarray, cells: np.ndarray, after: np.ndarray) -> float:
    """Return the amplitude in gray levels of the flicker at a frame.

    It is half of the difference between the frame and the mean of its neighbors, as the median over the cells. A
    brightness that alternates by ±A gives A. A steady fade gives 0, and so does motion in less than half of the frame.

    Args:
        before: Luma cells of the previous frame.
        cells: Luma cells of the frame.
        after: Luma cells of the next frame.
    """
    return abs(float(np.median(cells - (before + after) / 2))) / 2


def luma_change(before: np.ndarray, cells: np.ndarray) -> float:
    """Return the mean absolute difference in gray levels of the luma cells of two frames."""
    return float(np.abs(cells - before).mean())


@dataclass(frozen=True)
class ClipBorders:
    """Jumps that repeat at a regular period.

    Attributes:
        period: Frames between two jumps.
        first: Frame of the first jump.
        excess: Median number of gray levels by which a jump exceeds the changes around it.
        score: -log10 of the probability that the jumps are a coincidence.
    """

    period: int
    first: int
    excess: float
    score: float


def excess_change(changes: np.ndarray, reach: int = 3) -> np.ndarray:
    """Return the excess of each of N changes over the median of its neighbors.

    The neighbors are the up to 2·reach changes around it.
    """
    padded = np.concatenate([np.full(reach, np.nan), changes, np.full(reach, np.nan)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    neighbors = np.delete(windows, reach, axis=1)
    known = np.isfinite(neighbors).any(1)
    excess = np.zeros(len(changes))
    excess[known] = changes[known] - np.nanmedian(neighbors[known], axis=1)
    return np.where(np.isfinite(excess), excess, 0.0)


def find_clip_borders(changes: np.ndarray, period: int | None = None) -> ClipBorders | None:
    """Detect regular jumps in the changes between frames.

    The test compares ranks, so that rare large changes such as blinks and gestures do not count. Its threshold grows
    with the number of periods and phases that were tried.

    Args:
        changes: (N) gray levels; changes[k] is the change from frame k - 1 to frame k, NaN at a scene cut.
        period: Frames between clip borders if they are known; None tries all of BORDER_PERIODS.

    Returns:
        The most significant jumps, or None if nothing regular stands out or there are fewer than four borders.
    """
    excess = excess_change(np.asarray(changes, np.float64))
    known = np.isfinite(changes)
    if known.sum() < MIN_BORDERS:
        return None
    rank = np.zeros(len(excess))  # share of frames with a smaller excess
    rank[known] = np.argsort(np.argsort(excess[known])) / known.sum()
    best: ClipBorders | None = None
    trials = 0
    for length in BORDER_PERIODS if period is None else (period,):
        for phase in range(length):
            frames = np.arange(phase, len(excess), length)
            frames = frames[known[frames]]
            if len(frames) < MIN_BORDERS:
                continue
            trials += 1
            score = -np.log10(max(_chance(rank[frames]), 1e-300))
            if best is None or score > best.score:
                best = ClipBorders(length, int(frames[0]), float(np.median(excess[frames])), float(score))
    if best is None or best.score < BORDER_SCORE + np.log10(trials) or best.excess < BORDER_EXCESS:
        return None
    return best


def _chance(ranks: np.ndarray) -> float:
    """Return the probability that random frames rank as high as these, with up to a quarter ranked low."""
    from scipy.special import betainc

    count = len(ranks)
    lowest = np.sort(ranks)[: count // 4 + 1]
    remaining = count - np.arange(len(lowest))
    return float(betainc(remaining, count - remaining + 1, np.clip(1 - lowest, 0, 1)).min()) * len(lowest)


def drift(values: np.ndarray, times: np.ndarray) -> float | None:
    """Return the change of a quantity from the first to the last fifth of its time span.

    Args:
        values: (N) values.
        times: (N) seconds, increasing.

    Returns:
        Median of the last fifth minus median of the first fifth, or None with fewer than five values.
    """
    if len(values) < 5:
        return None
    span = times[-1] - times[0]
    early, late = times <= times[0] + span / 5, times >= times[-1] - span / 5
    return float(np.median(values[late]) - np.median(values[early]))
