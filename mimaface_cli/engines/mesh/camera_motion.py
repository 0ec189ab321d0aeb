"""Motion of the camera between two frames, from background features that are tracked at low resolution."""

from dataclasses import dataclass

import cv2
import numpy as np

# Longest side (pixels) at which features are tracked.
_SIDE = 480
_MAX_FEATURES = 160
_MIN_FEATURES = 12
# Share of the tracked features that have to follow one homography or similarity.
_MIN_INLIERS = 0.6
# Distance (pixels at low resolution) up to which a feature counts as following the motion.
_TOLERANCE = 1.0
# Mean difference (gray levels) up to which two backgrounds are the same.
_EQUAL_LEVELS = 1.5


@dataclass(frozen=True)
class View:
    """A frame at low resolution, to compare with others.

    Attributes:
        gray: (h, w) uint8.
        known: (h, w) bool, background.
        scale: Size relative to the frame.
        features: (K, 1, 2) float32, pixels of `gray`.
    """

    gray: np.ndarray
    known: np.ndarray
    scale: float
    features: np.ndarray


def make_view(image: np.ndarray, hole: np.ndarray) -> View:
    """Shrink a frame and find features of its background.

    Args:
        image: (H, W, 3) uint8 RGB.
        hole: (H, W) bool, the person and its soft rim.
    """
    height, width = hole.shape
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    gray = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    known = cv2.resize(hole.astype(np.uint8), size, interpolation=cv2.INTER_AREA) == 0
    inner = cv2.erode(known.astype(np.uint8), np.ones((9, 9), np.uint8))
    corners = cv2.goodFeaturesToTrack(gray, _MAX_FEATURES, 0.01, 8, mask=inner)
    return View(gray, known, scale, np.zeros((0, 1, 2), np.float32) if corners is None else corners)


def _track(first: View, second: View) -> tuple[np.ndarray, np.ndarray]:
    """Track the features of a view in another one, forward and backward; return both places, (K, 2)."""
    if first.gray.shape != second.gray.shape or not len(first.features):
        return np.zeros((0, 2)), np.zeros((0, 2))
    places, status, _ = cv2.calcOpticalFlowPyrLK(
        first.gray, second.gray, first.features, first.features.copy(), winSize=(15, 15), maxLevel=4
    )
    returned, back_status, _ = cv2.calcOpticalFlowPyrLK(
        second.gray, first.gray, places, places.copy(), winSize=(15, 15), maxLevel=4
    )
    error = np.linalg.norm((returned - first.features)[:, 0], axis=1)
    rows, columns = np.rint(places[:, 0, 1]).astype(int), np.rint(places[:, 0, 0]).astype(int)
    height, width = second.known.shape
    is_inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    is_known = second.known[rows.clip(0, height - 1), columns.clip(0, width - 1)]
    good = (status[:, 0] == 1) & (back_status[:, 0] == 1) & (error < 0.5) & is_inside & is_known
    return first.features[good, 0], places[good, 0]


def _are_equal(first: View, second: View) -> bool:
    """Return whether two backgrounds are the same but for brightness and noise."""
    both = first.known & second.known
    if not both.any():
        return False
    blurred = [cv2.blur(view.gray, (3, 3)).astype(np.float32) for view in (first, second)]
    change = blurred[1][both] - blurred[0][both]
    return bool(np.abs(change - np.median(change)).mean() < _EQUAL_LEVELS)


def estimate_motion(first: View, second: View) -> np.ndarray | None:
    """Return the homography from the pixels of one frame to those of another, or None if it is not reliable.

    Backgrounds without features show no motion; the result is the identity.

    Args:
        first: View of the frame to map from.
        second: View of the frame to map to.

    Returns:
        (3, 3) float64, for pixel indices of the full frames.
    """
    if first.gray.shape != second.gray.shape:
        return None
    if len(first.features) < _MIN_FEATURES or _are_equal(first, second):
        return np.eye(3)
    sources, places = _track(first, second)
    if len(sources) < _MIN_FEATURES:
        return None
    cv2.setRNGSeed(1)
    motion, inliers = cv2.estimateAffinePartial2D(sources, places, ransacReprojThreshold=_TOLERANCE)
    if motion is None or inliers.mean() < _MIN_INLIERS:
        return None
    scale = np.diag([first.scale, first.scale, 1.0])
    shift = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    small = np.vstack([motion, [0, 0, 1]])
    # Pixel centers: index + 0.5 is a place in the image, whatever its resolution.
    full = np.linalg.inv(scale) @ shift @ small @ np.linalg.inv(shift) @ scale
    return np.linalg.inv(shift) @ full @ shift


def largest_displacement(motion: np.ndarray, height: int, width: int) -> float:
    """Return the largest movement of a frame's corners under a homography, as a share of the longer side."""
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], float)
    moved = corners @ motion.T
    return float(np.linalg.norm(moved[:, :2] / moved[:, 2:] - corners[:, :2], axis=1).max() / max(height, width))
