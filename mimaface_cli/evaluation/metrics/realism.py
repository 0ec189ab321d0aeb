"""FID and FVD: distance between the distributions of all results and of their drivers."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from mimaface_cli.evaluation.functional.distribution import Gaussian, frechet_distance
from mimaface_cli.evaluation.metric import REALISM, WHOLE_FRAME, FeatureCollector, Method, MetricInfo, SetMetric
from mimaface_cli.evaluation.networks import pretrained
from mimaface_cli.evaluation.pair_frames import resize_frame
from mimaface_cli.evaluation.video_pair import FramePair, VideoPair

CLIP_FRAMES = 16  # frames of a clip for FVD, the usual number
MAX_FRAMES = 2000  # frames of one result for FID, so that memory stays bounded
_BATCH = 256  # features added to a Gaussian at once


class InceptionCollector(FeatureCollector):
    """Inception features of frames, of result and driver."""

    def __init__(self, video: VideoPair) -> None:
        super().__init__(video)
        self._network = pretrained.load_network("fid")
        self._results: list[np.ndarray] = []
        self._drivers: list[np.ndarray] = []
        self.features = {"pictures": self._results, "real_pictures": self._drivers}

    def update(self, frame: FramePair) -> None:
        """Add the features of every `network_step`-th frame."""
        if frame.driver_image is None or not frame.is_network_frame or len(self._results) >= MAX_FRAMES:
            return
        from mimaface_cli.evaluation.networks.inception import inception_features

        self._results.append(inception_features(self._network, frame.image[None])[0])
        self._drivers.append(inception_features(self._network, frame.driver_image[None])[0])


class I3dCollector(FeatureCollector):
    """I3D features of successive clips, of result and driver."""

    def __init__(self, video: VideoPair) -> None:
        super().__init__(video)
        self._network = pretrained.load_network("fvd")
        self._result_clip: list[np.ndarray] = []
        self._driver_clip: list[np.ndarray] = []
        self.features = {"clips": [], "real_clips": []}

    def update(self, frame: FramePair) -> None:
        """Add a frame to the current clip, and the clip's features when it is full."""
        if frame.driver_image is None:
            return
        from mimaface_cli.evaluation.networks.i3d import INPUT_SIZE, i3d_features

        self._result_clip.append(resize_frame(frame.image, INPUT_SIZE, INPUT_SIZE))
        self._driver_clip.append(resize_frame(frame.driver_image, INPUT_SIZE, INPUT_SIZE))
        if len(self._result_clip) == CLIP_FRAMES:
            self.features["clips"].append(i3d_features(self._network, np.stack(self._result_clip)))
            self.features["real_clips"].append(i3d_features(self._network, np.stack(self._driver_clip)))
            self._result_clip, self._driver_clip = [], []


class FrechetMetric(SetMetric):
    """Fréchet distance between the features of the results and those of the drivers.

    Attributes:
        sample: Name of the samples, one feature each, in the plural.
        min_samples: Number of samples below which the estimate is known to be biased upward.
    """

    sample: ClassVar[str]
    min_samples: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self._results: list[np.ndarray] = []
        self._drivers: list[np.ndarray] = []

    @property
    def count(self) -> int:
        """Features of the results."""
        return len(self._results)

    def update(self, features: Mapping[str, list[np.ndarray]]) -> None:
        """Add the features of one result."""
        result_name, driver_name = self.feature_names
        self._results.extend(features[result_name])
        self._drivers.extend(features[driver_name])

    def result(self) -> float | None:
        """Return the distance, or None with fewer than two features."""
        if self.count < 2:
            return self.unavailable(f"fewer than two {self.sample}")
        if self.count < self.min_samples:
            basis = f"{self.info.label} is computed from {self.count} {self.sample}"
            self.notes.append(f"{basis}; below {self.min_samples} the estimate is biased upward")
        return frechet_distance(_fit_gaussian(self._results), _fit_gaussian(self._drivers))


def _fit_gaussian(features: Sequence[np.ndarray]) -> Gaussian:
    gaussian = Gaussian(len(features[0]))
    for start in range(0, len(features), _BATCH):
        gaussian.add(np.stack(features[start : start + _BATCH]))
    return gaussian


class Fid(FrechetMetric):
    """Fréchet Inception distance."""

    info = MetricInfo(
        "fid",
        REALISM,
        "FID",
        "lower",
        2,
        "Fréchet distance of Inception features, results against drivers",
        network="fid",
        method=Method("Inception v3 (TF FID weights)", WHOLE_FRAME, "299x299"),
    )
    collector = InceptionCollector
    feature_names = ("pictures", "real_pictures")  # keys of cached features
    sample = "frames"
    min_samples = 2048


class Fvd(FrechetMetric):
    """Fréchet video distance."""

    info = MetricInfo(
        "fvd",
        REALISM,
        "FVD",
        "lower",
        1,
        f"Fréchet distance of I3D features, clips of {CLIP_FRAMES} frames",
        network="fvd",
        method=Method("I3D (Kinetics-400), clips of 16", WHOLE_FRAME, "224x224"),
    )
    collector = I3dCollector
    feature_names = ("clips", "real_clips")
    sample = f"clips of {CLIP_FRAMES} frames"
    min_samples = 400
