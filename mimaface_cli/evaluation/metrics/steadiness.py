"""Jitter of the face, absolute and relative to the driver."""

import numpy as np

from mimaface_cli.evaluation.functional.track_curves import mean_jitter
from mimaface_cli.evaluation.metric import FACE478_METHOD, TEMPORAL, Metric, MetricInfo
from mimaface_cli.evaluation.video_pair import VideoPair
from mimaface_cli.face import face478
from mimaface_cli.motion.track import MotionTrack

RATE_TOLERANCE = 0.005  # relative difference below which two frame rates count as equal
_TOO_FEW = "fewer than three frames with a face in a row"


def result_jitter(video: VideoPair) -> float | None:
    """Return the mean jitter of the result, or None (feature of a `VideoPair`)."""
    return None if video.track is None else mean_jitter(video.track, face478.load())


def _frame_interval(track: MotionTrack) -> float:
    """Return the median seconds between frames, NaN for a single frame."""
    return float(np.median(np.diff(track.pts))) if len(track) > 1 else float("nan")


class Jitter(Metric):
    """Second difference of the face's landmarks."""

    info = MetricInfo(
        "jitter",
        TEMPORAL,
        "jitter",
        "lower",
        3,
        "second difference of the landmarks relative to the face's size",
        "%",
        method=FACE478_METHOD,
    )

    def result(self) -> float | None:
        """Return the jitter in percent of the face's size."""
        if self.video.track is None:
            return self.unavailable("no face in the result")
        jitter = self.video.feature(result_jitter)
        return self.unavailable(_TOO_FEW) if jitter is None else 100 * jitter


class JitterRatio(Metric):
    """Jitter of the result divided by that of the driver."""

    info = MetricInfo(
        "jitter_ratio",
        TEMPORAL,
        "jitter against the driver",
        "",
        2,
        "1 means that the result is as steady as the driver",
        method=FACE478_METHOD,
    )

    def result(self) -> float | None:
        """Return the ratio if both have the same frame rate."""
        track, driver_track = self.video.track, self.video.driver_track
        if track is None:
            return self.unavailable("no face in the result")
        jitter = self.video.feature(result_jitter)
        driver_jitter = mean_jitter(driver_track, face478.load())
        if jitter is None or driver_jitter is None:
            return self.unavailable(_TOO_FEW)
        if abs(_frame_interval(track) / _frame_interval(driver_track) - 1) > RATE_TOLERANCE:
            return self.unavailable("result and driver have different frame rates")
        if driver_jitter <= 0:
            return self.unavailable("the driver does not move")
        return jitter / driver_jitter
