"""The crop around a mouth, and the coefficients that the mouth network sees.

The crop is fixed to the skull, so that upper teeth rest in it.
"""

import numpy as np

from mimaface_cli.engines.mesh.face_part import FacePart, PointMap, crop_matrix
from mimaface_cli.engines.mesh.mouth import UNITS_PER_MM
from mimaface_cli.motion.coefficients import BLENDSHAPES

# Columns of the expression that move lips and jaw.
MOUTH_COLUMNS = np.array([k for k, name in enumerate(BLENDSHAPES) if name.startswith(("jaw", "mouth"))])
CONDITION_DIM = 2 * len(MOUTH_COLUMNS) + 4
CROP_WIDTH, CROP_HEIGHT = 192, 128  # pixels
MOUTH = FacePart(
    name="mouth478",
    noun="mouth",
    field="mouth",
    width=CROP_WIDTH,
    height=CROP_HEIGHT,
    width_mm=100.0,
    window_margin=12,
    condition_dim=CONDITION_DIM,
)
_BELOW_LIPS_MM = 12.0  # distance of the crop's middle below the line of the lips: room for the jaw


def mouth_crop_matrix(anchor: np.ndarray, pose: np.ndarray, to_image: PointMap) -> np.ndarray:
    """Return the (2, 3) similarity from the image to the mouth's crop, see `crop_matrix`.

    Args:
        anchor: (3,) middle of the lip line in the head's frame, as in `MouthLayers`.
        pose: (6,) pose of the head.
        to_image: Maps pixels (N, 2) of the 256 crop of the face to pixels of the image.
    """
    return crop_matrix(MOUTH, anchor - [0, _BELOW_LIPS_MM * UNITS_PER_MM, 0], pose, to_image)


def build_condition(
    expression: np.ndarray, pose: np.ndarray, photo_expression: np.ndarray, photo_pose: np.ndarray
) -> np.ndarray:
    """Collect the coefficients that the network sees.

    Args:
        expression: (64,) expression of the frame.
        pose: (6,) pose of the frame.
        photo_expression: (64,) expression of the photo.
        photo_pose: (6,) pose of the photo.

    Returns:
        (CONDITION_DIM,) float32: lips and jaw of the frame and of the photo; pitch and yaw of both in radians.
    """
    parts = expression[MOUTH_COLUMNS], photo_expression[MOUTH_COLUMNS], pose[:2], photo_pose[:2]
    return np.concatenate(parts).astype(np.float32)
