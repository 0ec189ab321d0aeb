"""Measures of the quality benchmark: geometry of the face, turns of the head, sharpness, jitter, background.

Geometry is measured on the 478 landmarks of MediaPipe, relative to the distance of the eyes' outer corners. It is
preferred to blendshape scores, which the landmark model compresses on bearded, bespectacled or painted faces.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from mimaface_cli.evaluation.functional.image_quality import SSIM_WINDOW, psnr, ssim
from mimaface_cli.evaluation.functional.motion_distance import rotation_angles
from mimaface_cli.face.landmarks import Face

OUTER_EYE_CORNERS = (33, 263)
INNER_LIPS = (13, 14)  # middle of the upper and of the lower inner lip
LIDS = ((159, 145), (386, 374))  # upper and lower lid of both eyes
IRISES = ((33, 133, 468), (362, 263, 473))  # two corners and the center of the iris of both eyes
MOUTH_OUTLINE = (61, 291, 0, 17, 13, 14)  # corners, outer lips, inner lips
MOUTH_MARGIN = 0.15  # relative to the distance of the eyes

# A driver whose measure has a smaller standard deviation over time does not move it.
MIN_DEVIATION = {"gap": 0.01, "lid": 0.01, "iris": 0.02}
MASK_LEVEL = 0.1  # a pixel with a smaller confidence of the segmentation belongs to the background
MASK_MARGIN = 0.02  # of the longest side by which the person's mask grows: soft hair ends there


def eye_distance(points: np.ndarray) -> np.ndarray:
    """Return the distance (N) of the outer eye corners of landmarks (N, 478, 2)."""
    first, second = OUTER_EYE_CORNERS
    return np.linalg.norm(points[:, first] - points[:, second], axis=-1)


def measure_geometry(points: np.ndarray) -> dict[str, np.ndarray]:
    """Measure how far lips and lids are apart and where the irises are.

    Args:
        points: (N, 478, 2) landmarks in pixels.

    Returns:
        Arrays (N): "gap" and "lid" (sum of both eyes) relative to the eye distance, and "iris", the mean place of the
        irises between the corners of their eyes, 0 to 1.
    """
    scale = eye_distance(points)
    lids = sum(np.linalg.norm(points[:, upper] - points[:, lower], axis=-1) for upper, lower in LIDS)
    places = []
    for first, second, center in IRISES:
        axis = points[:, second] - points[:, first]
        places.append(((points[:, center] - points[:, first]) * axis).sum(-1) / (axis**2).sum(-1))
    upper_lip, lower_lip = INNER_LIPS
    gap = np.linalg.norm(points[:, upper_lip] - points[:, lower_lip], axis=-1)
    return {"gap": gap / scale, "lid": lids / scale, "iris": np.mean(places, axis=0)}


def compare_geometry(driver: np.ndarray, result: np.ndarray) -> dict[str, float]:
    """Compare how the geometry of two faces changes over time.

    Args:
        driver: (N, 478, 2) landmarks.
        result: (N, 478, 2) landmarks.

    Returns:
        For each measure that moves in the driver, its correlation ("gap") and gain ("gap gain").
    """
    values = {}
    driver_geometry, result_geometry = measure_geometry(driver), measure_geometry(result)
    for name, least in MIN_DEVIATION.items():
        if driver_geometry[name].std() > least:
            correlation, gain = fit_line(driver_geometry[name], result_geometry[name])
            values[name], values[name + " gain"] = correlation, gain
    return values


def fit_line(driver: np.ndarray, result: np.ndarray) -> tuple[float, float]:
    """Return the correlation of two series (N), and the slope of the second over the first (least squares)."""
    first, second = driver - driver.mean(), result - result.mean()
    product = float((first * second).mean())
    return product / max(float(first.std() * second.std()), 1e-12), product / max(float(first.var()), 1e-12)


def rotation_error(driver: np.ndarray, result: np.ndarray, reference: int = 0) -> tuple[float, float]:
    """Compare how two heads turn away from a frame.

    Args:
        driver: Rotations (N, 3, 3); scale is ignored.
        result: Rotations (N, 3, 3); scale is ignored.
        reference: Index of the frame from which turns are counted.

    Returns:
        Mean angle in degrees between both turns, and the driver's largest turn in degrees.
    """
    driver, result = _remove_scale(driver), _remove_scale(result)
    driver_turn, result_turn = (rotations @ rotations[reference].T for rotations in (driver, result))
    driver_angles = rotation_angles(driver_turn, np.broadcast_to(np.eye(3), driver_turn.shape))
    return float(rotation_angles(driver_turn, result_turn).mean()), float(driver_angles.max())


def _remove_scale(matrices: np.ndarray) -> np.ndarray:
    """Return the rotations (N, 3, 3) nearest to matrices."""
    left, _, right = np.linalg.svd(matrices)
    return left @ right


def measure_jitter(faces: Sequence[Face | None]) -> float:
    """Return the mean second difference of landmarks over time, in widths of the face.

    Args:
        faces: Face of each frame, or None. Only frames between two neighbors with a face count.

    Returns:
        The mean over frames, landmarks and axes; NaN where no three frames in a row show the face.
    """
    values = []
    for before, face, after in zip(faces, faces[1:], faces[2:], strict=False):
        if before is not None and face is not None and after is not None:
            second_difference = before.points - 2 * face.points + after.points
            values.append(np.abs(second_difference).mean() / np.ptp(face.points[:, 0]))
    return float(np.mean(values)) if values else np.nan


def measure_background(photo: np.ndarray, result: np.ndarray, persons: Sequence[np.ndarray]) -> float:
    """Return the share of background pixels that differ from the photo.

    Args:
        photo: (H, W, 3) uint8.
        result: (H, W, 3) uint8.
        persons: Confidences (H, W), 0 to 1, that a pixel shows the person, in the photo and in the result.

    Returns:
        0 to 1; NaN if the person covers everything.
    """
    person = np.any([confidence > MASK_LEVEL for confidence in persons], axis=0)
    radius = max(1, round(MASK_MARGIN * max(person.shape)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    background = cv2.dilate(person.astype(np.uint8), kernel) == 0
    return float((photo != result).any(-1)[background].mean()) if background.any() else np.nan


def compare_images(result: np.ndarray, truth: np.ndarray, points: np.ndarray) -> dict[str, tuple[float, float]]:
    """Compare a frame with the true one.

    Args:
        result: (H, W, 3) uint8 RGB.
        truth: (H, W, 3) uint8 RGB.
        points: (478, 2) landmarks of the true frame, in pixels.

    Returns:
        PSNR in dB and SSIM of the "whole" frame, of the box of the "face" and of that of the "mouth". Boxes that are
        too small for SSIM are absent.
    """
    margin = MOUTH_MARGIN * float(eye_distance(points[None])[0])
    boxes = {
        "whole": np.s_[:, :],
        "face": landmark_box(points, 0.0, truth.shape),
        "mouth": landmark_box(points[list(MOUTH_OUTLINE)], margin, truth.shape),
    }
    values = {}
    for name, box in boxes.items():
        first, second = np.ascontiguousarray(result[box]), np.ascontiguousarray(truth[box])
        if min(first.shape[:2]) >= SSIM_WINDOW:
            values[name] = psnr(first, second), ssim(first, second)
    return values


def landmark_box(points: np.ndarray, margin: float, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return rows and columns of the box around points (N, 2), within an image."""
    left, top = np.maximum(points.min(0) - margin, 0).astype(int)
    right, bottom = (points.max(0) + margin).astype(int) + 1
    return slice(top, min(bottom, shape[0])), slice(left, min(right, shape[1]))


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
