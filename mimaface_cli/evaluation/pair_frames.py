"""Frames of a pair: source image and face, driver frames by time, result frames."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimaface_cli.drivers.track_driver import is_track
from mimaface_cli.errors import InputError
from mimaface_cli.evaluation.pair_lists import Pair
from mimaface_cli.face.detection import detect_faces
from mimaface_cli.face.landmarks import select_face
from mimaface_cli.media.image import flatten_alpha, read_image
from mimaface_cli.media.reader import Frame, probe, read_frames


@dataclass(frozen=True)
class SourceFace:
    """The source's image and the face in it.

    Attributes:
        image: H×W×3 uint8 RGB.
        points: (478, 2) landmarks in pixels.
    """

    image: np.ndarray
    points: np.ndarray


def read_source_face(pair: Pair, selector: str) -> SourceFace:
    """Read the source's image and detect the selected face.

    Raises InputError if there is none.
    """
    if is_track(pair.source) or pair.source.is_dir():
        raise InputError(f"{pair.prefix}{pair.source}: is not a photo or a video. Choose another source.")
    image = read_source_image(pair)
    face = select_face(detect_faces(image), selector)
    if face is None:
        raise InputError(
            f"{pair.prefix}{pair.source}: frame {pair.source_frame} shows no such face. Choose another source or face."
        )
    return SourceFace(image, face.points)


def read_source_image(pair: Pair) -> np.ndarray:
    """Read the source's photo or video frame as H×W×3 uint8 RGB. Raises InputError."""
    if probe(pair.source).kind == "image":
        return flatten_alpha(read_image(pair.source))
    last: Frame | None = None
    frames = read_frames(pair.source, max_frames=pair.source_frame + 1)
    try:
        for frame in frames:
            last = frame
    finally:
        frames.close()
    if last is None or last.index != pair.source_frame:
        count = 0 if last is None else last.index + 1
        raise InputError(
            f"{pair.prefix}{pair.source}: has no frame {pair.source_frame}, only {count}. Choose another frame."
        )
    return last.image


class DriverFrames:
    """The driver's frames by time; a track has none.

    Args:
        pair: The driver and its span. Times count from the first frame of the span.
    """

    def __init__(self, pair: Pair) -> None:
        self._frames: Generator[Frame, None, None] | None = None
        self._current: Frame | None = None
        self._next: Frame | None = None
        self._start = 0.0
        if is_track(pair.driver):
            return
        self._frames = read_frames(pair.driver)
        for frame in self._frames:
            if frame.index >= pair.start:
                self._current, self._start = frame, frame.pts
                break
        self._next = next(self._frames, None)

    @property
    def is_empty(self) -> bool:
        """Whether there are no frames."""
        return self._current is None

    def frame_at(self, seconds: float) -> np.ndarray | None:
        """Return the frame nearest to a time as H×W×3 uint8 RGB, or None without frames.

        Times must not decrease from call to call.
        """
        if self._current is None or self._frames is None:
            return None
        time = seconds + self._start
        while self._next is not None and abs(self._next.pts - time) <= abs(self._current.pts - time) + 1e-9:
            self._current, self._next = self._next, next(self._frames, None)
        return self._current.image

    def close(self) -> None:
        """Close the driver's file."""
        if self._frames is not None:
            self._frames.close()


def read_selected_frames(path: Path, indices: list[int]) -> Generator[tuple[int, np.ndarray], None, None]:
    """Yield selected frames of a video in order.

    Args:
        path: The video.
        indices: Frame indices in any order.

    Yields:
        Index and frame, H×W×3 uint8 RGB.
    """
    if not indices:
        return
    frames = read_frames(path, max_frames=max(indices) + 1)
    try:
        for frame in frames:
            if frame.index in indices:
                yield frame.index, frame.image
    finally:
        frames.close()


def resize_frame(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize an H×W×3 uint8 image; an image of that size is returned as it is."""
    import cv2

    if image.shape[:2] == (height, width):
        return image
    if image.shape[0] >= 2 * height:
        interpolation = cv2.INTER_AREA
    elif (
        image.shape[0] > height
    ):  # down to half the size, linear interpolation uses every pixel and is three times as fast
        interpolation = cv2.INTER_LINEAR
    else:
        interpolation = cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=interpolation)
