"""Flicker of the whole frame and of the face."""

from collections.abc import Mapping

import numpy as np

from mimaface_cli.evaluation.functional.temporal import LUMA, flicker, luma_cells, sample_luma
from mimaface_cli.evaluation.metric import ALIGNED_FACE, TEMPORAL, WHOLE_FRAME, Method, Metric, MetricInfo, Series
from mimaface_cli.evaluation.networks.face_embedding import alignment_points
from mimaface_cli.evaluation.video_pair import FramePair, VideoPair
from mimaface_cli.face.alignment import FACE_TEMPLATE_256, fit_similarity

_FACE_SIDE = 64  # pixels of the aligned face


def frame_luma(frame: FramePair) -> np.ndarray:
    """Return the sampled luma of the result's frame (feature of a `FramePair`)."""
    return sample_luma(frame.image)


def frame_cells(frame: FramePair) -> np.ndarray:
    """Return the luma cells of the result's frame (feature of a `FramePair`)."""
    return luma_cells(frame.feature(frame_luma))


def crop_face(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the aligned face of an H×W×3 uint8 image as a small square.

    `points` are landmarks (478, 2).
    """
    import cv2

    matrix = fit_similarity(alignment_points(points), FACE_TEMPLATE_256) * (_FACE_SIDE / 256)
    step = max(1, int(0.5 / max(float(np.hypot(*matrix[:, 0])), 1e-6)))  # every step-th pixel of a large face is enough
    matrix = np.column_stack([matrix[:, :2] * step, matrix[:, 2]])
    small = np.ascontiguousarray(image[::step, ::step])
    return cv2.warpAffine(
        small, matrix, (_FACE_SIDE, _FACE_SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


class FlickerMetric(Metric):
    """Mean flicker over runs of three frames. A subclass implements `cells`.

    The flicker of a frame needs the next frame, so values are one frame late and the last frame has none.
    """

    def __init__(self, video: VideoPair) -> None:
        super().__init__(video)
        self.values: list[float | None] = []
        self._before: np.ndarray | None = None
        self._last: np.ndarray | None = None

    def cells(self, frame: FramePair) -> np.ndarray | None:
        """Return the luma cells that are compared, or None if the frame has none."""
        raise NotImplementedError

    def update(self, frame: FramePair) -> None:
        """Append the flicker of the previous frame; a cut starts a new run."""
        cells = self.cells(frame)
        if frame.is_cut:
            self._before = self._last = None
        if frame.index:
            self.values.append(self._flicker(cells))
        self._before, self._last = self._last, cells

    def _flicker(self, cells: np.ndarray | None) -> float | None:
        if self._before is None or self._last is None or cells is None:
            return None
        return flicker(self._before, self._last, cells)

    def result(self) -> float | None:
        """Return the mean in gray levels."""
        values = [value for value in self.values if value is not None]
        return float(np.mean(values)) if values else self.unavailable("fewer than three frames in a row")

    def series(self) -> Mapping[str, Series]:
        """Return the flicker of all frames."""
        return {self.info.name: [*self.values, None]}


class FrameFlicker(FlickerMetric):
    """Flicker of the whole frame."""

    info = MetricInfo(
        "flicker",
        TEMPORAL,
        "frame flicker",
        "lower",
        2,
        "amplitude of the brightness change from frame to frame",
        "gray levels",
        method=Method("pixels (luma)", WHOLE_FRAME, "32x32 cells"),
    )

    def cells(self, frame: FramePair) -> np.ndarray | None:
        """Return the luma cells of the frame."""
        return frame.feature(frame_cells)


class FaceFlicker(FlickerMetric):
    """Flicker of the aligned face."""

    info = MetricInfo(
        "flicker_face",
        TEMPORAL,
        "face flicker",
        "lower",
        2,
        "amplitude of the brightness change of the aligned face",
        "gray levels",
        method=Method("pixels (luma)", ALIGNED_FACE, "64x64"),
    )

    def cells(self, frame: FramePair) -> np.ndarray | None:
        """Return the luma cells of the face, or None without a face."""
        return None if frame.face is None else luma_cells(crop_face(frame.image, frame.face.points) @ LUMA)
