"""How far an object in front of a face continues below it: a microphone's stick, a cup's body."""

import cv2
import numpy as np

from mimaface_cli.face.face_outline import draw_face_hull, face_axes

_WORK_FACE = 96.0  # height of the face in pixels at which the colors are compared
_LEVEL = -0.25  # heights of the face above its center below which an object continues
_REACH = 1.0  # heights of the face that it continues beyond its known part
_TOLERANCE = 9.0  # gray levels between neighboring pixels, and three times that from the object's colors
_RIM = 0.1  # heights of the face: width of its rim
_STRICT_TOLERANCE = 15.0  # levels from the object's colors where it is known what is new
_MAX_GROWTH = 4.0  # area in areas of the known part beyond which the colors are those of the clothes


def continue_object(
    image: np.ndarray, points: np.ndarray, known: np.ndarray, is_new: np.ndarray | None = None
) -> np.ndarray:
    """Continue an object beside the face by its colors: downward, or, if it is known what is new, to all sides.

    Only what lies beside the face is added. Where clothes have the object's colors, nothing is.

    Args:
        image: (H, W, 3) uint8 RGB.
        points: (478, 2) landmarks of the face in pixels.
        known: (H, W) float32 confidence of the object.
        is_new: (H, W) bool, what has changed since the object came: only that is added.

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
    near = ~core & (distance < _REACH * height * scale)
    if is_new is None:
        near &= ~face & (above < _LEVEL)
        tolerance = 3 * _TOLERANCE
    else:  # the rim of the face is known less well
        rim = 2 * round(_RIM * height * scale) + 1
        near &= cv2.erode(face.astype(np.uint8), np.ones((rim, rim), np.uint8)) == 0
        near &= cv2.resize(is_new.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        tolerance = _STRICT_TOLERANCE
    similar = near & (_measure_difference(colors, core) < tolerance)
    grown = _flood(colors, core, similar)
    if grown.sum() > _MAX_GROWTH * core.sum():
        return known
    grown = cv2.morphologyEx(grown.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    soft = cv2.resize(grown.astype(np.float32), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.maximum(known, soft)


def _measure_difference(colors: np.ndarray, core: np.ndarray) -> np.ndarray:
    """Return how far each pixel (h, w) is from the nearest color in the inner part of the core, in levels."""
    inner = cv2.erode(core.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    samples = colors[inner if inner.any() else core].astype(np.float32)
    samples = samples[:: max(1, len(samples) // 60)]
    nearest = np.full(core.shape, np.inf, np.float32)
    for sample in samples:
        np.minimum(nearest, np.abs(colors - sample).max(2), out=nearest)
    return nearest


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
