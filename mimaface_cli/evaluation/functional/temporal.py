"""What a viewer feels over time: jitter, flicker, jumps at clip borders, drift."""

from dataclasses import dataclass

import numpy as np

CELLS = 32  # a picture is judged over time on CELLS×CELLS cells of its luma
BORDER_PERIODS = range(4, 65)  # frames between clip borders that are looked for
BORDER_SCORE = 3.0  # one in 10^3 videos without clip borders may seem to have them
BORDER_EXCESS = 0.25  # gray levels: smaller jumps nobody sees


def jitter(points: np.ndarray, size: float) -> np.ndarray:
    """Mean length of the second difference of landmarks N×V×2 in units of the face's size: N - 2 values."""
    return np.linalg.norm(np.diff(points, 2, axis=0), axis=-1).mean(-1) / size


def luma_cells(image: np.ndarray, cells: int = CELLS) -> np.ndarray:
    """Mean luma (0..255, float32) of cells×cells parts of a picture H×W×3 uint8."""
    import cv2

    # Every few pixels are enough for a mean, and a large picture costs no more than a small one.
    step = max(1, min(image.shape[:2]) // 256)
    small = cv2.resize(np.ascontiguousarray(image[::step, ::step]), (cells, cells), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) @ np.float32([0.299, 0.587, 0.114])


def flicker(before: np.ndarray, cells: np.ndarray, after: np.ndarray) -> float:
    """Amplitude in gray levels of the flicker at a frame, from its luma cells and its neighbors'.

    Half of what the frame differs from the mean of its neighbors, in the median over the cells: a brightness that
    alternates by ±A gives A; a steady fade, and motion in less than half of the picture, give 0.
    """
    return abs(float(np.median(cells - (before + after) / 2))) / 2


def change(before: np.ndarray, cells: np.ndarray) -> float:
    """Mean absolute difference in gray levels of two frames' luma cells."""
    return float(np.abs(cells - before).mean())


@dataclass(frozen=True)
class Borders:
    """Jumps that come every `period` frames, the first at frame `first`; excess: by how many gray levels they exceed
    the change between the frames around them (median); score: -log10 of the chance that they are none.
    """

    period: int
    first: int
    excess: float
    score: float


def excess_change(changes: np.ndarray, reach: int = 3) -> np.ndarray:
    """How far each of N changes exceeds the median of the up to 2·reach around it."""
    padded = np.concatenate([np.full(reach, np.nan), changes, np.full(reach, np.nan)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    around = np.delete(windows, reach, axis=1)
    known = np.isfinite(around).any(1)
    out = np.zeros(len(changes))
    out[known] = changes[known] - np.nanmedian(around[known], axis=1)
    return np.where(np.isfinite(out), out, 0.0)


def clip_borders(changes: np.ndarray, period: int | None = None) -> Borders | None:
    """Regular jumps in the changes between frames (N; changes[k]: from frame k - 1 to k; NaN: none, as at a scene cut).

    period: where clip borders are known to lie; None looks for them among BORDER_PERIODS. None is returned where
    nothing regular stands out: ranks are compared, so that blinks and gestures, which are large and rare, do not count,
    and the chance of finding something in all that was tried counts too. At least four borders are needed.
    """
    from scipy.special import betainc

    excess = excess_change(np.asarray(changes, np.float64))
    known = np.isfinite(changes)
    if known.sum() < 4:
        return None
    place = np.zeros(len(excess))  # share of all frames that exceed less
    place[known] = np.argsort(np.argsort(excess[known])) / known.sum()
    best: Borders | None = None
    tried = 0
    for length in BORDER_PERIODS if period is None else (period,):
        for phase in range(length):
            at = np.arange(phase, len(excess), length)
            at = at[known[at]]
            count = len(at)
            if count < 4:
                continue
            tried += 1
            # The chance that as many of `count` frames lie so high, leaving out up to a quarter of them.
            lowest = np.sort(place[at])[: count // 4 + 1]
            kept = count - np.arange(len(lowest))
            chance = float(betainc(kept, count - kept + 1, np.clip(1 - lowest, 0, 1)).min()) * len(lowest)
            score = -np.log10(max(chance, 1e-300))
            if best is None or score > best.score:
                best = Borders(length, int(at[0]), float(np.median(excess[at])), float(score))
    if best is None or best.score < BORDER_SCORE + np.log10(tried) or best.excess < BORDER_EXCESS:
        return None
    return best


def drift(values: np.ndarray, times: np.ndarray) -> float | None:
    """Change of a quantity from the first to the last fifth of its time span (medians); None with fewer than 5
    values.
    """
    if len(values) < 5:
        return None
    span = times[-1] - times[0]
    early, late = times <= times[0] + span / 5, times >= times[-1] - span / 5
    return float(np.median(values[late]) - np.median(values[early]))
