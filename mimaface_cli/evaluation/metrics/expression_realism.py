"""E-FID: distance between the distributions of expressions of all results and of their drivers."""

import numpy as np

from mimaface_cli.drivers.track_driver import is_track
from mimaface_cli.evaluation.metric import BFM09_METHOD, FACE478_METHOD, REALISM, FeatureCollector, MetricInfo
from mimaface_cli.evaluation.metrics.motion_transfer import motion_distances, paper_tracks
from mimaface_cli.evaluation.metrics.realism import FrechetMetric
from mimaface_cli.evaluation.video_pair import FramePair
from mimaface_cli.motion.resample import resample_track
from mimaface_cli.motion.track import MotionTrack

MAX_FRAMES = 2000  # frames of one result, evenly spread, so that memory stays bounded


class ExpressionCollector(FeatureCollector):
    """Expression coefficients of result and driver in the face478 space, in frames that show both faces."""

    names = ("expressions", "real_expressions")

    def update(self, frame: FramePair) -> None:
        """Do nothing: the coefficients are known after the last frame."""

    def tracks(self) -> tuple[MotionTrack, MotionTrack] | None:
        """Return the tracks of result and driver, or None without a face."""
        video = self.video
        return None if video.track is None or video.feature(motion_distances) is None else (
            video.track, video.driver_track
        )  # fmt: skip

    def finish(self) -> None:
        """Add the coefficients."""
        self.features = {name: [] for name in self.names}
        tracks = self.tracks()
        if tracks is None:
            return
        track, driver = tracks[0], resample_track(tracks[1], tracks[0].pts - tracks[0].pts[0])
        compared = self.video.compared_frames
        usable = track.valid & driver.valid
        usable &= compared if len(compared) == len(usable) else True
        frames = np.flatnonzero(usable)
        if len(frames) > MAX_FRAMES:
            frames = frames[np.linspace(0, len(frames) - 1, MAX_FRAMES).astype(int)]
        for name, each in zip(self.names, (track, driver), strict=True):
            self.features[name] = list(each.expression[frames].astype(np.float64))


class PaperExpressionCollector(ExpressionCollector):
    """The same in the bfm09 space of D3DFR."""

    names = ("expressions_bfm09", "real_expressions_bfm09")

    def tracks(self) -> tuple[MotionTrack, MotionTrack] | None:
        """Return the tracks in the bfm09 space; a driver that is a track of another space has none."""
        return None if is_track(self.video.pair.driver) else self.video.feature(paper_tracks)


class ExpressionFid(FrechetMetric):
    """E-FID by the embedded estimator."""

    info = MetricInfo(
        "e_fid_face478",
        REALISM,
        "E-FID (face478)",
        "lower",
        3,
        "Fréchet distance of the 64 expression coefficients, results against drivers",
        method=FACE478_METHOD,
    )
    collector = ExpressionCollector
    feature_names = ExpressionCollector.names
    sample = "frames"
    min_samples = 1000


class PaperExpressionFid(FrechetMetric):
    """E-FID by D3DFR, the family of estimators that papers use."""

    info = MetricInfo(
        "e_fid",
        REALISM,
        "E-FID (bfm09)",
        "lower",
        3,
        "Fréchet distance of the 64 expression coefficients of D3DFR, results against drivers",
        network="bfm09",
        method=BFM09_METHOD,
    )
    collector = PaperExpressionCollector
    feature_names = PaperExpressionCollector.names
    sample = "frames"
    min_samples = 1000
