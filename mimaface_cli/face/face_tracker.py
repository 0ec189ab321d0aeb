"""Tracking of one person through the frames of a video."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from mimaface_cli.face.detection import confirm_faces, detect_small_upright_faces
from mimaface_cli.face.extract_options import MAX_FACES, check_face_selector
from mimaface_cli.face.face_detector import FaceDetector, find_turns
from mimaface_cli.face.face_view import FaceView
from mimaface_cli.face.landmarks import Face, FaceLandmarker, locate_landmark_model, select_face

CENSUS_INTERVAL = 25  # frames between searches for further people while one person is tracked
RETRY_INTERVAL = 5  # frames until the next search after the person was lost
# Censuses in a row with fewer faces after which fewer are tracked: a search for missing ones in each frame is slow.
SHRINK_CENSUSES = 2
# Frames between searches for turned and for small faces, where a census finds none: doubled from the first to the last.
FIRST_SEARCH_INTERVAL, LAST_SEARCH_INTERVAL = 8, 128
MAX_VIEW_SHIFT = 0.15  # sides of the face by which the view of a small face follows it from frame to frame
MAX_MOVEMENT = 0.6  # relative to the face's size, between frames; a larger jump among several faces is another person


class FaceTracker:
    """Tracker of one person through the frames of a video.

    While a single face is visible, the landmarker's video mode tracks it, which is fast and smooth. Every
    CENSUS_INTERVAL frames a census of all faces detects further people. Among several faces the tracker selects the one
    nearest in place and size to the person's last face.

    A face that is not upright, or too small for the whole frame, is tracked in a turned frame, or in a part of it.

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
        self._view = FaceView()
        self._detector: FaceDetector | None = None
        self._is_lost = True
        self._has_large_face = False  # whether a face was visible in a whole frame
        self._frames_until_search = 0
        self._search_interval = FIRST_SEARCH_INTERVAL
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
        self._frames_until_search -= 1
        if self._landmarker is None:
            return None
        height, width = image.shape[:2]
        faces_in_view = self._landmarker(self._view.apply(image), self._milliseconds)
        faces = [self._view.restore(face, width, height) for face in faces_in_view]
        if self._last_face is None:
            selected = select_face(faces_in_view, self._selector)  # left and right are those of upright faces
            face = next((face for face, other in zip(faces, faces_in_view, strict=True) if other is selected), None)
        else:
            face = self._find_same_person(faces, self._last_face)
        if face is None:
            self._frames_since_census = max(self._frames_since_census, CENSUS_INTERVAL - RETRY_INTERVAL)
        else:
            self._last_face = face
            self._view = self._view.following(face, MAX_VIEW_SHIFT, width, height)
        self._is_lost = face is None
        return face

    def start_shot(self) -> None:
        """Discard the person's place and size, because the next frame shows another scene."""
        self._last_face, self._is_lost = None, True
        self._view = FaceView()
        self._frames_until_search, self._search_interval = 0, FIRST_SEARCH_INTERVAL
        self._frames_since_census = CENSUS_INTERVAL
        self._close_landmarker()

    def _count_faces(self, image: np.ndarray) -> None:
        """Count the faces of a frame, and make the video landmarker as large as they need."""
        faces = self._detect_faces(image)
        count = len(faces)
        self.max_face_count = max(self.max_face_count, count)
        self._frames_since_census = 0
        if self._landmarker is None and not count:
            self._frames_since_census = CENSUS_INTERVAL  # no face yet: search every frame
        elif self._landmarker is None or count > self._landmarker_capacity or self._can_shrink(faces):
            self._close_landmarker()
            self._landmarker = FaceLandmarker(self._asset, is_video=True, max_faces=count)
            self._landmarker_capacity = count

    def _detect_faces(self, image: np.ndarray) -> list[Face]:
        """Detect the faces of a frame, and change the view if none is visible in it, or none is upright."""
        whole = FaceView(self._view.turns)
        faces = self._detect_in(whole, image)
        if not self._is_lost:
            return faces
        if faces:
            if self._last_face is None:
                turns = find_turns(image, self._get_detector())
                turned = self._detect_in(FaceView(turns), image) if turns != whole.turns else []
                whole, faces = (FaceView(turns), turned) if turned else (whole, faces)
            self._has_large_face = True
            self._change_view(whole)
            return faces
        if self._frames_until_search > 0:
            return []
        self._frames_until_search = self._search_interval
        self._search_interval = min(2 * self._search_interval, LAST_SEARCH_INTERVAL)
        return self._search_turned(image) or ([] if self._has_large_face else self._search_small(image))

    def _search_turned(self, image: np.ndarray) -> list[Face]:
        """Return the faces that are visible if the frame is turned, and turn the view so."""
        turns = find_turns(image, self._get_detector())
        faces = self._detect_in(FaceView(turns), image) if turns != self._view.turns else []
        if faces:
            self._has_large_face = True
            self._change_view(FaceView(turns))
        return faces

    def _search_small(self, image: np.ndarray) -> list[Face]:
        """Return faces that are too small for the whole frame, and move the view to the person's."""
        height, width = image.shape[:2]
        turns, faces_and_views = detect_small_upright_faces(image, self._get_detector(), self._census)
        faces = [FaceView(turns).restore(face, width, height) for face, _ in faces_and_views]
        if self._last_face is None:
            person = select_face(faces, self._selector)
        else:
            person = self._find_same_person(faces, self._last_face)
        if person is not None:
            self._last_face = person
            view = next(view for face, (_, view) in zip(faces, faces_and_views, strict=True) if face is person)
            self._change_view(replace(view, turns=turns))
        return faces

    def _change_view(self, view: FaceView) -> None:
        """Look at another part of the frames; what the landmarker tracked is elsewhere in it."""
        if view != self._view:
            self._view = view
            self._close_landmarker()

    def _detect_in(self, view: FaceView, image: np.ndarray) -> list[Face]:
        height, width = image.shape[:2]
        part = view.apply(image)
        faces = confirm_faces(part, self._census(part), self._get_detector)
        return [view.restore(face, width, height) for face in faces]

    def _get_detector(self) -> FaceDetector:
        if self._detector is None:
            self._detector = FaceDetector(self._asset)
        return self._detector

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
        if self._detector is not None:
            self._detector.close()
            self._detector = None
