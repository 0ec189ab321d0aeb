"""Measures of the quality benchmark: the turn of a head, the sharpness of a face."""

import cv2
import numpy as np

from mimaface_cli.evaluation.functional.motion_distance import rotation_angles


def rotation_error(driver: np.ndarray, result: np.ndarray, reference: int) -> tuple[float, float]:
    """Compare how two heads turn away from a reference frame.

    Args:
        driver: Rotations (N, 3, 3).
        result: Rotations (N, 3, 3).
        reference: Index of the frame from which turns are counted.

    Returns:
        Mean angle in degrees between both turns, and the driver's mean turn in degrees.
    """
    driver_turn, result_turn = (rotations @ rotations[reference].T for rotations in (driver, result))
    driver_angles = rotation_angles(driver_turn, np.broadcast_to(np.eye(3), driver_turn.shape))
    return float(rotation_angles(driver_turn, result_turn).mean()), float(driver_angles.mean())


def sharpness(image: np.ndarray, box: np.ndarray, side: int = 256) -> float:
    """Return the variance of the Laplacian over a face that is scaled to a common size.

    Args:
        image: H×W×3 uint8 RGB.
        box: Left, top, right, bottom of the face in pixels.
        side: Pixels to which both sides of the box are scaled.
    """
    left, top, right, bottom = box
    x, y = side / (right - left), side / (bottom - top)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if x < 1:
        gray = cv2.GaussianBlur(gray, (0, 0), 0.4 / x)
    crop = cv2.warpAffine(gray, np.array([[x, 0, -left * x], [0, y, -top * y]]), (side, side))
    return float(cv2.Laplacian(crop, cv2.CV_64F).var())
