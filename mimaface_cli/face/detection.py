"""Detection of all faces of an image: also of small ones, of those that fill it, and of turned ones."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from mimaface_cli.face.extract_options import MAX_FACES
from mimaface_cli.face.face_detector import (
    CLOSE_SCORE,
    Detection,
    FaceDetector,
    best_score,
    find_small_faces,
    find_turns,
)
from mimaface_cli.face.face_view import FaceView
from mimaface_cli.face.landmarks import Face, FaceLandmarker, locate_landmark_model

SMALL_FACE_VIEW = 5.0  # side of the square in which a small face is located, in sides of its detection
CERTAIN_SIZE = 0.6  # relative to the largest face: size from which a face of the landmarker is not checked
_CLOSE_VIEWS = (1.5, 2.5, 4.0)  # sides of the squares in which a smaller one is checked, in sides of the face
_TURNS = (0, 1, 3, 2)  # quarter turns of images, the most frequent first


def detect_faces(image: np.ndarray, asset: Path | None = None) -> list[Face]:
    """Detect all faces of an image, at most MAX_FACES.

    Faces are expected upright, or turned by up to a quarter turn.

    Args:
        image: (H, W, 3) uint8 RGB.
        asset: The landmark model, by default the installed one.

    Raises:
        WeightsError: When the landmark model is not installed.
    """
    asset = asset or locate_landmark_model()
    landmarker = FaceLandmarker(asset, is_video=False, max_faces=MAX_FACES)
    try:
        faces = _detect_large_faces(image, landmarker)
        if len(faces) == 1:
            return faces
        detector = FaceDetector(asset)
        try:
            faces = confirm_faces(image, faces, lambda: detector)
            return faces or [face for face, _ in detect_small_faces(image, detector, landmarker)]
        finally:
            detector.close()
    finally:
        landmarker.close()


def detect_upright_faces(image: np.ndarray) -> tuple[int, list[Face]]:
    """Detect all faces of an image that may lie on its side or be upside down.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        The quarter turns counterclockwise that make the clearest face upright, and the faces in the turned image.

    Raises:
        WeightsError: When the landmark model is not installed.
    """
    asset = locate_landmark_model()
    detector, landmarker = FaceDetector(asset), FaceLandmarker(asset, is_video=False, max_faces=MAX_FACES)
    try:
        turns = find_turns(image, detector) or find_turns(_pad(image)[0], detector)
        for candidate in dict.fromkeys((turns, 0)):
            turned = FaceView(candidate).apply(image)
            faces = _detect_large_faces(turned, landmarker)
            if faces:
                return candidate, confirm_faces(turned, faces, lambda: detector)
        turns, faces_and_views = detect_small_upright_faces(image, detector, landmarker)
        return turns, [face for face, _ in faces_and_views]
    finally:
        detector.close()
        landmarker.close()


def confirm_faces(image: np.ndarray, faces: list[Face], get_detector: Callable[[], FaceDetector]) -> list[Face]:
    """Return faces without the small patterns, such as folds of a collar, that the landmarker took for further faces.

    Args:
        image: (H, W, 3) uint8 RGB.
        faces: The faces that the landmarker detected in it; the largest is always kept.
        get_detector: Returns the detector, which is needed only if the sizes of the faces differ much.
    """
    certain = CERTAIN_SIZE * max((face.size for face in faces), default=0.0)
    return [face for face in faces if face.size >= certain or _close_score(image, face, get_detector()) >= CLOSE_SCORE]


def _close_score(image: np.ndarray, face: Face, detector: FaceDetector) -> float:
    """Return the best score of a face in views around it."""
    height, width = image.shape[:2]
    near: list[Detection] = []
    for sides in _CLOSE_VIEWS:
        view = FaceView().around(face.box, width, height, max(1, round(sides * face.size)))
        offset = np.array((view.region or (0, 0))[:2] * 2)
        detections = [replace(item, box=item.box + offset) for item in detector(view.apply(image))]
        near += [item for item in detections if _distance(face, item.box) < face.size / 2]
    return best_score(near)


def detect_small_upright_faces(
    image: np.ndarray, detector: FaceDetector, landmarker: FaceLandmarker
) -> tuple[int, list[tuple[Face, FaceView]]]:
    """Detect small faces in an image that may lie on its side or be upside down.

    Args:
        image: (H, W, 3) uint8 RGB.
        detector: The detector.
        landmarker: A landmarker for single images.

    Returns:
        The quarter turns counterclockwise that make the clearest face upright, and the faces in the turned image as
        `detect_small_faces` returns them.
    """
    for turns in _TURNS:
        turned = FaceView(turns).apply(image)
        faces = detect_small_faces(turned, detector, landmarker)
        if not faces:
            continue
        view = faces[0][1]
        further = find_turns(view.apply(turned), detector, clear_score=1.0)
        upright = (turns + further) % 4
        better = detect_small_faces(FaceView(upright).apply(image), detector, landmarker) if further else []
        return (upright, better) if better else (turns, faces)
    return 0, []


def detect_small_faces(
    image: np.ndarray, detector: FaceDetector, landmarker: FaceLandmarker
) -> list[tuple[Face, FaceView]]:
    """Detect faces that are too small to be detected in the whole image.

    Args:
        image: (H, W, 3) uint8 RGB.
        detector: The detector.
        landmarker: A landmarker for single images.

    Returns:
        Up to MAX_FACES faces of similar size, each with the part of the image in which its landmarks were detected.
    """
    for detections in find_small_faces(image, detector):
        faces = _locate_faces(image, detections, detector, landmarker)
        if faces:
            return faces[:MAX_FACES]
    return []


def _locate_faces(
    image: np.ndarray, detections: list[Detection], detector: FaceDetector, landmarker: FaceLandmarker
) -> list[tuple[Face, FaceView]]:
    """Return the detections that are faces, each with its view."""
    height, width = image.shape[:2]
    faces: list[tuple[Face, FaceView]] = []
    for detection in detections:
        side = round(SMALL_FACE_VIEW * float((detection.box[2:] - detection.box[:2]).max()))
        view = FaceView().around(detection.box, width, height, side)
        part = view.apply(image)
        if best_score(detector(part)) < CLOSE_SCORE:
            continue
        candidates = [view.restore(face, width, height) for face in landmarker(part)]
        nearest = min(candidates, key=lambda face: _distance(face, detection.box), default=None)
        if nearest is None or _distance(nearest, detection.box) > nearest.size / 2:
            continue
        if all(_distance(nearest, face.box) > nearest.size / 2 for face, _ in faces):
            faces.append((nearest, view))
    return faces


def _distance(face: Face, box: np.ndarray) -> float:
    """Return the distance of a face's middle from that of a box (4,)."""
    return float(np.linalg.norm((face.box[:2] + face.box[2:] - box[:2] - box[2:]) / 2))


def _detect_large_faces(image: np.ndarray, landmarker: FaceLandmarker) -> list[Face]:
    """Return the faces that are visible in the whole image, or with a margin."""
    return landmarker(image) or _detect_in_margin(image, landmarker)


def _detect_in_margin(image: np.ndarray, landmarker: FaceLandmarker) -> list[Face]:
    """Retry with a gray margin, for a face that fills the image."""
    padded, border = _pad(image)
    return [replace(face, points=face.points - border) for face in landmarker(padded)]


def _pad(image: np.ndarray) -> tuple[np.ndarray, int]:
    """Return an image with a gray margin, and the width of the margin in pixels."""
    border = max(image.shape[:2]) // 2
    return np.pad(image, ((border, border), (border, border), (0, 0)), constant_values=128), border
