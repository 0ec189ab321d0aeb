"""Distances of landmarks between a result and the driver's frames as ground truth: AKD and LMD."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mimaface_cli.evaluation.functional.landmark_distance import (
    KEYPOINT_SIDE,
    keypoint_errors,
    landmark_pairs,
    lip_distances,
)
from mimaface_cli.evaluation.metric import FRAMES, Method, Metric, MetricInfo, Series
from mimaface_cli.evaluation.metrics.motion_transfer import motion_distances
from mimaface_cli.evaluation.metrics.reference import ReferenceFrames
from mimaface_cli.evaluation.video_pair import VideoPair
from mimaface_cli.face import face478
from mimaface_cli.motion.resample import resample_track

_METHOD = Method("MediaPipe + face478 (478 points)", "whole frame", f"longest side {KEYPOINT_SIDE} px")


@dataclass(frozen=True)
class KeypointDistances:
    """Distances of landmarks, one per frame (N) of the result, in pixels.

    Attributes:
        keypoints: Mean absolute difference of the coordinates of all landmarks.
        lips: Mean distance of the lips after their centers are aligned.
    """

    keypoints: np.ndarray
    lips: np.ndarray


def keypoint_distances(video: VideoPair) -> KeypointDistances | None:
    """Return the distances of the landmarks (feature of a `VideoPair`), or None without a face in the result."""
    track = video.track
    if track is None:
        return None
    driver = resample_track(video.driver_track, track.pts - track.pts[0])
    errors, distances = [], []
    for points, reference in landmark_pairs(track, driver, face478.load()):
        errors.append(keypoint_errors(points, reference))
        distances.append(lip_distances(points, reference))
    return KeypointDistances(np.concatenate(errors), np.concatenate(distances))


class KeypointMetric(Metric):
    """Mean of a field of `KeypointDistances`."""

    field: ClassVar[str]

    @classmethod
    def find_problem(cls, video: VideoPair) -> str | None:
        """Return why there is no ground truth, or None."""
        if not video.pair.same:
            return "the driver shows another person: there is no ground truth"
        return super().find_problem(video)

    def _values(self) -> np.ndarray | None:
        keypoints, distances = self.video.feature(keypoint_distances), self.video.feature(motion_distances)
        if keypoints is None or distances is None:
            self.unavailable("no face in the result")
        elif problem := self.video.feature(ReferenceFrames).aspect_problem:
            self.unavailable(problem)
        elif not distances.is_valid.any():
            self.unavailable("no frame shows the face in result and driver")
        else:
            return np.where(distances.is_valid, getattr(keypoints, self.field), np.nan)
        return None

    def result(self) -> float | None:
        """Return the mean over all frames in which result and driver show the face."""
        values = self._values()
        return None if values is None else float(np.nanmean(values))

    def series(self) -> Mapping[str, Series]:
        """Return the distance of every frame, NaN for frames without a face."""
        values = self._values()
        return {} if values is None else {self.info.name: values}


class Akd(KeypointMetric):
    """Average keypoint distance."""

    info = MetricInfo(
        "akd",
        FRAMES,
        "AKD",
        "lower",
        3,
        "mean absolute difference of the landmarks' coordinates",
        "px",
        method=_METHOD,
    )
    field = "keypoints"


class LipDistance(KeypointMetric):
    """Lip-landmark distance."""

    info = MetricInfo(
        "lmd",
        FRAMES,
        "LMD",
        "lower",
        3,
        "mean distance of the lip landmarks after their centers are aligned",
        "px",
        method=_METHOD,
    )
    field = "lips"
