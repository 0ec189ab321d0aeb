"""Summary of a track: its channels as curves with units, and curves as text."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mimaface_cli.motion.channels import COLUMN_CHANNELS, find_channel
from mimaface_cli.motion.track import MotionTrack

MIN_EXPRESSION_SPAN = 0.03  # score; an expression with a smaller span is at rest
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, eq=False)
class Curve:
    """Values of one channel over the frames of a track.

    Args:
        name: Name of the channel.
        unit: Its unit: degrees, units, score or number.
        is_expression: Whether it is a channel of the expression, not of head or gaze.
        values: (N,), in the unit.
    """

    name: str
    unit: str
    is_expression: bool
    values: np.ndarray

    @property
    def span(self) -> float:
        """Difference of the highest and the lowest value."""
        return float(self.values.max() - self.values.min())


def list_curves(track: MotionTrack, include_resting: bool = False) -> list[Curve]:
    """Return the curves of a track.

    Args:
        track: The track.
        include_resting: Whether to include expressions at rest.

    Returns:
        Head and gaze, then the expressions: those that move, by descending span, or all of them in their order.
    """
    arrays = track.motion_arrays(unwrap=True)
    curves = []
    for name in COLUMN_CHANNELS[track.meta.space]:
        channel = find_channel(name, track.meta.space)
        values = channel.read(arrays[channel.array])[:, 0]
        curves.append(Curve(name, channel.unit, channel.array == "expression", values))
    if include_resting:
        return curves
    moving = [curve for curve in curves if curve.is_expression and curve.span >= MIN_EXPRESSION_SPAN]
    return [curve for curve in curves if not curve.is_expression] + sorted(moving, key=lambda curve: -curve.span)


def format_sparkline(values: np.ndarray, width: int = 40, low: float | None = None, high: float | None = None) -> str:
    """Format a curve as a line of block characters.

    Args:
        values: (N,).
        width: Highest number of characters.
        low: Value of the lowest block, or None for the lowest value.
        high: Value of the highest block, or None for the highest value.
    """
    low = float(values.min()) if low is None else low
    high = float(values.max()) if high is None else high
    edges = np.linspace(0, len(values), min(width, len(values)) + 1).astype(int)
    means = np.array([values[start:stop].mean() for start, stop in pairwise(edges)])
    if high - low < 1e-9:
        return _BARS[0] * len(means)
    steps = np.clip((means - low) / (high - low) * len(_BARS), 0, len(_BARS) - 1).astype(int)
    return "".join(_BARS[step] for step in steps)
