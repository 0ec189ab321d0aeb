"""The person of rendered frames as a separate layer, segmented in each frame if the engine does not provide it."""

from collections.abc import Generator

import numpy as np

from mimaface_cli.concurrency import split_stream
from mimaface_cli.engines.base import FrameStream
from mimaface_cli.face.face_tracker import FaceTracker
from mimaface_cli.face.matting import PersonMatte, matte_frame, matte_person
from mimaface_cli.face.segmentation import PersonSegmenter, segment_person

SEGMENTED_NOTE = "the person is segmented in each rendered frame; its outline can flicker"
NO_FACE_NOTE = "the first frames show no face, so the person is not segmented there"

_Layer = tuple[np.ndarray, np.ndarray]
"""Foreground colors (H, W, 3) uint8 and alpha (H, W) uint8 of the person."""


def ensure_person_layer(
    stream: FrameStream, *, cutout: bool, needs_alpha: bool, face: str = "largest", points: np.ndarray | None = None
) -> None:
    """Add the requested layer of the person to a stream whose engine did not provide it.

    Args:
        stream: The engine's frames; its iterators are replaced in place.
        cutout: Whether the frames must show the person alone.
        needs_alpha: Whether the stream must provide the person's alpha.
        face: Face selector.
        points: (478, 2) landmarks of the source's face in pixels of the frames, or None if it is a video.
    """
    matted = _matte_frames(stream.frames, FrameMatting(stream.pts, face, points, stream.notes))
    if cutout and not stream.is_cutout:
        stream.frames, stream.person_alphas = _cut_out(matted), None
        stream.is_cutout = True
    if needs_alpha and stream.person_alphas is None:
        pairs = _pair_with_frame_alpha(stream.frames) if stream.is_cutout else _pair_with_alpha(matted)
        stream.frames, stream.person_alphas = split_stream(pairs, lambda pair: pair[0], lambda pair: pair[1])


def _matte_frames(
    frames: Generator[np.ndarray, None, None], matting: "FrameMatting"
) -> Generator[tuple[np.ndarray, _Layer], None, None]:
    """Yield each frame with its person's layer."""
    try:
        for frame in frames:
            yield frame, matting(frame)
    finally:
        frames.close()
        matting.close()


def _cut_out(matted: Generator[tuple[np.ndarray, _Layer], None, None]) -> Generator[np.ndarray, None, None]:
    try:
        for _, layer in matted:
            yield np.dstack(layer)
    finally:
        matted.close()


def _pair_with_alpha(
    matted: Generator[tuple[np.ndarray, _Layer], None, None],
) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
    try:
        for frame, (_, alpha) in matted:
            yield frame, alpha
    finally:
        matted.close()


def _pair_with_frame_alpha(
    frames: Generator[np.ndarray, None, None],
) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
    try:
        for frame in frames:
            yield frame, frame[..., 3].copy()
    finally:
        frames.close()


class FrameMatting:
    """Matting of the person in rendered frames, in order.

    Args:
        pts: (N,) times of the frames in seconds.
        face: Face selector.
        points: (478, 2) landmarks of the face in pixels, for frames in which none is visible yet, or None.
        notes: List to which notes for the user are appended.
    """

    def __init__(self, pts: np.ndarray, face: str, points: np.ndarray | None, notes: list[str]) -> None:
        self._times = iter(pts.tolist())
        self._is_video = len(pts) > 1
        self._face = face
        self._points = points
        self._notes = notes
        self._tracker: FaceTracker | None = None
        self._segmenter: PersonSegmenter | None = None

    def __call__(self, frame: np.ndarray) -> _Layer:
        """Return foreground colors and alpha of the person in the next frame, (H, W, 3) or (H, W, 4) uint8."""
        if self._tracker is None:
            self._tracker = FaceTracker(self._face)
        image = np.ascontiguousarray(frame[..., :3])
        face = self._tracker(image, next(self._times))
        if face is not None:
            self._points = face.points
        if self._points is None:
            self._note(NO_FACE_NOTE)
            return image, np.zeros(image.shape[:2], np.uint8)
        matte = self._matte(image, self._points)
        alpha = (np.clip(matte.alpha, 0, 1) * 255 + 0.5).astype(np.uint8)
        if frame.shape[2] == 4:  # transparent pixels of the photo do not belong to the person
            alpha = np.minimum(alpha, frame[..., 3])
        return matte.foreground, alpha

    def _matte(self, image: np.ndarray, points: np.ndarray) -> PersonMatte:
        """Return the person's matte, by the accurate method for a single frame and by the fast one for several."""
        if self._is_video:
            self._note(SEGMENTED_NOTE)
            self._segmenter = self._segmenter or PersonSegmenter()
            mask = self._segmenter(image, points)
        else:
            mask = segment_person(image, points)
        for note in mask.notes:
            self._note(note)
        return (matte_frame if self._is_video else matte_person)(image, mask.confidence, points)

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

    def close(self) -> None:
        """Release the native models."""
        if self._tracker is not None:
            self._tracker.close()
        if self._segmenter is not None:
            self._segmenter.close()
