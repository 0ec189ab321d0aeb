"""MediaPipe's FaceLandmarker, with one person followed through a video."""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np

from mimaface_cli.face.extract_options import MAX_FACES, check_face_selector

CENSUS_EVERY = 25  # frames between looks for further people while one is followed
MIN_SIDE, MAX_SIDE = 256, 1280  # the network works at 256: larger frames only cost time


@dataclass(frozen=True, slots=True)
class Face:
    """One face. points: 478×2 pixels (pixel centers at i + 0.5); scores: 52 blendshapes in 0..1; rotation: 3×3,
    canonical face to camera (x right, y up, z to the camera); depth: 478, pixels toward the camera from the head's
    middle, as the landmarker guesses it.
    """

    points: np.ndarray
    scores: np.ndarray
    rotation: np.ndarray
    depth: np.ndarray | None = None

    @property
    def box(self) -> np.ndarray:
        """left, top, right, bottom in pixels."""
        return np.concatenate([self.points.min(0), self.points.max(0)])

    @property
    def size(self) -> float:
        """Diagonal of the box in pixels."""
        return float(np.linalg.norm(self.box[2:] - self.box[:2]))


def choose(faces: list[Face], choice: str) -> Face | None:
    """The chosen one of the faces of a picture; None when there are fewer than asked for."""
    if not faces:
        return None
    if choice == "largest":
        return max(faces, key=lambda face: face.size)
    in_order = sorted(faces, key=lambda face: face.box[0] + face.box[2])
    position = {"left": 0, "right": len(in_order) - 1}.get(choice)
    if position is None:
        position = int(choice) - 1
    return in_order[position] if position < len(in_order) else None


@contextmanager
def native_silence() -> Iterator[None]:
    """Keep lines that native libraries write to the error stream from the user."""
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, ValueError, AttributeError):  # no real stream behind it: nothing to silence
        yield
        return
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


@cache
def load() -> tuple[ModuleType, type, ModuleType]:
    """MediaPipe, its BaseOptions and its vision tasks; half a second the first time.

    It imports matplotlib for drawings that nobody here asks for, which would take as long again: a stand-in is there
    meanwhile, which turns to the real one when it is used.
    """
    plain, pyplot = ModuleType("matplotlib"), ModuleType("matplotlib.pyplot")
    plain.pyplot = pyplot
    pyplot.__getattr__ = lambda name: getattr(importlib.import_module("matplotlib.pyplot"), name)
    standing_in = {} if "matplotlib" in sys.modules else {"matplotlib": plain, "matplotlib.pyplot": pyplot}
    sys.modules.update(standing_in)
    try:
        import mediapipe
        from mediapipe.tasks.python import BaseOptions, vision
    finally:
        for name in standing_in:
            sys.modules.pop(name, None)
    return mediapipe, BaseOptions, vision


class _Landmarker:
    """One FaceLandmarker in one running mode."""

    def __init__(self, asset: Path, video: bool, faces: int):
        with native_silence():
            mediapipe, BaseOptions, vision = load()
            self._image = lambda array: mediapipe.Image(mediapipe.ImageFormat.SRGB, array)
            mode = vision.RunningMode.VIDEO if video else vision.RunningMode.IMAGE
            self._landmarker = vision.FaceLandmarker.create_from_options(
                vision.FaceLandmarkerOptions(
                    # A buffer, since the native side cannot open every path that Python can.
                    base_options=BaseOptions(model_asset_buffer=asset.read_bytes()),
                    running_mode=mode,
                    num_faces=faces,
                    output_face_blendshapes=True,
                    output_facial_transformation_matrixes=True,
                )
            )
        self._video = video
        self._warm = False

    def __call__(self, image: np.ndarray, milliseconds: int = 0) -> list[Face]:
        height, width = image.shape[:2]
        picture = self._image(fit_for_network(image))
        if self._warm:
            result = self._detect(picture, milliseconds)
        else:  # the first inference logs too
            with native_silence():
                result = self._detect(picture, milliseconds)
            self._warm = True
        faces = zip(result.face_landmarks, result.face_blendshapes, result.facial_transformation_matrixes)
        return [_face(landmarks, scores, matrix, width, height) for landmarks, scores, matrix in faces]

    def _detect(self, picture, milliseconds: int):
        return (
            self._landmarker.detect_for_video(picture, milliseconds)
            if self._video
            else self._landmarker.detect(picture)
        )

    def close(self) -> None:
        with native_silence():
            self._landmarker.close()


