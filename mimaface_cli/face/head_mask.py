"""Person mask from the landmarks of a face alone: a head with hair and shoulders, fitted to the colors by GrabCut.

Source: Rother et al., "GrabCut", SIGGRAPH 2004; the color models and the cut are OpenCV's.
"""

import cv2
import numpy as np

from mimaface_cli.face import topology

_WORK_FACE = 56.0  # height of the face in pixels at which GrabCut runs
_WORK_SIDE = 320  # longest side of the image at which GrabCut runs
_ITERATIONS = 4
_SEED = 7


def face_axes(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the center of a face, its upward direction in the image, and its height.

    Args:
        points: (478, 2) landmarks in pixels.

    Returns:
        Center (2,), unit vector (2,) from the chin to the forehead, and the height from chin to hair line in pixels.
        The height does not shrink when the head nods: the face is at least 0.9 times as high as it is wide.
    """
    top, chin = points[topology.OVAL[0]].astype(np.float64), points[topology.CHIN].astype(np.float64)
    length = float(np.linalg.norm(top - chin))
    up = (top - chin) / length if length > 1e-6 else np.array([0.0, -1.0])
    across = points[topology.OVAL] @ np.array([-up[1], up[0]])
    height = max(length, 0.9 * float(np.ptp(across)), 1.0)
    return (top + chin) / 2, up, height


def draw_face_hull(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a (H, W) bool mask of the convex hull of a face's landmarks."""
    mask = np.zeros(shape, np.uint8)
    hull = cv2.convexHull(np.round(points - 0.5).astype(np.int32))
    cv2.fillConvexPoly(mask, hull, (1,))
    return mask.astype(bool)


def draw_skull(points: np.ndarray, shape: tuple[int, int], growth: float = 0.0) -> np.ndarray:
    """Return a (H, W) bool mask of an ellipse around head and hair, with the face's hull.

    Args:
        points: (478, 2) landmarks in pixels.
        shape: Height and width of the mask.
        growth: Enlargement of the ellipse, in heights of the face.
    """
    center, up, height = face_axes(points)
    angle = float(np.degrees(np.arctan2(up[0], -up[1])))
    middle = center + 0.14 * height * up - 0.5
    axes = 2 * (0.56 + growth) * height, 2 * (0.72 + growth) * height
    mask = draw_face_hull(points, shape).astype(np.uint8)
    cv2.ellipse(mask, (tuple(map(float, middle)), tuple(map(float, axes)), angle), (1,), -1)
    return mask.astype(bool)


def draw_head(points: np.ndarray, shape: tuple[int, int], growth: float = 0.0) -> np.ndarray:
    """Return a (H, W) bool mask of a head with hair, a neck and shoulders around a face.

    Args:
        points: (478, 2) landmarks in pixels.
        shape: Height and width of the mask.
        growth: Enlargement of the outline, in heights of the face.
    """
    center, up, height = face_axes(points)
    right = np.array([-up[1], up[0]])
    mask = draw_skull(points, shape, growth).astype(np.uint8)
    # (sideways, upward) corners in heights of the face: neck, shoulders, and the body to below the image.
    corners = np.array([(0.3, -0.2), (0.34, -0.62), (1.05, -0.95), (1.25, -1.5), (1.25, -20.0)])
    corners += growth
    left_side = center + height * (corners * [-1, 1]) @ np.stack([right, up])
    right_side = center + height * corners @ np.stack([right, up])
    body = np.concatenate([left_side, right_side[::-1]])
    cv2.fillPoly(mask, [np.round(body - 0.5).astype(np.int32)], (1,))
    return mask.astype(bool)


def segment_by_head(image: np.ndarray, points: np.ndarray, *, is_fast: bool = False) -> np.ndarray:
    """Segment the person of a face without a network.

    Args:
        image: (H, W, 3) uint8 RGB.
        points: (478, 2) landmarks of the face in pixels.
        is_fast: Whether to run at half the resolution with one iteration, for video.

    Returns:
        (H, W) float32 confidence in 0..1.
    """
    height, width = image.shape[:2]
    face_height = face_axes(points)[2]
    scale = min(1.0, _WORK_FACE / face_height, _WORK_SIDE / max(height, width))
    scale = max(scale, min(1.0, 64 / max(height, width)))
    if is_fast:
        scale /= 2
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    labels = _initial_labels(points * scale, small.shape[:2])
    mask = _cut(small, labels, 1 if is_fast else _ITERATIONS)
    confidence = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0)
    return np.clip(cv2.resize(confidence, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)


def _initial_labels(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return GrabCut's labels: the face is person, the surroundings of head and shoulders may be either."""
    labels = np.full(shape, cv2.GC_BGD, np.uint8)
    labels[draw_head(points, shape, 0.45)] = cv2.GC_PR_BGD
    labels[draw_head(points, shape)] = cv2.GC_PR_FGD
    labels[draw_skull(points, shape, -0.14)] = cv2.GC_FGD  # the bald head
    return labels


def _cut(image: np.ndarray, labels: np.ndarray, iterations: int) -> np.ndarray:
    """Run GrabCut; return the bool mask of the component of the face."""
    face = labels == cv2.GC_FGD
    probable = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    # GrabCut fits five colors to each side and refuses a side with fewer pixels.
    if probable.sum() < 8 or (~probable).sum() < 8:
        return probable
    cv2.setRNGSeed(_SEED)  # the color models start from k-means with random centers
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cut = labels.copy()
    try:
        cv2.grabCut(image, cut, None, *models, iterations, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    except cv2.error:
        return probable
    mask = (cut == cv2.GC_FGD) | (cut == cv2.GC_PR_FGD)
    head = probable.sum()
    if not 0.4 * head < mask.sum() < 2.5 * head:  # the colors of person and background do not differ
        mask = probable
    _, components = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    labels_of_face = np.unique(components[face & mask])
    return np.isin(components, labels_of_face[labels_of_face > 0]) | face
