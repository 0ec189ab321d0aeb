"""Person mask from the landmarks of a face alone: a head with hair and shoulders, fitted to the colors by GrabCut.

Source: Rother et al., "GrabCut", SIGGRAPH 2004; the color models and the cut are OpenCV's.
"""

import cv2
import numpy as np

from mimaface_cli.face.face_outline import draw_head, draw_skull, face_axes

_WORK_FACE = 56.0  # height of the face in pixels at which GrabCut runs
_WORK_SIDE = 320  # longest side of the image at which GrabCut runs
_ITERATIONS = 4
_SEED = 7


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
