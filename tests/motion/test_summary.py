"""Curves of a track and their sparklines."""

from dataclasses import replace

import numpy as np

from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.motion.summary import format_sparkline, list_curves
from mimaface_cli.motion.track import MotionTrack


def make_smiling_track() -> MotionTrack:
    """Return a track in which jawOpen moves by 0.2 and mouthSmileLeft by 0.6."""
    track = MotionTrack.neutral(5, "face478")
    expression = track.expression.copy()
    expression[:, blendshape_index("jawOpen")] = np.linspace(0, 0.2, 5)
    expression[:, blendshape_index("mouthSmileLeft")] = np.linspace(0, 0.6, 5)
    return replace(track, expression=expression)


def test_list_curves_puts_moving_expressions_after_head_and_gaze_by_span():
    names = [curve.name for curve in list_curves(make_smiling_track())]
    assert names[:3] == ["yaw", "pitch", "roll"]
    assert names[10:] == ["mouthSmileLeft", "jawOpen"]


def test_list_curves_includes_resting_expressions_on_request():
    curves = list_curves(make_smiling_track(), include_resting=True)
    assert len(curves) == 74
    units = {curve.name: curve.unit for curve in curves}
    assert (units["yaw"], units["x"], units["jawOpen"], units["exp52"]) == ("degrees", "units", "score", "number")


def test_format_sparkline_averages_frames_into_blocks():
    assert format_sparkline(np.arange(8.0)) == "▁▂▃▄▅▆▇█"
    assert format_sparkline(np.repeat(np.arange(8.0), 10), width=8) == "▁▂▃▄▅▆▇█"
    assert format_sparkline(np.zeros(4)) == "▁▁▁▁"
    assert format_sparkline(np.array([0.0, 0.5]), low=0.0, high=1.0) == "▁▅"
