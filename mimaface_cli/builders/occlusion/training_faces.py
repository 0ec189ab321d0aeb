"""Faces, textures and hands for the training of the occlusion network, cut from a folder of photos."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.errors import InputError, MimafaceError
from mimaface_cli.face.face_outline import draw_face_hull, face_axes
from mimaface_cli.face.hands import Hand, HandLandmarker, draw_hand, locate_hand_model
from mimaface_cli.face.landmarks import FaceLandmarker, locate_landmark_model
from mimaface_cli.media.image import read_image

SIDE = 160  # pixels of a stored crop
SCALE = 2.0  # its side, in heights of the face
MAX_SIDE = 640  # larger photos are reduced
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_MIN_HAND_SCORE = 0.85


@dataclass(frozen=True)
class TrainingFace:
    """A face without occlusion.

    Attributes:
        colors: (160, 160, 3) uint8 RGB, an upright crop around the face.
        points: (478, 2) landmarks in its pixels.
        photo: (128, 128, 3) uint8 RGB, the whole photo reduced, a source of textures.
    """

    colors: np.ndarray
    points: np.ndarray
    photo: np.ndarray


@dataclass(frozen=True)
class TrainingData:
    """A training set.

    Attributes:
        faces: Faces without occlusion.
        hands: Hands, (h, w, 4) uint8 RGBA.
    """

    faces: list[TrainingFace]
    hands: list[np.ndarray]


def find_photos(folder: Path) -> list[Path]:
    """Return the photos in a folder and its subfolders, sorted."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise InputError(f"{folder}: contains no photos. Add photos that show a face.")
    return paths


def read_training_data(paths: list[Path], progress: Callable[[int, int], None]) -> TrainingData:
    """Detect faces and hands in photos. Faces with a hand in front are left out.

    Args:
        paths: The photos.
        progress: Is called with the number of photos that are done and their total number.
    """
    hand_model = locate_hand_model()
    data = TrainingData([], [])
    with ExitStack() as stack:
        landmarker = stack.enter_context(closing(FaceLandmarker(locate_landmark_model(), is_video=False, max_faces=2)))
        hand_landmarker = stack.enter_context(closing(HandLandmarker(hand_model))) if hand_model else None
        for done, path in enumerate(paths):
            progress(done, len(paths))
            try:
                image = _reduce(read_image(path).rgb)
            except MimafaceError:
                continue
            hands = hand_landmarker(image) if hand_landmarker else []
            hands = [hand for hand in hands if hand.score > _MIN_HAND_SCORE]
            data.hands.extend(cutout for cutout in (_cut_hand(image, hand) for hand in hands) if cutout is not None)
            faces = landmarker(image)
            if faces:
                points = max(faces, key=lambda face: face.size).points
                hull = draw_face_hull(points, image.shape[:2])
                if not any((draw_hand(hand, hull.shape) > 0)[hull].any() for hand in hands):
                    data.faces.append(_cut_face(image, points))
    return data


def _reduce(image: np.ndarray) -> np.ndarray:
    scale = min(1.0, MAX_SIDE / max(image.shape[:2]))
    if scale == 1:
        return image
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _cut_face(image: np.ndarray, points: np.ndarray) -> TrainingFace:
    center, up, height = face_axes(points)
    scale = SIDE / (SCALE * height)
    rotation = scale * np.array([[-up[1], up[0]], [-up[0], -up[1]]])
    matrix = np.concatenate([rotation, (SIDE / 2 - rotation @ center)[:, None]], 1)
    colors = cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT_101)
    photo = cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA)
    return TrainingFace(colors, points @ rotation.T + matrix[:, 2], photo)


def _cut_hand(image: np.ndarray, hand: Hand) -> np.ndarray | None:
    """Cut a hand from a photo; None for one that is small or cut by the border."""
    height, width = image.shape[:2]
    low, high = hand.points.min(0), hand.points.max(0)
    if hand.palm_size < 20 or (low < 0).any() or (high > [width, height]).any():
        return None
    mask = cv2.erode(draw_hand(hand, (height, width)), np.ones((3, 3), np.uint8))
    left, top, box_width, box_height = cv2.boundingRect(mask)
    box = np.s_[top : top + box_height, left : left + box_width]
    return np.dstack([image[box], mask[box] * 255])
