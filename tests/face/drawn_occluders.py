"""Things drawn in front of a face: a microphone and a worn mask."""

import cv2
import numpy as np

from mimaface_cli.face.face_outline import face_axes

_MASK = [132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 347, 197, 118]


def draw_microphone(image: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw a dark gray microphone in front of the mouth; return the image and the mask (H, W) bool."""
    _, up, height = face_axes(points)
    mask = np.zeros(image.shape[:2], np.uint8)
    mouth = points[13] - 0.06 * height * up
    cv2.circle(mask, tuple(int(v) for v in mouth), int(0.16 * height), (1,), -1)
    end = mouth - 1.2 * height * up
    cv2.line(mask, tuple(int(v) for v in mouth), tuple(int(v) for v in end), (1,), int(0.13 * height))
    return _lay_over(image, mask, (52, 52, 56)), mask > 0


def draw_worn_mask(image: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw a pale blue surgical mask; return the image and the mask (H, W) bool."""
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(mask, [points[_MASK].astype(np.int32)], (1,))
    return _lay_over(image, mask, (170, 200, 215)), mask > 0


def _lay_over(image: np.ndarray, mask: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    alpha = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0)[..., None]
    noise = np.random.default_rng(0).normal(0, 4, image.shape)
    return np.clip(image + alpha * (np.array(color) + noise - image), 0, 255).astype(np.uint8)