def _face(landmarks, scores, matrix, width: int, height: int) -> Face:
    """What the landmarker says of one face, in pixels of a picture of that size."""
    places = np.array([(p.x, p.y, p.z) for p in landmarks]) * [width, height, -width]
    return Face(
        np.ascontiguousarray(places[:, :2]),
        np.array([category.score for category in scores]),
        np.asarray(matrix, np.float64)[:3, :3],
        places[:, 2].copy(),
    )


def fit_for_network(image: np.ndarray) -> np.ndarray:
    """A contiguous H×W×3 uint8 picture of at most MAX_SIDE: the landmarker silently finds nothing in strided arrays."""
    import cv2

    longest = max(image.shape[:2])
    if longest > MAX_SIDE:
        scale = MAX_SIDE / longest
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image)


def find_faces(image: np.ndarray, asset: Path | None = None) -> list[Face]:
    """All faces of one picture (H×W×3 uint8 RGB), at most MAX_FACES. Raises WeightsError without the asset."""
    landmarker = _Landmarker(asset or _asset(), video=False, faces=MAX_FACES)
    try:
        faces = landmarker(image)
        if not faces:
            faces = _find_with_margin(image, landmarker)
        return faces
    finally:
        landmarker.close()


def _find_with_margin(image: np.ndarray, landmarker: _Landmarker) -> list[Face]:
    """Second try for a face that fills the picture or is small in it: with a gray margin, then in overlapping
    halves.
    """
    height, width = image.shape[:2]
    border = max(height, width) // 2
    padded = np.pad(image, ((border, border), (border, border), (0, 0)), constant_values=128)
    faces = [replace(face, points=face.points - border) for face in landmarker(padded)]
    if faces or min(height, width) < 2 * MIN_SIDE:
        return faces
    for top in (0, height // 4, height // 2):
        for left in (0, width // 4, width // 2):
            part = image[top : top + height // 2, left : left + width // 2]
            faces = [replace(face, points=face.points + [left, top]) for face in landmarker(part)]
            if faces:
                return faces
    return []


class FaceFollower:
    """Follows one person through the frames of a video.

    While a single face is in view it uses the landmarker's own tracking, which is fast and smooth, and looks for
    further people now and then; among several it keeps to the face nearest in place and size to the last one.
    """

    def __init__(self, choice: str = "largest", asset: Path | None = None):
        self._choice = check_face_selector(choice)
        self._asset = asset or _asset()
        self._census = _Landmarker(self._asset, video=False, faces=MAX_FACES)
        self._tracker: _Landmarker | None = None
        self._tracked = 0  # faces the tracker was made for
        self._last: Face | None = None
        self._clock = -1
        self._since_census = CENSUS_EVERY
        self.people = 0  # the most faces seen at once

    def __call__(self, image: np.ndarray, seconds: float) -> Face | None:
        """The followed face in the next frame (H×W×3 uint8 RGB), or None."""
        self._clock = max(self._clock + 1, round(seconds * 1000))
        if self._since_census >= CENSUS_EVERY:
            self._count(image)
        self._since_census += 1
        if self._tracker is None:
            return None
        faces = self._tracker(image, self._clock)
        face = self._same_person(faces) if self._last is not None else choose(faces, self._choice)
        if face is None:
            self._since_census = max(self._since_census, CENSUS_EVERY - 5)  # look again soon
        else:
            self._last = face
        return face

    def new_shot(self) -> None:
        """Forget place and size: the picture has changed."""
        self._last = None
        self._since_census = CENSUS_EVERY
        self._drop_tracker()

    def _count(self, image: np.ndarray) -> None:
        count = len(self._census(image))
        self.people = max(self.people, count)
        self._since_census = 0
        if count and count != self._tracked and (self._tracker is None or count > self._tracked):
            self._drop_tracker()
            self._tracker = _Landmarker(self._asset, video=True, faces=count)
            self._tracked = count
        elif not count and self._tracker is None:
            self._since_census = CENSUS_EVERY  # nobody yet: look at every frame

    def _same_person(self, faces: list[Face]) -> Face | None:
        if not faces:
            return None

        def distance(face: Face) -> float:
            return float(np.abs(face.box - self._last.box).max()) / self._last.size

        nearest = min(faces, key=distance)
        # One face alone may have moved far while it was unseen; among several a jump is another person.
        return nearest if (len(faces) == 1 and self._tracked == 1) or distance(nearest) < 0.6 else None

    def _drop_tracker(self) -> None:
        if self._tracker is not None:
            self._tracker.close()
        self._tracker, self._tracked = None, 0

    def close(self) -> None:
        self._drop_tracker()
        self._census.close()


def _asset() -> Path:
    from mimaface_cli.weights.locate import locate

    return locate("face_landmarker")
