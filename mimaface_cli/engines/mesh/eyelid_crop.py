"""The crop around an eye, and what the eyelid network sees beside it.

The crop is fixed to the skull. That of the right eye is mirrored, so that the network sees left eyes alone.
"""

import numpy as np

from mimaface_cli.engines.mesh.face_part import FacePart, PointMap, crop_matrix
from mimaface_cli.engines.mesh.mouth import UNITS_PER_MM
from mimaface_cli.motion.coefficients import BLENDSHAPES

_COLUMN_STEMS = ("browDown", "browOuterUp", "cheekSquint", "eyeSquint")


def _select_columns(side: str) -> np.ndarray:
    names = [f"{stem}{side.capitalize()}" for stem in _COLUMN_STEMS]
    return np.array([BLENDSHAPES.index(name) for name in ("browInnerUp", *names)])


# Columns of the expression that move brow and cheek of each side.
EYE_COLUMNS = {side: _select_columns(side) for side in ("left", "right")}
EYELID = FacePart(
    name="eyelid478",
    noun="eyelid",
    field="eyes",
    width=96,
    height=64,
    width_mm=48.0,
    window_margin=8,
    condition_dim=2 * len(EYE_COLUMNS["left"]) + 6,
)
_FRONT_MM = 12.0  # distance of the lids from the center of the eyeball
_OPENING_SCALE = 10.0  # of openings in the condition, so that they are about as large as the other figures


def eyelid_crop_matrix(side: str, ball: np.ndarray, pose: np.ndarray, to_image: PointMap) -> np.ndarray:
    """Return the (2, 3) similarity from the image to the crop of an eye; for the right eye, with a reflection.

    Args:
        side: "left" or "right".
        ball: (3,) center of the eyeball in the head's frame.
        pose: (6,) pose of the head.
        to_image: Maps pixels (N, 2) of the 256 crop of the face to pixels of the image.
    """
    matrix = crop_matrix(EYELID, ball + np.array([0, 0, _FRONT_MM * UNITS_PER_MM]), pose, to_image)
    if side == "right":
        matrix[0] *= -1
        matrix[0, 2] += EYELID.width
    return matrix


def measure_crop_opening(ring: np.ndarray, matrix: np.ndarray) -> float:
    """Measure the mean height of the middle third of an eye's opening, in widths of the crop.

    Args:
        ring: (K, 2) rim of the lids in pixels of the image: lower half first, corner to corner.
        matrix: (2, 3) as from `eyelid_crop_matrix`.
    """
    half = len(ring) // 2
    rows = ring @ matrix[1, :2] + matrix[1, 2]
    third = np.arange(half // 3, half - half // 3 + 1)
    heights = rows[third] - rows[(2 * half - third) % len(ring)]
    return max(float(heights.mean()), 0.0) / EYELID.width


def build_eyelid_condition(
    side: str,
    openings: tuple[float, float],
    expressions: tuple[np.ndarray, np.ndarray],
    poses: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Collect the figures that the network sees.

    Args:
        side: "left" or "right".
        openings: Heights of the openings of frame and photo, see `measure_crop_opening`.
        expressions: (64,) expressions of frame and photo.
        poses: (6,) poses of frame and photo.

    Returns:
        (EYELID.condition_dim,) float32: brow and cheek of frame and photo, openings relative to 10 % of the crop's
        width, pitch and yaw of both in radians; yaw as of a left eye.
    """
    sign = np.array([1.0, -1.0 if side == "right" else 1.0])
    columns = [expression[EYE_COLUMNS[side]] for expression in expressions]
    turns = [pose[:2] * sign for pose in poses]
    return np.concatenate([*columns, _OPENING_SCALE * np.array(openings), *turns]).astype(np.float32)


def read_openings(condition: np.ndarray) -> tuple[float, float]:
    """Return the heights of the openings of frame and photo in a condition, see `build_eyelid_condition`."""
    start = 2 * len(EYE_COLUMNS["left"])
    return float(condition[start] / _OPENING_SCALE), float(condition[start + 1] / _OPENING_SCALE)
