"""Stability of pixels over time: warping error and background stability."""

from collections.abc import Mapping

import numpy as np

from mimaface_cli.evaluation.functional.frame_stability import (
    FLOW_SIDE,
    CellDeviation,
    WarpingError,
    background_cells,
    small_luma,
)
from mimaface_cli.evaluation.metric import TEMPORAL, WHOLE_FRAME, FrameMeanMetric, Method, Metric, MetricInfo, Series
from mimaface_cli.evaluation.metrics.flicker import frame_cells, frame_luma
from mimaface_cli.evaluation.video_pair import FramePair, VideoPair


class WarpError(FrameMeanMetric):
    """Temporal difference after compensation by optical flow."""

    info = MetricInfo(
        "warp_error",
        TEMPORAL,
        "warping error",
        "lower",
        3,
        "mean squared difference of frames aligned by their optical flow, in thousandths",
        method=Method("DIS optical flow (OpenCV)", WHOLE_FRAME, f"longest side {FLOW_SIDE} px, luma"),
    )

    def __init__(self, video: VideoPair) -> None:
        super().__init__(video)
        self._measure = WarpingError()
        self._last: np.ndarray | None = None

    def frame_value(self, frame: FramePair) -> float | None:
        """Return the error against the previous frame; None at a cut."""
        last, self._last = self._last, small_luma(frame.feature(frame_luma))
        if last is None or frame.is_cut or last.shape != self._last.shape:
            return None
        value = self._measure(last, self._last)
        return None if value is None else 1000 * value

    def empty_reason(self) -> str:
        """Return why no frame has an error."""
        return "no two frames in a row could be aligned"


class BackgroundChange(Metric):
    """Change over time of the background beside head and shoulders."""

    info = MetricInfo(
        "background",
        TEMPORAL,
        "background change",
        "lower",
        2,
        "standard deviation over time of the background beside the head; camera motion counts",
        "gray levels",
        method=Method("pixels (luma)", "beside and above the head", "32x32 cells"),
    )

    def __init__(self, video: VideoPair) -> None:
        super().__init__(video)
        self._deviation = CellDeviation()

    def update(self, frame: FramePair) -> None:
        """Add a frame that shows the face."""
        if frame.is_cut:
            self._deviation.start_shot()
        if frame.face is not None:
            height, width = frame.image.shape[:2]
            mask = background_cells(frame.face.box, width, height)
            self._deviation.add(frame.feature(frame_cells), mask)

    def result(self) -> float | None:
        """Return the deviation in gray levels."""
        if not self.video.face_count:
            return self.unavailable("no face in the result")
        value = self._deviation.result()
        return self.unavailable("the background beside the head is too small") if value is None else value

    def series(self) -> Mapping[str, Series]:
        """Return no curves."""
        return {}
