"""The crop around a mouth that the mouth network sees and returns, and everything else that it sees.

The crop is fixed to the skull: it follows the pose of the head and nothing else, so that upper teeth rest in it.
"""

from collections.abc import Callable

import cv2
import numpy as np

from mimaface_cli.engines.mesh.image_patch import SUBPIXEL_BITS, to_subpixels
from mimaface_cli.engines.mesh.mouth import UNITS_PER_MM
from mimaface_cli.face import camera
from mimaface_cli.motion.coefficients import BLENDSHAPES
from mimaface_cli.motion.easing import smoothstep
from mimaface_cli.motion.rotation import rotation_matrix

CROP_WIDTH, CROP_HEIGHT = 192, 128  # pixels
PLANES = 8  # colors and opening of the frame, then of the photo
# Columns of the expression that move lips and jaw.
MOUTH_COLUMNS = np.array([k for k, name in enumerate(BLENDSHAPES) if name.startswith(("jaw", "mouth"))])
CONDITION_DIM = 2 * len(MOUTH_COLUMNS) + 4
_WIDTH_MM = 100.0  # width of the crop on the face
_BELOW_LIPS_MM = 12.0  # distance of the crop's middle below the line of the lips: room for the jaw
_BLUR_BELOW = 0.75  # scale below which sampling alone would skip pixels
_WINDOW_MARGIN = 12  # pixels at the crop's border in which changes fade out
_MARGIN = 4  # pixels read around the crop, for interpolation

PointMap = Callable[[np.ndarray], np.ndarray]


def mouth_crop_matrix(anchor: np.ndarray, pose: np.ndarray, to_image: PointMap) -> np.ndarray:
    """Return the similarity from the image to the mouth's crop.

    Args:
        anchor: (3,) middle of the lip line in the head's frame, as in `MouthLayers`.
        pose: (6,) pose of the head.
        to_image: Maps pixels (N, 2) of the 256 crop of the face to pixels of the image.

    Returns:
        (2, 3) matrix; pixel centers lie at i + 0.5 in image and crop.
    """
    rotation = rotation_matrix(pose[:3])
    center = rotation @ (anchor - [0, _BELOW_LIPS_MM * UNITS_PER_MM, 0]) + pose[3:]
    up = np.array([rotation[0, 1], rotation[1, 1], 0.0])  # in the plane of the image
    up *= UNITS_PER_MM * _WIDTH_MM / max(float(np.linalg.norm(up)), 1e-6)
    middle, above = to_image(camera.project(np.stack([center, center + up]))[0])
    axis = above - middle  # length: the crop's width
    scale = CROP_WIDTH / max(float(axis @ axis), 1e-6)
    linear = scale * np.array([[-axis[1], axis[0]], [-axis[0], -axis[1]]])
    shift = np.array([CROP_WIDTH, CROP_HEIGHT]) / 2 - linear @ middle
    return np.concatenate([linear, shift[:, None]], 1)


def matrix_scale(matrix: np.ndarray) -> float:
    """Return the crop's pixels per pixel of the image."""
    return float(np.hypot(matrix[0, 0], matrix[1, 0]))


def crop_mouth(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Sample the mouth's crop from an image; its edge pixels repeat beyond it.

    Args:
        image: (H, W, 3) RGB, uint8 or float32 of 0 to 255.
        matrix: (2, 3) as from `mouth_crop_matrix`.

    Returns:
        (128, 192, 3) float32, 0 to 255.
    """
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0], [CROP_WIDTH, 0], [0, CROP_HEIGHT], [CROP_WIDTH, CROP_HEIGHT]])
    corners = corners @ inverse[:, :2].T + inverse[:, 2]
    scale = matrix_scale(matrix)
    margin = int(_MARGIN + 2 / scale)
    limit = image.shape[1::-1]
    low = np.clip(np.floor(corners.min(0)).astype(int) - margin, 0, np.array(limit) - 1)
    high = np.clip(np.ceil(corners.max(0)).astype(int) + margin, low + 1, limit)
    region: np.ndarray = image[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    if scale < _BLUR_BELOW:
        region = cv2.GaussianBlur(region, (0, 0), 0.4 / scale, borderType=cv2.BORDER_REPLICATE)
    size = CROP_WIDTH, CROP_HEIGHT
    return cv2.warpAffine(
        region, shift_matrix(matrix, low), size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def shift_matrix(matrix: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Return a crop's matrix for OpenCV, which has pixel centers at integers, and for a part of the image.

    Args:
        matrix: (2, 3) as from `mouth_crop_matrix`.
        corner: (x, y) of the part's top left pixel.
    """
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ (np.asarray(corner) + 0.5) - 0.5
    return shifted


def draw_opening(ring: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Draw the opening of the lips into the crop.

    Args:
        ring: (K, 2) inner lips in pixels of the image.
        matrix: (2, 3) as from `mouth_crop_matrix`.

    Returns:
        (128, 192) float32: 1 inside, 0 outside, anti-aliased.
    """
    mask = np.zeros((CROP_HEIGHT, CROP_WIDTH), np.uint8)
    corners = to_subpixels(ring @ matrix[:, :2].T + matrix[:, 2])
    cv2.fillPoly(mask, [corners], (255,), cv2.LINE_AA, SUBPIXEL_BITS)
    return mask.astype(np.float32) / 255


def stack_planes(colors: np.ndarray, opening: np.ndarray) -> np.ndarray:
    """Stack a crop and its opening as the network sees them.

    Args:
        colors: (128, 192, 3) float32, 0 to 255.
        opening: (128, 192) float32, 0 to 1.

    Returns:
        (4, 128, 192) float32: colors -1 to 1, then the opening.
    """
    planes = np.empty((4, CROP_HEIGHT, CROP_WIDTH), np.float32)
    np.multiply(np.moveaxis(colors, -1, 0), 1 / 127.5, out=planes[:3])
    planes[:3] -= 1
    planes[3] = opening
    return planes


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


def change_window() -> np.ndarray:
    """Return the weights (128, 192) float32 of changes: 1, falling to 0 at the crop's border."""
    rows, columns = np.arange(CROP_HEIGHT) + 0.5, np.arange(CROP_WIDTH) + 0.5
    depth_y = np.minimum(rows, CROP_HEIGHT - rows)[:, None]
    depth_x = np.minimum(columns, CROP_WIDTH - columns)[None]
    return smoothstep(np.minimum(depth_y, depth_x) / _WINDOW_MARGIN).astype(np.float32)
