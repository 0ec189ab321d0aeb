"""The curves of a track as a picture."""

from pathlib import Path

import numpy as np

from mimaface_cli.errors import OutputError
from mimaface_cli.files import atomic_path, check_output
from mimaface_cli.motion.summary import list_curves
from mimaface_cli.motion.track import MotionTrack

FORMATS = (".png", ".svg", ".pdf")
SHOWN = 8  # expressions with a line of their own
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#444444")  # told apart by all


def plot_track(track: MotionTrack, path: Path, title: str, overwrite: bool = False) -> None:
    """Head, place, gaze and the expressions that move most over time, cuts and unseen frames marked. Raises
    OutputError.
    """
    if path.suffix.lower() not in FORMATS:
        raise OutputError(f"{path}: a plot is written as {', '.join(FORMATS)}; change the suffix")
    check_output(path, overwrite)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = list_curves(track)
    faces = [curve for curve in found if curve.unit in ("score", "number") and not curve.name.startswith("gaze")]
    panels = [
        ("head, degrees", [curve for curve in found if curve.name in ("yaw", "pitch", "roll")]),
        ("place, model units", [curve for curve in found if curve.name in ("x", "y", "z")]),
        ("gaze", [curve for curve in found if curve.name.startswith("gaze")]),
        ("expression", faces[:SHOWN]),
    ]
    times = track.pts - track.pts[0]
    figure = Figure(figsize=(11, 9), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(4, 1, sharex=True, height_ratios=(2, 1.3, 1.6, 2.6))
    for axis, (name, lines) in zip(axes, panels):
        for curve, color in zip(lines, _COLORS):
            axis.plot(times, curve.values, color=color, linewidth=1.4, label=curve.name)
        _mark(axis, track, times)
        axis.set_ylabel(name)
        axis.grid(color="#dddddd", linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        if lines:
            axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
    axes[-1].set_xlabel("seconds")
    axes[-1].set_xlim(0, max(float(times[-1]), 0.04))
    rate = float(track.frame_rate)
    figure.suptitle(f"{title}: {len(track)} frames at {rate:.5g} a second, {track.meta.space}", fontsize=11)
    if len(faces) > SHOWN:
        figure.supxlabel(f"{len(faces) - SHOWN} further expressions move less", fontsize=8, color="#777777")
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def _mark(axis, track: MotionTrack, times: np.ndarray) -> None:
    """Cuts as lines, frames without a face as a gray ground."""
    for cut in track.meta.cuts:
        axis.axvline(times[cut], color="#999999", linewidth=0.8, linestyle=":")
    unseen = np.flatnonzero(np.diff(np.concatenate([[False], ~track.valid, [False]]).astype(int)))
    step = float(1 / track.frame_rate)
    for start, stop in zip(unseen[::2], unseen[1::2]):
        axis.axvspan(times[start], times[stop - 1] + step, color="#eeeeee", linewidth=0)
