"""Times of imported tracks: order, range and frame rate."""

from fractions import Fraction
from pathlib import Path

import numpy as np

from mimaface_cli.errors import InputError
from mimaface_cli.motion.text_reader import TableRow

_MAX_TIME = 1e9  # seconds
_MIN_INTERVAL = 1e-4  # seconds
# Usual frame rates, to which an estimate is rounded when it comes close.
_USUAL_RATES = [Fraction(rate) for rate in (10, 12, 15, 24, 25, 30, 48, 50, 60, 100, 120)]
_USUAL_RATES += [Fraction(rate * 1000, 1001) for rate in (24, 30, 60, 120)]


def check_times(path: Path, rows: list[TableRow], times: np.ndarray, column: str) -> None:
    """Check that times increase strictly and are within range.

    Args:
        path: File, for the message.
        rows: Rows of the file, for their line numbers.
        times: (rows,), in seconds.
        column: Name of the column of times.

    Raises:
        InputError: For the first time that is not later than the one before, or for a time out of range.
    """
    not_later = np.flatnonzero(np.diff(times) <= 0)
    if len(not_later):
        line = rows[int(not_later[0]) + 1].line
        raise InputError(
            f"{path}: line {line}, column {column}: is not later than the line before. Sort the lines by time."
        )
    if np.abs(times).max() > _MAX_TIME:
        raise InputError(f"{path}: column {column}: a time is out of range. Give times in seconds.")


def estimate_frame_rate(times: np.ndarray) -> Fraction:
    """Estimate the nominal frame rate of times.

    Args:
        times: (N,), in seconds, increasing.

    Returns:
        The nearest usual frame rate, or a simple fraction where none is near; 25 for a single time.
    """
    if len(times) < 2:
        return Fraction(25)
    rate = 1 / max(float(np.median(np.diff(times))), _MIN_INTERVAL)
    mean_rate = (len(times) - 1) / max(float(times[-1] - times[0]), _MIN_INTERVAL)
    if abs(mean_rate / rate - 1) < 0.01:  # the mean distinguishes 29.97 from 30, unless frames are missing
        rate = mean_rate
    nearest = min(_USUAL_RATES, key=lambda usual: abs(float(usual) / rate - 1))
    if abs(float(nearest) / rate - 1) < 0.0004:
        return nearest
    return max(Fraction(rate).limit_denominator(100), Fraction(1, 100))
