"""Significance of paired differences: bootstrap, Holm's correction and the sign test."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt

import numpy as np

RESAMPLES = 10_000
MIN_PAIRS = 6  # with fewer pairs, resampling is meaningless
_SEED = 20_240_401
_BLOCK = 1000  # resamples at once, so that memory does not grow with their number
_QUANTILE = 1.959964  # of the normal distribution, for 95 %


@dataclass(frozen=True)
class PairedDifference:
    """Mean of paired differences.

    Attributes:
        mean: Mean difference.
        count: Number of pairs.
        low: Lower end of the 95 % interval, or None with fewer than MIN_PAIRS pairs.
        high: Upper end.
        p: Two-sided probability of no difference, or None with fewer than MIN_PAIRS pairs.
    """

    mean: float
    count: int
    low: float | None
    high: float | None
    p: float | None


def paired_bootstrap(first: Sequence[float], second: Sequence[float]) -> PairedDifference:
    """Compare paired values by resampling the pairs, with a fixed seed.

    Args:
        first: Values of one system.
        second: Values of another for the same clips.

    Returns:
        The mean of first - second with its percentile interval. The p-value counts the resampled means on the other
        side of zero, doubled, so it is at least 2 / (RESAMPLES + 1).

    Raises:
        ValueError: Without values, or with different numbers of values.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapters 13 and 15.
    """
    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    count = len(differences)
    if not count or len(first) != len(second):
        raise ValueError("two sequences of the same length are needed")
    mean = float(differences.mean())
    if count < MIN_PAIRS:
        return PairedDifference(mean, count, None, None, None)
    rng = np.random.default_rng(_SEED)
    means = np.concatenate(
        [differences[rng.integers(0, count, (_BLOCK, count))].mean(1) for _ in range(RESAMPLES // _BLOCK)]
    )
    low, high = np.percentile(means, (2.5, 97.5))
    smaller = min(int((means <= 0).sum()), int((means >= 0).sum()))
    return PairedDifference(mean, count, float(low), float(high), min(1.0, 2 * (smaller + 1) / (RESAMPLES + 1)))


def correct_holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values that are corrected for their number.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def sign_test(wins: int, losses: int) -> float:
    """Return the two-sided probability that a fair coin is as one-sided as wins and losses."""
    total = wins + losses
    tail = sum(comb(total, k) for k in range(min(wins, losses) + 1)) / 2**total
    return min(1.0, 2 * tail)


def wilson_interval(wins: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval of a share. Source: Wilson 1927. Raises ValueError without any trial."""
    if not total:
        raise ValueError("a share needs at least one trial")
    share, square = wins / total, _QUANTILE**2
    center = (share + square / (2 * total)) / (1 + square / total)
    reach = _QUANTILE * sqrt(share * (1 - share) / total + square / (4 * total**2)) / (1 + square / total)
    return max(0.0, center - reach), min(1.0, center + reach)
