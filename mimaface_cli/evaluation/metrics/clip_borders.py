"""Visible clip borders: regular jumps, typical of generators that work in clips."""

from collections.abc import Mapping

import numpy as np

from mimaface_cli.evaluation.functional.temporal import ClipBorders, find_clip_borders, luma_change
from mimaface_cli.evaluation.metric import TEMPORAL, WHOLE_FRAME, Method, Metric, MetricInfo, Series
from mimaface_cli.evaluation.metrics.flicker import frame_cells
from mimaface_cli.evaluation.video_pair import FramePair, VideoPair

MIN_FRAMES = 16
_TOO_SHORT = f"fewer than {MIN_FRAMES} frames"


class ChangeHistory:
    """Changes between successive frames (feature of a `VideoPair`).

    Attributes:
        values: Gray levels from the previous frame to each frame; NaN for the first frame of a shot.
    """

    def __init__(self, video: VideoPair) -> None:
        self.values: list[float | None] = []
        self._last: np.ndarray | None = None

    def add(self, frame: FramePair) -> float:
        """Add the next frame and return its change."""
        cells = frame.feature(frame_cells)
        has_previous = self._last is not None and not frame.is_cut
        change = luma_change(self._last, cells) if self._last is not None and has_previous else float("nan")
        self.values.append(change)
        self._last = cells
        return change


def frame_change(frame: FramePair) -> float:
    """Return the change from the previous frame in gray levels (feature of a `FramePair`)."""
    return frame.video.feature(ChangeHistory).add(frame)


def clip_borders(video: VideoPair) -> ClipBorders | None:
    """Return the regular jumps of the whole video, or None (feature of a `VideoPair`)."""
    if video.frame_count < MIN_FRAMES:
        return None
    changes = np.array(video.feature(ChangeHistory).values, np.float64)
    return find_clip_borders(changes, video.options.clip_frames)


class BorderJump(Metric):
    """Median excess of regular jumps over the changes around them."""

    info = MetricInfo(
        "border_jump",
        TEMPORAL,
        "clip-border jump",
        "lower",
        2,
        "excess of regular jumps over the changes around them; 0 if there are none",
        "gray levels",
        method=Method("pixels (luma)", WHOLE_FRAME, "32x32 cells"),
    )

    def update(self, frame: FramePair) -> None:
        """Record the frame's change."""
        frame.feature(frame_change)

    def result(self) -> float | None:
        """Return the excess in gray levels."""
        if self.video.frame_count < MIN_FRAMES:
            return self.unavailable(_TOO_SHORT)
        borders = self.video.feature(clip_borders)
        if borders is None:
            return 0.0
        self.notes.append(
            f"jumps every {borders.period} frames, the first at frame {borders.first}: clip borders are visible"
        )
        return borders.excess

    def series(self) -> Mapping[str, Series]:
        """Return the changes between frames."""
        return {"change": self.video.feature(ChangeHistory).values}


class BorderPeriod(Metric):
    """Frames between two regular jumps."""

    info = MetricInfo(
        "border_period",
        TEMPORAL,
        "frames between jumps",
        "",
        0,
        "the visible clip length",
        method=Method("pixels (luma)", WHOLE_FRAME, "32x32 cells"),
    )

    def update(self, frame: FramePair) -> None:
        """Record the frame's change."""
        frame.feature(frame_change)

    def result(self) -> float | None:
        """Return the period."""
        if self.video.frame_count < MIN_FRAMES:
            return self.unavailable(_TOO_SHORT)
        borders = self.video.feature(clip_borders)
        return self.unavailable("no regular jumps") if borders is None else float(borders.period)
