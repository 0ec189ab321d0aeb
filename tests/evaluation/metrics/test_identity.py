"""Identity metrics with a stub of the embedding network."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mimaface_cli.evaluation.metrics import identity
from mimaface_cli.evaluation.metrics.identity import DlibDistance, IdentityDrift
from mimaface_cli.evaluation.pair_frames import SourceFace
from mimaface_cli.evaluation.pair_lists import Pair
from mimaface_cli.evaluation.video_pair import PairContext, VideoPair
from mimaface_cli.face.landmarks import Face
from mimaface_cli.media.video import MediaInfo
from mimaface_cli.motion.track import MotionTrack

FACE = Face(np.zeros((478, 2)), np.zeros(52), np.eye(3))
DURATION = 10.0


class MeanEmbedder:
    """Embedder that returns the mean of the image."""

    def __call__(self, image: np.ndarray, points: np.ndarray) -> np.ndarray:
        return np.array([float(image.mean())])


@pytest.fixture
def video(monkeypatch) -> VideoPair:
    """A result of 10 s whose source is black."""
    monkeypatch.setattr(identity, "missing_dlib", lambda: None)
    monkeypatch.setattr(identity, "DlibEmbedder", MeanEmbedder)
    info = MediaInfo(Path("a.mp4"), "video", 8, 8, Fraction(10), 100, DURATION, False, False, "h264", "yuv420p")
    source = SourceFace(np.zeros((8, 8, 3), np.uint8), FACE.points)
    track = MotionTrack.neutral(100, "face478", Fraction(10))
    return VideoPair(Path("a.mp4"), info, PairContext(Pair(Path("a.jpg"), Path("a.npz"))), track, source)


def feed(video: VideoPair, metrics: list, with_face: bool = True) -> None:
    """Add 100 frames that become brighter by one gray level each."""
    for k in range(100):
        image = np.full((8, 8, 3), k, np.uint8)
        frame = video.add_frame(image, k / 10, FACE if with_face else None, False)
        for metric in metrics:
            metric.update(frame)


def test_identity_is_sampled_about_eight_times_per_result(video):
    metric = DlibDistance(video)
    feed(video, [metric])
    samples = [k for k, value in enumerate(metric.values) if value is not None]
    assert samples == [0, 13, 26, 39, 52, 65, 78, 91]
    assert metric.result() == pytest.approx(np.mean(samples))
    assert metric.series()["identity_dlib"][13] == 13


def test_identity_drift_is_the_growth_of_the_distance(video):
    metric = IdentityDrift(video)
    feed(video, [metric])
    assert metric.result() == pytest.approx(np.median([78, 91]) - np.median([0, 13]))


def test_identity_metrics_explain_results_without_a_face(video):
    distance, drift = DlibDistance(video), IdentityDrift(video)
    feed(video, [distance, drift], with_face=False)
    assert distance.result() is None and distance.reason == "no face in the result"
    assert drift.result() is None and "too few faces" in drift.reason


def test_identity_drift_needs_an_identity_network(video, monkeypatch):
    assert IdentityDrift.find_problem(video) is None
    monkeypatch.setattr(identity, "missing_dlib", lambda: "needs dlib")
    assert IdentityDrift.find_problem(video) == "needs CSIM or identity (dlib)"
    assert DlibDistance.find_problem(video) == "needs dlib"
