"""The source of an animation: a photo, or the frames of a video."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mimaface_cli.concurrency import split_stream
from mimaface_cli.face import face478
from mimaface_cli.face.camera import apply_pose, project
from mimaface_cli.face.face_tracker import FaceTracker
from mimaface_cli.face.face_view import FaceView
from mimaface_cli.face.portrait import SQUARE, Portrait
from mimaface_cli.media.deep_frame import DeepFrame
from mimaface_cli.media.deinterlace_option import FRAME
from mimaface_cli.media.image import Image, flatten_alpha
from mimaface_cli.media.reader import Frame, read_frames
from mimaface_cli.motion.track import MotionTrack

_Images = Generator[np.ndarray, None, None]


@dataclass(frozen=True)
class PhotoSource:
    """A photo whose face is detected and fitted, at the size of the result.

    Attributes:
        portrait: The photo.
        deep: The whole photo with more than 8 bits per channel if the result has them, else None. The portrait then is
            its preview.
    """

    portrait: Portrait
    deep: DeepFrame | None = None

    @property
    def is_deep(self) -> bool:
        """Whether the result has more than 8 bits per channel."""
        return self.deep is not None

    @property
    def turns(self) -> int:
        """Quarter turns counterclockwise that the photo was turned by, so that the face is upright."""
        return self.portrait.turns


@dataclass(frozen=True)
class VideoSource:
    """A video whose motion is replaced.

    Attributes:
        path: The video file, or a folder of frames.
        track: The motion of the video itself in face478, trimmed to the span to use.
        face: Face selector.
        output_mode: "full" or "crop".
        max_size: Longest side of the result in pixels; 0 for no limit.
        deinterlace: How interlaced frames are read, as in `read_frames`.
        keeps_alpha: Whether the portraits have the alpha of the frames; otherwise it is flattened on black.
        turns: Quarter turns counterclockwise that make the face upright; the frames of `track` are turned already.
        file_frames: Number of frames of the track that the file has, or None for all. The rest repeats them.
        is_repeated: Whether the rest repeats all of them; else it holds the last one.
        frames_of_other_turn: Number of frames in which the face is not upright nevertheless. They are not valid in
            `track`.
        is_deep: Whether the result has more than 8 bits per channel: the frames then are previews in the video's own
            color space, as in `read_frames`.
    """

    path: Path
    track: MotionTrack
    face: str = "largest"
    output_mode: str = "full"
    max_size: int = 0
    deinterlace: str = FRAME
    keeps_alpha: bool = False
    turns: int = 0
    file_frames: int | None = None
    is_repeated: bool = False
    frames_of_other_turn: int = 0
    is_deep: bool = False

    def portrait(self, frame: int) -> Portrait:
        """Return one frame of the source's track as a portrait."""
        portraits = self.portraits(self.track.select_frames(slice(frame, frame + 1)))
        try:
            return next(portraits)
        finally:
            portraits.close()

    def portraits(self, track: MotionTrack | None = None, detect: bool = True) -> Generator[Portrait, None, None]:
        """Yield each frame as a portrait; if no face is detected, the track provides its position.

        Args:
            track: Consecutive frames of the source's track, or None for all.
            detect: Whether faces are detected; otherwise the track provides all positions, which is fast.
        """
        track = self.track if track is None else track
        model, identity = face478.load(), self.track.identity.astype(np.float64)
        tracker = FaceTracker(self.face) if detect else None
        frames = self.read(track)
        square: np.ndarray | None = None
        view = FaceView(self.turns)
        try:
            for k, frame in enumerate(frames):
                if tracker is not None and k in track.meta.cuts:
                    tracker.start_shot()
                image, alpha = self.pixels(frame)
                image, alpha = view.apply(image), None if alpha is None else view.apply(alpha)
                face = None if tracker is None else tracker(image, frame.pts)
                crop, pose, expression = (
                    array[k].astype(np.float64) for array in (track.crop, track.pose, track.expression)
                )
                if face is not None:
                    points = face.points
                else:
                    pixels, _ = project(apply_pose(model.shape(identity, expression), pose))
                    points = (pixels - crop[:, 2]) / crop[0, 0]
                gaze, light = (array[k].astype(np.float64) for array in (track.gaze, track.illumination))
                portrait = Portrait(image, alpha, points, crop, identity, expression, pose, gaze, None, light)
                if self.output_mode == "crop":  # one crop for the whole video, or the image would drift
                    square = square if square is not None else portrait.square_matrix()
                    yield portrait.warped(square, SQUARE, SQUARE)
                else:
                    yield portrait.limited(self.max_size)
        finally:
            frames.close()
            if tracker is not None:
                tracker.close()

    def read(self, track: MotionTrack) -> Generator[Frame, None, None]:
        """Yield the frames of a part of the source's track."""
        count = self.file_frames or len(self.track)
        index = int(np.searchsorted(self.track.pts, track.pts[0] - 1e-6))
        end = index + len(track)
        last: Frame | None = None
        while index < end:
            first = index % count if self.is_repeated else min(index, count - 1)
            part = min(count - first, end - index)
            start = float(self.track.pts[first])
            frames = read_frames(
                self.path, max_frames=part, start=start, deinterlace=self.deinterlace, is_deep=self.is_deep
            )
            last = None
            try:
                for last in frames:
                    yield last
            finally:
                frames.close()
            index += part
            if last is None or not self.is_repeated:
                break
        while last is not None and index < end:
            yield last
            index += 1

    def pixels(self, frame: Frame) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the image of a frame, and its alpha if it is kept."""
        if not self.keeps_alpha:
            return flatten_alpha(Image(frame.image, frame.alpha)), None
        return frame.image, np.full(frame.image.shape[:2], 255, np.uint8) if frame.alpha is None else frame.alpha


def split_alpha(
    portraits: Generator[Portrait, None, None],
) -> tuple[Generator[Portrait, None, None], Callable[[_Images], _Images]]:
    """Take the alpha off portraits that are rendered in place.

    Returns:
        The opaque portraits, and a function that puts their alpha onto the frames (H, W, 3) that are rendered from
        them.
    """
    opaque, alphas = split_stream(
        portraits, lambda portrait: replace(portrait, alpha=None), lambda portrait: portrait.alpha
    )

    def join(frames: _Images) -> _Images:
        try:
            for frame in frames:
                alpha = next(alphas)
                yield frame if alpha is None else np.dstack([frame, alpha])
        finally:
            frames.close()

    return opaque, join


def tee_originals(
    portraits: Generator[Portrait, None, None],
) -> tuple[Generator[Portrait, None, None], Iterator[np.ndarray]]:
    """Split portraits into the portraits and their images; the images are read a few frames later."""
    return split_stream(portraits, lambda portrait: portrait, lambda portrait: portrait.image)
