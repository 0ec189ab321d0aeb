"""Identity preservation: similarity to the source, and its drift over time.

Embedding networks are slow, so only some frames are sampled: about eight per result, and one each eight seconds of a
long one.
"""

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from mimaface_cli.evaluation.functional.temporal import drift
from mimaface_cli.evaluation.metric import ALIGNED_FACE, IDENTITY, FrameMeanMetric, Method, Metric, MetricInfo
from mimaface_cli.evaluation.networks import pretrained
from mimaface_cli.evaluation.networks.face_embedding import (
    CurricularEmbedder,
    DlibEmbedder,
    cosine_similarity,
    missing_dlib,
)
from mimaface_cli.evaluation.video_pair import FramePair, VideoPair

SAMPLES = 8
MIN_INTERVAL, MAX_INTERVAL = 0.5, 8.0  # seconds between two samples


class IdentitySchedule:
    """Choice of the sampled frames (feature of a `VideoPair`).

    They show the face and are spread evenly over the duration.
    """

    def __init__(self, video: VideoPair) -> None:
        self._interval = min(max((video.info.duration or 0.0) / SAMPLES, MIN_INTERVAL), MAX_INTERVAL)
        self._next_time = 0.0

    def should_sample(self, frame: FramePair) -> bool:
        """Return whether a frame is sampled; called once per frame, in order."""
        if frame.face is None or frame.time < self._next_time:
            return False
        self._next_time = frame.time + self._interval
        return True


def is_identity_sample(frame: FramePair) -> bool:
    """Return whether identity is measured on a frame (feature of a `FramePair`)."""
    return frame.video.feature(IdentitySchedule).should_sample(frame)


class CurricularComparison:
    """Cosine similarity to the source by CurricularFace (feature of a `VideoPair`)."""

    def __init__(self, video: VideoPair) -> None:
        self._embed = CurricularEmbedder()
        self._source = self._embed(video.source_face.image, video.source_face.points)

    def compare(self, image: np.ndarray, points: np.ndarray) -> float:
        """Return the similarity, -1 to 1, of a face in an H×W×3 uint8 image.

        `points` are its landmarks (478, 2).
        """
        return cosine_similarity(self._embed(image, points), self._source)


class DlibComparison:
    """Euclidean distance to the source by dlib's network (feature of a `VideoPair`)."""

    def __init__(self, video: VideoPair) -> None:
        self._embed = DlibEmbedder()
        self._source = self._embed(video.source_face.image, video.source_face.points)

    def compare(self, image: np.ndarray, points: np.ndarray) -> float:
        """Return the distance of the face with landmarks (478, 2) in an H×W×3 uint8 image."""
        return float(np.linalg.norm(self._embed(image, points) - self._source))


def curricular_similarity(frame: FramePair) -> float | None:
    """Return the similarity to the source (feature of a `FramePair`).

    None for frames that are not sampled.
    """
    if frame.face is None or not frame.feature(is_identity_sample):
        return None
    return frame.video.feature(CurricularComparison).compare(frame.image, frame.face.points)


def dlib_distance(frame: FramePair) -> float | None:
    """Return the distance to the source (feature of a `FramePair`).

    None for frames that are not sampled.
    """
    if frame.face is None or not frame.feature(is_identity_sample):
        return None
    return frame.video.feature(DlibComparison).compare(frame.image, frame.face.points)


class IdentityMetric(FrameMeanMetric):
    """Mean of a comparison with the source over the sampled frames.

    Attributes:
        comparison: Feature of a `VideoPair` that loads the network and embeds the source.
        compare_frame: Feature of a `FramePair`, None for frames that are not sampled.
    """

    comparison: ClassVar[type[CurricularComparison | DlibComparison]]
    compare_frame: ClassVar[Callable[[FramePair], float | None]]

    def __init__(self, video: VideoPair) -> None:
        super().__init__(video)
        video.feature(self.comparison)  # loaded here, so that an unusable network fails before the video is read

    def frame_value(self, frame: FramePair) -> float | None:
        """Return the figure of one frame."""
        return frame.feature(type(self).compare_frame)

    def empty_reason(self) -> str:
        """Return why no frame was sampled."""
        return "no face in the result"


class Csim(IdentityMetric):
    """Cosine similarity to the source by CurricularFace."""

    info = MetricInfo(
        "csim",
        IDENTITY,
        "CSIM",
        "higher",
        4,
        "cosine similarity to the source by CurricularFace",
        network="csim",
        method=Method("CurricularFace (release)", ALIGNED_FACE, "112x112"),
    )
    comparison = CurricularComparison
    compare_frame = curricular_similarity


class DlibDistance(IdentityMetric):
    """Distance to the source by dlib's network."""

    info = MetricInfo(
        "identity_dlib",
        IDENTITY,
        "identity (dlib)",
        "lower",
        3,
        "distance to the source by dlib's network; below 0.6 counts as the same person; not comparable with papers, "
        "which use ArcFace",
        method=Method("dlib ResNet v1", ALIGNED_FACE, "150x150"),
    )
    comparison = DlibComparison
    compare_frame = dlib_distance

    @classmethod
    def find_problem(cls, video: VideoPair) -> str | None:
        """Return which packages are missing, or None."""
        return missing_dlib()


class IdentityDrift(Metric):
    """Change of the distance to the source over the result.

    CurricularFace is used if installed, else dlib.
    """

    info = MetricInfo(
        "identity_drift",
        IDENTITY,
        "identity drift",
        "zero",
        3,
        "growth of the distance to the source from first to last fifth (CurricularFace if installed, else dlib)",
        method=Method("CurricularFace (release), else dlib ResNet v1", ALIGNED_FACE, "112x112, or 150x150"),
    )

    def __init__(self, video: VideoPair) -> None:
        super().__init__(video)
        self._has_csim = pretrained.missing_weights("csim") is None
        self._feature: Callable[[FramePair], float | None] = curricular_similarity if self._has_csim else dlib_distance
        self._times: list[float] = []
        self._values: list[float] = []

    @classmethod
    def method(cls) -> Method:
        """Return the method of the network that is used."""
        return (Csim if pretrained.missing_weights("csim") is None else DlibDistance).info.method

    @classmethod
    def find_problem(cls, video: VideoPair) -> str | None:
        """Return which networks are missing, or None if one of them is installed."""
        if pretrained.missing_weights("csim") is None or missing_dlib() is None:
            return None
        return "needs CSIM or identity (dlib)"

    def update(self, frame: FramePair) -> None:
        """Append the similarity or distance of a sampled frame."""
        value = frame.feature(self._feature)
        if value is not None:
            self._times.append(frame.time)
            self._values.append(value)

    def result(self) -> float | None:
        """Return the growth of the distance; for similarities, the negative growth."""
        change = drift(np.array(self._values), np.array(self._times))
        if change is None:
            return self.unavailable(f"shorter than {5 * MIN_INTERVAL:g} s, or too few faces")
        return -change if self._has_csim else change
