"""What moves in a track, in the curves and units of `mimaface_cli.motion.channels`."""

from dataclasses import dataclass

import numpy as np

from mimaface_cli.motion.channels import NAMED_EXPRESSIONS, NUMBERED_EXPRESSIONS, find_channel
from mimaface_cli.motion.formats.csv_format import COLUMNS
from mimaface_cli.motion.track import MotionTrack

_BARS = "▁▂▃▄▅▆▇█"
MOVES = {"pose": 0.5, "gaze": 1.0, "expression": 0.03}  # spans (own units) below which a curve rests


@dataclass(frozen=True, eq=False)
class Curve:
    """One curve over the track's frames: values N in its own units (unit: degrees, units or score)."""

    name: str
    unit: str
    values: np.ndarray

    @property
    def span(self) -> float:
        """From lowest to highest."""
        return float(self.values.max() - self.values.min())


def curves(track: MotionTrack, everything: bool = False) -> list[Curve]:
    """Head and gaze, then the expressions that move, those that move most first; everything: all of them, in order."""
    rigid, faces = [], []
    arrays = {name: getattr(track, name).astype(np.float64) for name in ("expression", "pose", "gaze")}
    arrays["pose"][:, :3] = np.unwrap(arrays["pose"][:, :3], axis=0)
    for name in COLUMNS[track.meta.space]:
        channel = find_channel(name, track.meta.space)
        values = channel.read(arrays[channel.array])[:, 0]
        unit = "degrees" if abs(channel.unit) != 1 else "units" if channel.array == "pose" else "score"
        if name in NUMBERED_EXPRESSIONS or (channel.array == "gaze" and unit != "degrees"):
            unit = "number"
        (faces if name in NAMED_EXPRESSIONS or name in NUMBERED_EXPRESSIONS else rigid).append(
            Curve(name, unit, values)
        )
    if everything:
        return rigid + faces
    moving = [curve for curve in faces if curve.span >= MOVES["expression"]]
    return rigid + sorted(moving, key=lambda curve: -curve.span)


def sparkline(values: np.ndarray, width: int = 40, low: float | None = None, high: float | None = None) -> str:
    """A curve as a line of blocks; low, high: what the lowest and the highest block stand for (default: its own)."""
    low = float(values.min()) if low is None else low
    high = float(values.max()) if high is None else high
    edges = np.linspace(0, len(values), min(width, len(values)) + 1).astype(int)
    means = np.array([values[start:stop].mean() for start, stop in zip(edges, edges[1:])])
    if high - low < 1e-9:
        return _BARS[0] * len(means)
    steps = np.clip((means - low) / (high - low) * len(_BARS), 0, len(_BARS) - 1).astype(int)
    return "".join(_BARS[step] for step in steps)
