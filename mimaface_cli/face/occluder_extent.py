"""How far an object in front of a face continues below it: a microphone's stick, a cup's body."""

import cv2
import numpy as np

from mimaface_cli.face.face_outline import draw_face_hull, face_axes

_WORK_FACE = 96.0  # height of the face in pixels at which the colors are compared
_LEVEL = -0.25  # heights of the face above its center below which an object continues
_REACH = 1.0  # heights of the face that it continues beyond its known part
_TOLERANCE = 9.0  # gray levels between neighboring pixels, and three times that from the object's colors
_MAX_GROWTH = 4.0  # area in areas of the known part beyond which the colors are those of the clothes


def continue_object(image: np.ndarray, points: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Continue an object downward from the face by its colors.

    Only what lies beside the face is added. Where clothes have the object's colors, nothing is.

    Args:
        image: (H, W, 3) uint8 RGB.
        points: (478, 2) landmarks of the face in pixels.
        known: (H, W) float32 confidence of the object.

    Returns:
        (H, W) float32 confidence, at least `known`.
    """
    center, up, height = face_axes(points)
    scale = min(1.0, _WORK_FACE / height)
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    colors = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2LAB)
    core = cv2.resize(known, size, interpolation=cv2.INTER_AREA) > 0.5
    if not core.any():
        return known
    face = draw_face_hull(points * scale, core.shape)
    rows, columns = np.indices(core.shape)
    above = ((columns + 0.5 - center[0] * scale) * up[0] + (rows + 0.5 - center[1] * scale) * up[1]) / (height * scale)
    distance = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, 3)
    near = (above < _LEVEL) & ~face & (distance < _REACH * height * scale)
    similar = near & _has_colors(colors, core) & ~core
    grown = _flood(colors, core, similar)
    if grown.sum() > _MAX_GROWTH * core.sum():
        return known
    grown = cv2.morphologyEx(grown.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    soft = cv2.resize(grown.astype(np.float32), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.maximum(known, soft)


def _has_colors(colors: np.ndarray, core: np.ndarray) -> np.ndarray:
    """Return the pixels (h, w) bool whose colors occur in the inner part of the core."""
    inner = cv2.erode(core.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    samples = colors[inner if inner.any() else core].astype(np.float32)
    samples = samples[:: max(1, len(samples) // 60)]
    nearest = np.full(core.shape, np.inf, np.float32)
    for sample in samples:
        np.minimum(nearest, np.abs(colors - sample).max(2), out=nearest)
    return nearest < 3 * _TOLERANCE


def _flood(colors: np.ndarray, core: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Grow the core into the allowed pixels, from neighbor to neighbor of similar color."""
    values = colors.astype(np.float32)
    grown = core.copy()
    while True:
        before = int(grown.sum())
        for axis in (0, 1):
            for step in (-1, 1):
                neighbor = np.roll(grown, step, axis)
                change = np.abs(values - np.roll(values, step, axis)).max(2)
                grown |= neighbor & allowed & (change < _TOLERANCE)
        if int(grown.sum()) == before:
            return grown
