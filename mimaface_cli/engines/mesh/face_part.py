"""The crop around a part of the face that a small network sees and returns.

The crop is fixed to the skull: it follows the pose of the head and nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from mimaface_cli.engines.mesh.image_patch import SUBPIXEL_BITS, to_subpixels
from mimaface_cli.engines.mesh.mouth import UNITS_PER_MM
from mimaface_cli.face import camera
from mimaface_cli.motion.easing import smoothstep
from mimaface_cli.motion.rotation import rotation_matrix

PLANES = 8  # colors and opening of the frame, then of the photo
_BLUR_BELOW = 0.75  # scale below which sampling alone would skip pixels
_MARGIN = 4  # pixels read around the crop, for interpolation

PointMap = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class FacePart:
    """A part of the face that a network corrects.

    Attributes:
        name: Name of the model that ships.
        noun: What messages call the part.
        field: The option that selects the model.
        width: Width of the crop in pixels, a multiple of 16.
        height: Height of the crop in pixels, a multiple of 16.
        width_mm: Width of the crop on the face.
        window_margin: Pixels at the crop's border in which changes fade out.
        condition_dim: Number of coefficients that the network sees.
    """

    name: str
    noun: str
    field: str
    width: int
    height: int
    width_mm: float
    window_margin: int
    condition_dim: int

    @property
    def title(self) -> str:
        """What messages call its network, with the article."""
        return f"{'an' if self.noun[0] in 'aeiou' else 'a'} {self.noun} network"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the crop in pixels."""
        return self.width, self.height


def crop_matrix(part: FacePart, center: np.ndarray, pose: np.ndarray, to_image: PointMap) -> np.ndarray:
    """Return the similarity from the image to the crop of a part.

    Args:
        part: The part.
        center: (3,) middle of the crop in the head's frame.
        pose: (6,) pose of the head.
        to_image: Maps pixels (N, 2) of the 256 crop of the face to pixels of the image.

    Returns:
        (2, 3) matrix; pixel centers lie at i + 0.5 in image and crop.
    """
    rotation = rotation_matrix(pose[:3])
    middle_point = rotation @ center + pose[3:]
    up = np.array([rotation[0, 1], rotation[1, 1], 0.0])  # in the plane of the image
    up *= UNITS_PER_MM * part.width_mm / max(float(np.linalg.norm(up)), 1e-6)
    middle, above = to_image(camera.project(np.stack([middle_point, middle_point + up]))[0])
    axis = above - middle  # length: the crop's width
    scale = part.width / max(float(axis @ axis), 1e-6)
    linear = scale * np.array([[-axis[1], axis[0]], [-axis[0], -axis[1]]])
    shift = np.array(part.size) / 2 - linear @ middle
    return np.concatenate([linear, shift[:, None]], 1)


def matrix_scale(matrix: np.ndarray) -> float:
    """Return the crop's pixels per pixel of the image."""
    return float(np.hypot(matrix[0, 0], matrix[1, 0]))


def crop_image(part: FacePart, image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Sample the crop of a part from an image; its edge pixels repeat beyond it.

    Args:
        part: The part.
        image: (H, W, 3) RGB, uint8 or float32 of 0 to 255.
        matrix: (2, 3) as from `crop_matrix`.

    Returns:
        (height, width, 3) float32, 0 to 255.
    """
    corners = crop_corners(part, matrix)
    scale = matrix_scale(matrix)
    margin = int(_MARGIN + 2 / scale)
    limit = image.shape[1::-1]
    low = np.clip(np.floor(corners.min(0)).astype(int) - margin, 0, np.array(limit) - 1)
    high = np.clip(np.ceil(corners.max(0)).astype(int) + margin, low + 1, limit)
    region: np.ndarray = image[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    if scale < _BLUR_BELOW:
        region = cv2.GaussianBlur(region, (0, 0), 0.4 / scale, borderType=cv2.BORDER_REPLICATE)
    return cv2.warpAffine(
        region, shift_matrix(matrix, low), part.size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def crop_corners(part: FacePart, matrix: np.ndarray) -> np.ndarray:
    """Return the corners (4, 2) of a crop in pixels of the image; matrix: as from `crop_matrix`."""
    inverse = cv2.invertAffineTransform(matrix)
    width, height = part.size
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]])
    return corners @ inverse[:, :2].T + inverse[:, 2]


def shift_matrix(matrix: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Return a crop's matrix for OpenCV, which has pixel centers at integers, and for a part of the image.

    Args:
        matrix: (2, 3) as from `crop_matrix`.
        corner: (x, y) of the part's top left pixel.
    """
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ (np.asarray(corner) + 0.5) - 0.5
    return shifted


def draw_opening(part: FacePart, ring: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Draw the opening of lips or lids into the crop.

    Args:
        part: The part.
        ring: (K, 2) rim of the opening in pixels of the image.
        matrix: (2, 3) as from `crop_matrix`.

    Returns:
        (height, width) float32: 1 inside, 0 outside, anti-aliased.
    """
    mask = np.zeros((part.height, part.width), np.uint8)
    corners = to_subpixels(ring @ matrix[:, :2].T + matrix[:, 2])
    cv2.fillPoly(mask, [corners], (255,), cv2.LINE_AA, SUBPIXEL_BITS)
    return mask.astype(np.float32) / 255


def stack_planes(colors: np.ndarray, opening: np.ndarray) -> np.ndarray:
    """Stack a crop and its opening as the network sees them.

    Args:
        colors: (height, width, 3) float32, 0 to 255.
        opening: (height, width) float32, 0 to 1.

    Returns:
        (4, height, width) float32: colors -1 to 1, then the opening.
    """
    planes = np.empty((4, *opening.shape), np.float32)
    np.multiply(np.moveaxis(colors, -1, 0), 1 / 127.5, out=planes[:3])
    planes[:3] -= 1
    planes[3] = opening
    return planes


@lru_cache(maxsize=4)
def change_window(part: FacePart) -> np.ndarray:
    """Return the weights (height, width) float32 of changes: 1, falling to 0 at the crop's border."""
    rows, columns = np.arange(part.height) + 0.5, np.arange(part.width) + 0.5
    depth_y = np.minimum(rows, part.height - rows)[:, None]
    depth_x = np.minimum(columns, part.width - columns)[None]
    return smoothstep(np.minimum(depth_y, depth_x) / part.window_margin).astype(np.float32)
