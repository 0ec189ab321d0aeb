"""Motion transfer: distances between the coefficients of result and driver.

The paper measures in the bfm09 space of D3DFR. The embedded estimator's space, face478, has other units.

Source: paper, section 4, Metrics.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mimaface_cli.drivers.media_driver import load_driver
from mimaface_cli.drivers.track_driver import is_track
from mimaface_cli.evaluation.functional.motion_distance import (
    coefficient_distances,
    coefficient_errors,
    correlate_blendshapes,
    gaze_errors,
    head_angles,
    pose_distances,
    pose_errors,
)
from mimaface_cli.evaluation.metric import (
    BFM09_METHOD,
    FACE478_METHOD,
    MOTION,
    Metric,
    MetricInfo,
    Series,
)
from mimaface_cli.evaluation.networks import pretrained
from mimaface_cli.evaluation.video_pair import VideoPair, load_driver_track, within_driver
from mimaface_cli.face import blendshape_scores, face478
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.motion.resample import resample_track
from mimaface_cli.motion.track import MotionTrack

MIN_CORRELATED_FRAMES = 5
_NO_FACE = "no face in the result"
_NO_COMMON_FRAME = "no frame shows the face in result and driver"


@dataclass(frozen=True)
class MotionDistances:
    """Distances of a result's motion to its driver's, one per frame (N) of the result.

    Attributes:
        expression: Euclidean distance of the expression coefficients.
        pose: Euclidean distance of the pose coefficients.
        gaze: Euclidean distance of the gaze angles in rad.
        rotation: Angle between the heads in degrees.
        expression_error: Mean absolute difference of the expression coefficients.
        pose_error: Mean absolute difference of the pose coefficients.
        gaze_angle: Angle between the gaze directions in degrees, mean of both eyes; meaningless in bfm09.
        is_valid: Whether the frame is within the driver's duration and result and driver show the face.
    """

    expression: np.ndarray
    pose: np.ndarray
    gaze: np.ndarray
    rotation: np.ndarray
    expression_error: np.ndarray
    pose_error: np.ndarray
    gaze_angle: np.ndarray
    is_valid: np.ndarray


def measure_distances(track: MotionTrack, driver_track: MotionTrack, is_compared: np.ndarray) -> MotionDistances:
    """Return the distances of a track (N frames) to a driver's at the same times.

    Args:
        track: The result's motion.
        driver_track: The driver's motion.
        is_compared: (N, bool) frames within the driver's duration.
    """
    driver = resample_track(driver_track, track.pts - track.pts[0])
    return MotionDistances(
        coefficient_distances(track.expression, driver.expression),
        pose_distances(track.pose, driver.pose),
        coefficient_distances(track.gaze, driver.gaze),
        head_angles(track.pose, driver.pose),
        coefficient_errors(track.expression, driver.expression),
        pose_errors(track.pose, driver.pose),
        gaze_errors(track.gaze, driver.gaze),
        is_compared & track.valid & driver.valid,
    )


def motion_distances(video: VideoPair) -> MotionDistances | None:
    """Return the distances in the face478 space (feature of a `VideoPair`).

    None without a face in the result.
    """
    if video.track is None:
        return None
    return measure_distances(video.track, video.driver_track, video.compared_frames)


def paper_tracks(video: VideoPair) -> tuple[MotionTrack, MotionTrack] | None:
    """Return the tracks of result and driver in the bfm09 space (feature of a `VideoPair`).

    None without a face in the result. Result and driver are extracted a second time, by D3DFR.
    """
    if not video.face_count:
        return None
    stage = "measuring in bfm09"
    driver_track = load_driver_track(video.context, stage, "bfm09")
    options = ExtractOptions(video.options.face, 0.0)
    report = video.context.progress
    loaded = load_driver(
        video.result, options, video.context.cache, lambda done, total: report(stage, done, total), space="bfm09"
    )
    return loaded.track, driver_track


def paper_motion_distances(video: VideoPair) -> MotionDistances | None:
    """Return the distances in the bfm09 space (feature of a `VideoPair`); None without a face in the result."""
    tracks = video.feature(paper_tracks)
    if tracks is None:
        return None
    track, driver_track = tracks
    return measure_distances(track, driver_track, within_driver(track.pts - track.pts[0], driver_track))


def predict_blendshapes(track: MotionTrack, frames: np.ndarray) -> np.ndarray:
    """Return the blendshape scores (N, 52) of the selected frames of a track."""
    expression, identity = track.expression[frames].astype(np.float64), track.identity.astype(np.float64)
    return blendshape_scores.logits_to_scores(blendshape_scores.predict_logits(face478.load(), identity, expression))


class DistanceMetric(Metric):
    """Mean of a field of `MotionDistances` in the face478 space."""

    field: ClassVar[str]

    def _distances(self) -> MotionDistances | None:
        return self.video.feature(motion_distances)

    def result(self) -> float | None:
        """Return the mean over all frames in which result and driver show the face."""
        distances = self._distances()
        if distances is None:
            return self.unavailable(_NO_FACE)
        if not distances.is_valid.any():
            return self.unavailable(_NO_COMMON_FRAME)
        return float(getattr(distances, self.field)[distances.is_valid].mean())

    def series(self) -> Mapping[str, Series]:
        """Return the distance of every frame, NaN for frames without a face."""
        distances = self._distances()
        if distances is None or not distances.is_valid.any():
            return {}
        return {self.info.name: np.where(distances.is_valid, getattr(distances, self.field), np.nan)}


class ExpressionDistance(DistanceMetric):
    """Distance of the expression coefficients."""

    info = MetricInfo(
        "expression",
        MOTION,
        "expression (face478)",
        "lower",
        3,
        "mean distance of the 64 expression coefficients",
        method=FACE478_METHOD,
    )
    field = "expression"


class PoseDistance(DistanceMetric):
    """Distance of the pose coefficients."""

    info = MetricInfo(
        "pose",
        MOTION,
        "pose (face478)",
        "lower",
        4,
        "mean distance of the six pose coefficients",
        method=FACE478_METHOD,
    )
    field = "pose"


class GazeDistance(DistanceMetric):
    """Distance of the gaze angles."""

    info = MetricInfo(
        "gaze",
        MOTION,
        "gaze (face478)",
        "lower",
        4,
        "mean distance of the four gaze angles in rad",
        method=FACE478_METHOD,
    )
    field = "gaze"


class HeadRotation(DistanceMetric):
    """Angle between the heads."""

    info = MetricInfo(
        "rotation", MOTION, "head rotation", "lower", 2, "mean angle between both heads", "°", method=FACE478_METHOD
    )
    field = "rotation"


class GazeAngle(DistanceMetric):
    """Angle between the gaze directions."""

    info = MetricInfo(
        "gaze_angle",
        MOTION,
        "gaze angle",
        "lower",
        2,
        "mean angle between the gaze directions relative to the head",
        "°",
        method=FACE478_METHOD,
    )
    field = "gaze_angle"


class ExpressionError(DistanceMetric):
    """Mean absolute difference of the expression coefficients."""

    info = MetricInfo(
        "aed",
        MOTION,
        "AED (face478)",
        "lower",
        4,
        "mean absolute difference of the 64 expression coefficients",
        method=FACE478_METHOD,
    )
    field = "expression_error"


class PoseError(DistanceMetric):
    """Mean absolute difference of the pose coefficients."""

    info = MetricInfo(
        "apd",
        MOTION,
        "APD (face478)",
        "lower",
        4,
        "mean absolute difference of the six pose coefficients",
        method=FACE478_METHOD,
    )
    field = "pose_error"


class BlendshapeCorrelation(Metric):
    """Correlation over time of the blendshapes that change in the driver."""

    info = MetricInfo(
        "correlation",
        MOTION,
        "blendshape correlation",
        "higher",
        3,
        "correlation over time, mean over the blendshapes that change in the driver",
        method=FACE478_METHOD,
    )

    def result(self) -> float | None:
        """Return the mean correlation."""
        track, distances = self.video.track, self.video.feature(motion_distances)
        if track is None or distances is None:
            return self.unavailable(_NO_FACE)
        frames = distances.is_valid
        if not frames.any():
            return self.unavailable(_NO_COMMON_FRAME)
        if frames.sum() < MIN_CORRELATED_FRAMES:
            return self.unavailable("the driver's expression does not change")
        driver = resample_track(self.video.driver_track, track.pts - track.pts[0])
        groups = correlate_blendshapes(predict_blendshapes(driver, frames), predict_blendshapes(track, frames))
        return groups["all"][0] if "all" in groups else self.unavailable("the driver's expression does not change")


class PaperDistanceMetric(DistanceMetric):
    """Mean of a field of `MotionDistances` in the bfm09 space.

    It needs the networks of that space.
    """

    @classmethod
    def find_problem(cls, video: VideoPair) -> str | None:
        """Return why the distance cannot be measured: missing weights, or a driver without frames."""
        if problem := pretrained.missing_weights("bfm09"):
            return problem
        return "the driver is a track of another space" if is_track(video.pair.driver) else None

    def _distances(self) -> MotionDistances | None:
        return self.video.feature(paper_motion_distances)

    def series(self) -> Mapping[str, Series]:
        """Return no curves: reports plot those of the face478 space."""
        return {}


class PaperExpressionDistance(PaperDistanceMetric):
    """Distance of the expression coefficients of D3DFR."""

    info = MetricInfo(
        "expression_bfm09",
        MOTION,
        "Exp (bfm09)",
        "lower",
        3,
        "as in the paper, by D3DFR",
        network="bfm09",
        method=BFM09_METHOD,
    )
    field = "expression"


class PaperPoseDistance(PaperDistanceMetric):
    """Distance of the pose coefficients of D3DFR."""

    info = MetricInfo(
        "pose_bfm09",
        MOTION,
        "Pose (bfm09)",
        "lower",
        4,
        "as in the paper, by D3DFR",
        network="bfm09",
        method=BFM09_METHOD,
    )
    field = "pose"


class PaperGazeDistance(PaperDistanceMetric):
    """Distance of the gaze angles of D3DFR."""

    info = MetricInfo(
        "gaze_bfm09",
        MOTION,
        "Gaze (bfm09)",
        "lower",
        4,
        "as in the paper, by D3DFR",
        network="bfm09",
        method=BFM09_METHOD,
    )
    field = "gaze"


class PaperExpressionError(PaperDistanceMetric):
    """Mean absolute difference of the expression coefficients of D3DFR."""

    info = MetricInfo(
        "aed_bfm09",
        MOTION,
        "AED (bfm09)",
        "lower",
        4,
        "mean absolute difference of the 64 expression coefficients of D3DFR",
        network="bfm09",
        method=BFM09_METHOD,
    )
    field = "expression_error"


class PaperPoseError(PaperDistanceMetric):
    """Mean absolute difference of the pose coefficients of D3DFR."""

    info = MetricInfo(
        "apd_bfm09",
        MOTION,
        "APD (bfm09)",
        "lower",
        4,
        "mean absolute difference of the six pose coefficients of D3DFR",
        network="bfm09",
        method=BFM09_METHOD,
    )
    field = "pose_error"
