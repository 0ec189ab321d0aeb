"""A result paired with its driver, frame by frame and as a whole.

Both have features that several metrics share.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from mimaface_cli.cache import Cache
from mimaface_cli.drivers.media_driver import load_driver
from mimaface_cli.errors import InputError
from mimaface_cli.evaluation.evaluate_options import EvaluateOptions
from mimaface_cli.evaluation.pair_frames import DriverFrames, SourceFace
from mimaface_cli.evaluation.pair_lists import Pair
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.landmarks import Face
from mimaface_cli.media.video import MediaInfo
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.progress import ProgressCallback, ignore_progress

T = TypeVar("T")
_TIME_TOLERANCE = 1e-6  # seconds


class FeatureCache:
    """Base class of objects with features.

    A feature is computed when the first metric uses it, and then kept.
    """

    def __init__(self) -> None:
        self._features: dict[Callable[..., Any], Any] = {}

    def feature(self, compute: Callable[[Self], T]) -> T:
        """Return `compute(self)`; later calls with the same function return the same object.

        Args:
            compute: A module-level function or class of one argument; it identifies the feature.
        """
        if compute not in self._features:
            self._features[compute] = compute(self)
        return self._features[compute]


@dataclass(frozen=True)
class PairContext:
    """How a result is measured: source and driver, options, cache and progress callback."""

    pair: Pair
    options: EvaluateOptions = EvaluateOptions()
    cache: Cache | None = None
    progress: ProgressCallback = ignore_progress


class VideoPair(FeatureCache):
    """A whole result and its driver.

    Args:
        result: Video, image or folder of images.
        info: Description of the result.
        context: Pair, options, cache and progress callback.
        driver_track: The driver's unsmoothed motion over the pair's span, in the face478 space.
        source_face: The source's image and face.

    Attributes:
        driver_frames: The driver's frames by time.
        times: Seconds of the result's frames from its first one; grows while the result is read.
        face_count: Frames of the result that show the face.
        visible_faces: The largest number of faces that the result shows at once.
        track: The result's unsmoothed motion. None until the result is read, and if no frame shows the face.
    """

    def __init__(
        self, result: Path, info: MediaInfo, context: PairContext, driver_track: MotionTrack, source_face: SourceFace
    ) -> None:
        super().__init__()
        self.result = result
        self.info = info
        self.pair = context.pair
        self.options = context.options
        self.context = context
        self.driver_track = driver_track
        self.source_face = source_face
        self.driver_frames = DriverFrames(context.pair)
        self.times: list[float] = []
        self.face_count = 0
        self.visible_faces = 0
        self.track: MotionTrack | None = None

    @property
    def frame_count(self) -> int:
        """Frames of the result that have been read."""
        return len(self.times)

    @property
    def is_complete(self) -> bool:
        """Whether the result was read to its end, as far as its header states the frame count."""
        return self.info.frame_count is None or self.frame_count >= 0.98 * self.info.frame_count

    @property
    def compared_frames(self) -> np.ndarray:
        """Mask (N, bool) of the result's frames within the driver's duration."""
        return within_driver(np.array(self.times), self.driver_track)

    def add_frame(self, image: np.ndarray, time: float, face: Face | None, is_cut: bool) -> "FramePair":
        """Add the next frame of the result and pair it with the driver's frame at the same time."""
        is_compared = bool(within_driver(np.array([time]), self.driver_track)[0])
        driver_image = self.driver_frames.frame_at(time)
        frame = FramePair(self, self.frame_count, time, image, driver_image if is_compared else None, face, is_cut)
        self.times.append(time)
        self.face_count += face is not None
        return frame


class FramePair(FeatureCache):
    """One frame of the result and the driver's frame at the same time.

    Args:
        video: The video that the frame belongs to.
        index: Number of the frame from 0.
        time: Seconds from the result's first frame.
        image: H×W×3 uint8 RGB.
        driver_image: H×W×3 uint8 RGB, or None if the driver has no frame at this time.
        face: The selected face, or None.
        is_cut: Whether a new shot starts with this frame.
    """

    def __init__(
        self,
        video: VideoPair,
        index: int,
        time: float,
        image: np.ndarray,
        driver_image: np.ndarray | None,
        face: Face | None,
        is_cut: bool,
    ) -> None:
        super().__init__()
        self.video = video
        self.index = index
        self.time = time
        self.image = image
        self.driver_image = driver_image
        self.face = face
        self.is_cut = is_cut

    @property
    def is_network_frame(self) -> bool:
        """Whether network-based metrics run on this frame."""
        return self.index % self.video.options.network_step == 0


def within_driver(times: np.ndarray, driver_track: MotionTrack) -> np.ndarray:
    """Return the mask (N, bool) of times within the driver's duration.

    `times` are (N) seconds. A driver of a single image has no end.
    """
    if len(driver_track) == 1:
        return np.ones(len(times), bool)
    return times < driver_track.duration - _TIME_TOLERANCE


def load_driver_track(context: PairContext, stage: str = "extracting motion", space: str = "face478") -> MotionTrack:
    """Return the driver's unsmoothed motion over the pair's span.

    Args:
        context: Pair, options, cache and progress callback.
        stage: Name of the stage for the progress callback.
        space: Coefficient space of the track.

    Raises:
        InputError: The driver cannot be read or has no frames in the span.
        WeightsError: The networks of the space are not installed.
    """
    pair = context.pair
    options = ExtractOptions(context.options.driver_face, 0.0, skin=False)  # the same extraction as for the result
    track = load_driver(
        pair.driver, options, context.cache, lambda done, total: context.progress(stage, done, total), space=space
    ).track
    track.require_space(space, f"{space} estimator", str(pair.driver))
    try:
        return track.select_frames(pair.span())
    except InputError as error:
        raise InputError(f"{pair.prefix}{pair.driver}: {error}") from error
