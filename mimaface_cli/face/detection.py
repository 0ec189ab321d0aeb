"""Detection of all faces of an image: also of small ones, of those that fill it, and of turned ones."""

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
        faces = landmarker(image) or _detect_in_margin(image, landmarker)
        if faces:
            return faces
        detector = FaceDetector(asset)
        try:
            return [face for face, _ in detect_small_faces(image, detector, landmarker)]
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
    detector = FaceDetector()
    try:
        turns = find_turns(image, detector) or find_turns(_pad(image)[0], detector)
    finally:
        detector.close()
    faces = detect_faces(FaceView(turns).apply(image))
    return (turns, faces) if faces or not turns else (0, detect_faces(image))


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


def _detect_in_margin(image: np.ndarray, landmarker: FaceLandmarker) -> list[Face]:
    """Retry with a gray margin, for a face that fills the image."""
    padded, border = _pad(image)
    return [replace(face, points=face.points - border) for face in landmarker(padded)]


def _pad(image: np.ndarray) -> tuple[np.ndarray, int]:
    """Return an image with a gray margin, and the width of the margin in pixels."""
    border = max(image.shape[:2]) // 2
    return np.pad(image, ((border, border), (border, border), (0, 0)), constant_values=128), border
