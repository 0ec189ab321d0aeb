"""Plot of a track's curves over time."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mimaface_cli.errors import OutputError
from mimaface_cli.files import atomic_path, check_output
from mimaface_cli.motion.summary import Curve, list_curves
from mimaface_cli.motion.track import MotionTrack

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLOT_SUFFIXES = (".png", ".svg", ".pdf")
MAX_EXPRESSIONS = 8  # number of expressions to plot, those with the largest motion
# Colors that people with color blindness can distinguish.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#444444")


def plot_track(track: MotionTrack, path: Path, title: str, overwrite: bool = False) -> None:
    """Plot head, position, gaze and the expressions that move most over time, with cuts and frames without a face.

    Args:
        track: The track.
        path: File to write: .png, .svg or .pdf.
        title: Title of the plot.
        overwrite: Whether to replace an existing file.

    Raises:
        OutputError: If the file cannot be written.
    """
    if path.suffix.lower() not in PLOT_SUFFIXES:
        raise OutputError(f"{path}: a plot cannot have this suffix. Choose {', '.join(PLOT_SUFFIXES)}.")
    check_output(path, overwrite)
    curves = list_curves(track)
    figure = _plot_panels(track, _group_curves(curves))
    figure.suptitle(
        f"{title}: {len(track)} frames at {float(track.frame_rate):.5g} per second, {track.meta.space}", fontsize=11
    )
    omitted = sum(curve.is_expression for curve in curves) - MAX_EXPRESSIONS
    if omitted > 0:
        figure.supxlabel(f"{omitted} further expressions move less", fontsize=8, color="#777777")
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def _group_curves(curves: list[Curve]) -> dict[str, list[Curve]]:
    """Return the curves of each panel by its label."""
    return {
        "head (degrees)": [curve for curve in curves if curve.name in ("yaw", "pitch", "roll")],
        "position (model units)": [curve for curve in curves if curve.name in ("x", "y", "z")],
        "gaze": [curve for curve in curves if curve.name.startswith("gaze")],
        "expression": [curve for curve in curves if curve.is_expression][:MAX_EXPRESSIONS],
    }


def _plot_panels(track: MotionTrack, panels: dict[str, list[Curve]]) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    times = track.pts - track.pts[0]
    figure = Figure(figsize=(11, 9), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(4, 1, sharex=True, height_ratios=(2, 1.3, 1.6, 2.6))
    for axis, (label, curves) in zip(axes, panels.items(), strict=True):
        for curve, color in zip(curves, _COLORS, strict=False):
            axis.plot(times, curve.values, color=color, linewidth=1.4, label=curve.name)
        _mark_cuts_and_gaps(axis, track, times)
        axis.set_ylabel(label)
        axis.grid(color="#dddddd", linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        if curves:
            axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
    axes[-1].set_xlabel("seconds")
    axes[-1].set_xlim(0, max(float(times[-1]), 0.04))
    return figure


def _mark_cuts_and_gaps(axis: "Axes", track: MotionTrack, times: np.ndarray) -> None:
    """Draw cuts as lines, and frames without a face as gray areas."""
    for cut in track.meta.cuts:
        axis.axvline(times[cut], color="#999999", linewidth=0.8, linestyle=":")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], ~track.valid, [False]]).astype(int)))
    frame_duration = float(1 / track.frame_rate)
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        axis.axvspan(times[start], times[stop - 1] + frame_duration, color="#eeeeee", linewidth=0)
