"""Motion over time: how a result follows the driver's velocity, its closed lips and its blinks."""

import numpy as np

from mimaface_cli.evaluation.functional.face_events import (
    EventMatch,
    closed_lips,
    find_blinks,
    match_events,
)
from mimaface_cli.evaluation.functional.motion_distance import velocity_correlation
from mimaface_cli.evaluation.functional.track_curves import mouth_opening, mouth_width
from mimaface_cli.evaluation.metric import FACE478_METHOD, MOTION, Metric, MetricInfo
from mimaface_cli.evaluation.metrics.motion_transfer import motion_distances
from mimaface_cli.evaluation.video_pair import VideoPair
from mimaface_cli.face import face478
from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.motion.resample import resample_track
from mimaface_cli.motion.track import MotionTrack

_NO_FACE = "no face in the result"
_NO_COMMON_FRAME = "no frame shows the face in result and driver"
_TOO_STILL = "too few frames in a row, or no movement"


def common_tracks(video: VideoPair) -> tuple[MotionTrack, MotionTrack, np.ndarray] | None:
    """Return the result's track, the driver's at the same times, and the frames (N, bool) that both have.

    It is a feature of a `VideoPair`; None without a face in the result.
    """
    track, distances = video.track, video.feature(motion_distances)
    if track is None or distances is None:
        return None
    return track, resample_track(video.driver_track, track.pts - track.pts[0]), distances.is_valid


def blink_match(video: VideoPair) -> EventMatch | None:
    """Return how the blinks of both agree (feature of a `VideoPair`); None without a common frame."""
    tracks = video.feature(common_tracks)
    if tracks is None or not tracks[2].any():
        return None
    track, driver, is_common = tracks
    columns = [blendshape_index("eyeBlinkLeft"), blendshape_index("eyeBlinkRight")]
    blinks = (find_blinks(each.expression[:, columns].mean(1), each.pts, is_common) for each in (track, driver))
    start = float(track.pts[0])
    result, wanted = ([(first - start, last - start) for first, last in events] for events in blinks)
    shift = float(driver.pts[0]) - start  # both count from their first frame
    return match_events(result, [(first - shift, last - shift) for first, last in wanted])


class FollowingMetric(Metric):
    """Correlation of the velocities of result and driver. A subclass implements `values`."""

    def values(self, track: MotionTrack) -> np.ndarray:
        """Return the values (N, D) whose velocities are compared."""
        raise NotImplementedError

    def result(self) -> float | None:
        """Return the correlation, -1 to 1."""
        tracks = self.video.feature(common_tracks)
        if tracks is None:
            return self.unavailable(_NO_FACE)
        track, driver, is_common = tracks
        starts = sum(
            np.searchsorted(np.asarray(each.meta.cuts, int), np.arange(len(each)), side="right")
            for each in (track, driver)
        )
        value = velocity_correlation(self.values(track), self.values(driver), track.pts, is_common, np.asarray(starts))
        return self.unavailable(_TOO_STILL) if value is None else value


class PoseFollowing(FollowingMetric):
    """Correlation of the angular velocities of the heads."""

    info = MetricInfo(
        "pose_following",
        MOTION,
        "pose following",
        "higher",
        3,
        "correlation of the heads' angular velocities",
        method=FACE478_METHOD,
    )

    def values(self, track: MotionTrack) -> np.ndarray:
        """Return the angles of the head (N, 3)."""
        return np.unwrap(track.pose[:, :3].astype(np.float64), axis=0)


class ExpressionFollowing(FollowingMetric):
    """Correlation of the velocities of the expression coefficients."""

    info = MetricInfo(
        "expression_following",
        MOTION,
        "expression following",
        "higher",
        3,
        "correlation of the expressions' velocities",
        method=FACE478_METHOD,
    )

    def values(self, track: MotionTrack) -> np.ndarray:
        """Return the expression coefficients (N, 64)."""
        return track.expression


class LipClosure(Metric):
    """Share of the frames in which the lips of both are closed, or of both open."""

    info = MetricInfo(
        "lip_closure",
        MOTION,
        "lip-closure agreement",
        "higher",
        1,
        "share of frames in which both have closed or both have open lips",
        "%",
        method=FACE478_METHOD,
    )

    def result(self) -> float | None:
        """Return the share in percent."""
        tracks = self.video.feature(common_tracks)
        if tracks is None:
            return self.unavailable(_NO_FACE)
        *both, is_common = tracks
        if not is_common.any():
            return self.unavailable(_NO_COMMON_FRAME)
        model = face478.load()
        result, driver = (closed_lips(mouth_opening(each, model), mouth_width(each, model)) for each in both)
        return 100.0 * float((result == driver)[is_common].mean())


class BlinkMetric(Metric):
    """Base class of the two figures of blinks."""

    def share(self, match: EventMatch) -> float | None:
        """Return the share, 0 to 1, or None with `reason` set."""
        raise NotImplementedError

    def result(self) -> float | None:
        """Return the share in percent."""
        if self.video.track is None:
            return self.unavailable(_NO_FACE)
        match = self.video.feature(blink_match)
        if match is None:
            return self.unavailable(_NO_COMMON_FRAME)
        share = self.share(match)
        return None if share is None else 100.0 * share


class BlinkPrecision(BlinkMetric):
    """Share of the result's blinks that the driver has."""

    info = MetricInfo(
        "blink_precision",
        MOTION,
        "blink precision",
        "higher",
        1,
        "share of the result's blinks that the driver has",
        "%",
        method=FACE478_METHOD,
    )

    def share(self, match: EventMatch) -> float | None:
        """Return the precision."""
        return self.unavailable("the result does not blink") if match.precision is None else match.precision


class BlinkRecall(BlinkMetric):
    """Share of the driver's blinks that the result has."""

    info = MetricInfo(
        "blink_recall",
        MOTION,
        "blink recall",
        "higher",
        1,
        "share of the driver's blinks that the result has",
        "%",
        method=FACE478_METHOD,
    )

    def share(self, match: EventMatch) -> float | None:
        """Return the recall."""
        return self.unavailable("the driver does not blink") if match.recall is None else match.recall
