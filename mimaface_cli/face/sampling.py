"""Sampling of images at floating-point positions."""

from typing import Any

import cv2
import numpy as np

# OpenCV's type stubs do not allow one map with both coordinates.
_NO_SECOND_MAP: Any = None


def sample_image(
    image: np.ndarray,
    positions: np.ndarray,
    interpolation: int = cv2.INTER_LINEAR,
    border: int = cv2.BORDER_CONSTANT,
    output: np.ndarray | None = None,
) -> np.ndarray:
    """Return an image's values at positions.

    Args:
        image: (H, W) or (H, W, C), uint8 or float32.
        positions: (h, w, 2) float32, x and y in pixels with pixel centers at integers.
        interpolation: OpenCV's interpolation flag.
        border: OpenCV's border mode for positions outside the image.
        output: Array to write into, or None for a new one. With BORDER_TRANSPARENT, values outside do not change.

    Returns:
        (h, w) or (h, w, C), dtype of the image.
    """
    return np.asarray(cv2.remap(image, positions, _NO_SECOND_MAP, interpolation, output, border))
