"""Tracking of one person through the frames of a video."""

from pathlib import Path

import numpy as np

from mimaface_cli.face.extract_options import MAX_FACES, check_face_selector
from mimaface_cli.face.landmarks import Face, FaceLandmarker, locate_landmark_model, select_face

CENSUS_INTERVAL = 25  # frames between searches for further people while one person is tracked
RETRY_INTERVAL = 5  # frames until the next search after the person was lost
# Censuses in a row with fewer faces after which fewer are tracked: a search for missing ones in each frame is slow.
SHRINK_CENSUSES = 2
MAX_MOVEMENT = 0.6  # relative to the face's size, between frames; a larger jump among several faces is another person


class FaceTracker:
    """Tracker of one person through the frames of a video.

    While a single face is visible, the landmarker's video mode tracks it, which is fast and smooth. Every
    CENSUS_INTERVAL frames a census of all faces detects further people. Among several faces the tracker selects the one
    nearest in place and size to the person's last face.

    Args:
        selector: Face selector that picks the person, see `extract_options.check_face_selector`.
        asset: The landmark model, by default the installed one.

    Attributes:
        max_face_count: The largest number of faces that were visible at once.
    """

    def __init__(self, selector: str = "largest", asset: Path | None = None) -> None:
        self._selector = check_face_selector(selector)
        self._asset = asset or locate_landmark_model()
        self._census = FaceLandmarker(self._asset, is_video=False, max_faces=MAX_FACES)
        self._landmarker: FaceLandmarker | None = None
        self._landmarker_capacity = 0  # the number of faces that the landmarker can track
        self._smaller_censuses = 0
        self._last_face: Face | None = None
        self._milliseconds = -1
        self._frames_since_census = CENSUS_INTERVAL
        self.max_face_count = 0

    def __call__(self, image: np.ndarray, seconds: float) -> Face | None:
        """Return the tracked face in the next frame, or None where it is not visible.

        Args:
            image: (H, W, 3) uint8 RGB.
            seconds: Time of the frame. Times that do not increase count as one millisecond later.
        """
        self._milliseconds = max(self._milliseconds + 1, round(seconds * 1000))
        if self._frames_since_census >= CENSUS_INTERVAL:
            self._count_faces(image)
        self._frames_since_census += 1
        if self._landmarker is None:
            return None
        faces = self._landmarker(image, self._milliseconds)
        if self._last_face is None:
            face = select_face(faces, self._selector)
        else:
            face = self._find_same_person(faces, self._last_face)
        if face is None:
            self._frames_since_census = max(self._frames_since_census, CENSUS_INTERVAL - RETRY_INTERVAL)
        else:
            self._last_face = face
        return face

    def start_shot(self) -> None:
        """Discard the person's place and size, because the next frame shows another scene."""
        self._last_face = None
        self._frames_since_census = CENSUS_INTERVAL
        self._close_landmarker()

    def _count_faces(self, image: np.ndarray) -> None:
        """Count the faces of a frame, and make the video landmarker as large as they need."""
        faces = self._census(image)
        count = len(faces)
        self.max_face_count = max(self.max_face_count, count)
        self._frames_since_census = 0
        if self._landmarker is None and not count:
            self._frames_since_census = CENSUS_INTERVAL  # no face yet: search every frame
        elif self._landmarker is None or count > self._landmarker_capacity or self._can_shrink(faces):
            self._close_landmarker()
            self._landmarker = FaceLandmarker(self._asset, is_video=True, max_faces=count)
            self._landmarker_capacity = count

    def _can_shrink(self, faces: list[Face]) -> bool:
        """Return whether fewer faces than the landmarker tracks were visible for a while, the person among them."""
        has_person = self._last_face is not None and self._find_same_person(faces, self._last_face) is not None
        is_smaller = has_person and len(faces) < self._landmarker_capacity
        self._smaller_censuses = self._smaller_censuses + 1 if is_smaller else 0
        if is_smaller:  # look again soon
            self._frames_since_census = CENSUS_INTERVAL - RETRY_INTERVAL
        return self._smaller_censuses >= SHRINK_CENSUSES

    def _find_same_person(self, faces: list[Face], last_face: Face) -> Face | None:
        """Return the face that continues the person's last face, or None."""
        if not faces:
            return None

        def distance(face: Face) -> float:
            return float(np.abs(face.box - last_face.box).max()) / last_face.size

        nearest = min(faces, key=distance)
        # A single face may have moved far while it was not visible; among several faces a jump is another person.
        is_only_face = len(faces) == 1 and self._landmarker_capacity == 1
        return nearest if is_only_face or distance(nearest) < MAX_MOVEMENT else None

    def _close_landmarker(self) -> None:
        if self._landmarker is not None:
            self._landmarker.close()
        self._landmarker, self._landmarker_capacity, self._smaller_censuses = None, 0, 0

    def close(self) -> None:
        """Release the native landmarkers."""
        self._close_landmarker()
        self._census.close()
