"""One person tracked through a video, shot by shot: the common input of all extractors."""

from collections.abc import Generator, Iterable
from typing import Protocol, TypeVar

import numpy as np

from mimaface_cli.errors import InputError
from mimaface_cli.face.face_detector import MIN_FACE
from mimaface_cli.face.face_tracker import FaceTracker
from mimaface_cli.face.landmarks import Face
from mimaface_cli.face.scene_cuts import CutDetector


class TimedImage(Protocol):
    """A frame of a video."""

    @property
    def image(self) -> np.ndarray:
        """Pixels (H, W, 3) uint8 RGB."""

    @property
    def pts(self) -> float:
        """Presentation time in seconds."""


FrameType = TypeVar("FrameType", bound=TimedImage)


def track_face(
    frames: Iterable[FrameType], selector: str, name: str = "video", tracker: FaceTracker | None = None
) -> Generator[tuple[FrameType, Face | None, bool], None, None]:
    """Track the selected person through the frames of a video.

    Args:
        frames: Frames in presentation order.
        selector: Face selector: largest, left, right or a number counted from the left.
        name: Name of the input in error messages.
        tracker: Tracker with that selector, by default a new one. It is closed at the end.

    Yields:
        Each frame, the tracked face or None where it is not visible, and whether the frame starts a new shot.

    Raises:
        InputError: After the last frame, when there was no frame or none showed the face.
    """
    tracker, is_cut = tracker or FaceTracker(selector), CutDetector()
    frame_count, was_visible = 0, False
    try:
        for frame in frames:
            frame_count += 1
            starts_shot = is_cut(frame.image)
            if starts_shot:
                tracker.start_shot()
            face = tracker(frame.image, frame.pts)
            was_visible = was_visible or face is not None
            yield frame, face, starts_shot
    finally:
        tracker.close()
    if not frame_count:
        raise InputError(f"{name}: contains no frames. Choose another file.")
    if not was_visible:
        raise no_face_error(name, tracker.max_face_count, selector)


def no_face_error(name: str, face_count: int, selector: str) -> InputError:
    """Return the error for an input that does not show the selected face.

    Args:
        name: Name of the input.
        face_count: The largest number of faces that were visible at once.
        selector: The face selector.
    """
    if face_count and selector.isdecimal():
        faces = "1 face" if face_count == 1 else f"{face_count} faces"
        return InputError(
            f"{name}: shows {faces}, so there is no face number {selector} from the left. Set `face` (for a driver, "
            "`driver_face`) to a lower number."
        )
    return InputError(
        f"{name}: shows no face. Use a sharp image that shows the whole face, at least {MIN_FACE} pixels high."
    )
