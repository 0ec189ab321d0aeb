"""Share of the frames in which the face is detected."""

from mimaface_cli.evaluation.metric import TEMPORAL, WHOLE_FRAME, Method, Metric, MetricInfo


class FaceShare(Metric):
    """Share of the result's frames that show the face."""

    info = MetricInfo(
        "face_share",
        TEMPORAL,
        "frames with a face",
        "higher",
        1,
        "share of frames in which a face is detected",
        "%",
        method=Method("MediaPipe", WHOLE_FRAME, "landmarker input"),
    )

    def result(self) -> float | None:
        """Return the share in percent."""
        return 100.0 * self.video.face_count / self.video.frame_count
