"""Hand landmarks with MediaPipe's HandLandmarker, and the outline of a hand."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.errors import WeightsError
from mimaface_cli.face.landmarks import load_mediapipe, native_silence, resize_for_network, silence_first_call

LANDMARKS = 21
_MAX_HANDS = 4
_WRIST, _MIDDLE_KNUCKLE = 0, 9
_FINGERS = ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))
_PALM = (0, 1, 2, 5, 9, 13, 17)
# Radii of a finger from its base to its tip, as a share of the palm's size.
_RADII = (0.17, 0.15, 0.135, 0.115)
_PALM_MARGIN = 0.16  # of the palm's size


@dataclass(frozen=True)
class Hand:
    """One detected hand.

    Attributes:
        points: (21, 2) landmarks in pixels.
        score: Confidence of the detection, 0 to 1.
    """

    points: np.ndarray
    score: float

    @property
    def palm_size(self) -> float:
        """Size of the palm in pixels, also of one that is seen from the side."""
        length = float(np.linalg.norm(self.points[_MIDDLE_KNUCKLE] - self.points[_WRIST]))
        width = float(np.linalg.norm(self.points[5] - self.points[17]))
        return max(length, 1.25 * width)


class HandLandmarker:
    """MediaPipe's HandLandmarker for single images.

    Args:
        asset: The model file (.task).
    """

    def __init__(self, asset: Path) -> None:
        with native_silence():
            self._mediapipe, base_options, vision = load_mediapipe()
            self._landmarker = vision.HandLandmarker.create_from_options(
                vision.HandLandmarkerOptions(
                    # A buffer, because the native code cannot open every path that Python can.
                    base_options=base_options(model_asset_buffer=asset.read_bytes()),
                    running_mode=vision.RunningMode.IMAGE,
                    num_hands=_MAX_HANDS,
                )
            )
        self._detect = silence_first_call(self._landmarker.detect)

    def __call__(self, image: np.ndarray) -> list[Hand]:
        """Detect the hands of an image.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            The hands, with landmarks in pixels of the image.
        """
        height, width = image.shape[:2]
        network_image = self._mediapipe.Image(self._mediapipe.ImageFormat.SRGB, resize_for_network(image))
        result = self._detect(network_image)
        size = np.array([width, height], np.float64)
        return [
            Hand(np.array([(point.x, point.y) for point in landmarks]) * size, float(handedness[0].score))
            for landmarks, handedness in zip(result.hand_landmarks, result.handedness, strict=False)
        ]

    def close(self) -> None:
        """Release the native landmarker."""
        with native_silence():
            self._landmarker.close()


def locate_hand_model() -> Path | None:
    """Return the path of the installed hand model, or None."""
    from mimaface_cli.weights.locate import locate

    try:
        return locate("hand_landmarker", download=False)
    except WeightsError:
        return None


def draw_hand(hand: Hand, shape: tuple[int, int]) -> np.ndarray:
    """Draw the approximate outline of a hand: the palm, and fingers that get thinner toward their tips.

    Args:
        hand: The hand.
        shape: Height and width of the mask.

    Returns:
        (H, W) uint8 mask, 1 inside.
    """
    mask = np.zeros(shape, np.uint8)
    size, points = hand.palm_size, hand.points - 0.5
    palm = cv2.convexHull(np.round(points[list(_PALM)]).astype(np.int32))
    cv2.fillConvexPoly(mask, palm, (1,))
    cv2.polylines(mask, [palm], True, (1,), max(1, round(2 * _PALM_MARGIN * size)))
    for finger in _FINGERS:
        for k in range(len(finger) - 1):
            start, end = points[finger[k]], points[finger[k + 1]]
            steps = 6
            for step in range(steps + 1):
                share = step / steps
                radius = (1 - share) * _RADII[k] + share * _RADII[k + 1]
                center = start + share * (end - start)
                cv2.circle(mask, (round(center[0]), round(center[1])), max(1, round(radius * size)), (1,), -1)
    return mask
