"""Paste the square that the diffusion engine renders back into the whole photo."""

from collections.abc import Generator

import cv2
import numpy as np

from mimaface_cli.engines.base import RenderRequest
from mimaface_cli.engines.sources import PhotoSource
from mimaface_cli.errors import InputError
from mimaface_cli.face.alignment import compose, invert
from mimaface_cli.face.portrait import SQUARE, Portrait
from mimaface_cli.motion.easing import smoothstep

FEATHER = 40  # pixels of the square over which it blends into the photo


def require_photo(request: RenderRequest) -> Portrait:
    """Return the photo of a request. Raises InputError for a video."""
    if not isinstance(request.source, PhotoSource):
        raise InputError("the diffusion engine animates a photo, not a video. Set `engine=mesh`.", field="engine")
    return request.source.portrait


def paste_square(
    frames: Generator[np.ndarray, None, None], portrait: Portrait, to_square: np.ndarray
) -> Generator[np.ndarray, None, None]:
    """Blend frames of the square into the photo.

    Args:
        frames: (512, 512, 3) uint8; closed with the result.
        portrait: The photo, H×W.
        to_square: (2, 3) transform from the photo to the square, with pixel centers at integers.

    Yields:
        (H, W, 3) uint8, or (H, W, 4) with the photo's alpha.
    """
    height, width = portrait.image.shape[:2]
    to_photo = invert(to_square)
    weight = cv2.warpAffine(_feathered_mask(), to_photo, (width, height), flags=cv2.INTER_LINEAR)
    left, top, box_width, box_height = cv2.boundingRect((weight > 0).astype(np.uint8))
    box = np.s_[top : top + box_height, left : left + box_width]
    to_box = compose(np.array([[1.0, 0, -left], [0, 1, -top]]), to_photo)
    share = weight[box][..., None].astype(np.float32)
    background = portrait.image[box].astype(np.float32) * (1 - share) + 0.5
    size = box_width, box_height
    try:
        for frame in frames:
            square = cv2.warpAffine(frame, to_box, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            photo = portrait.image.copy()
            photo[box] = (square * share + background).astype(np.uint8)
            yield photo if portrait.alpha is None else np.dstack([photo, portrait.alpha])
    finally:
        frames.close()


def _feathered_mask() -> np.ndarray:
    """Return the opacity of the square, (512, 512) float32: 1 inside, with a smooth falloff to 0 at the edge."""
    distance = np.minimum(np.arange(SQUARE) + 0.5, SQUARE - np.arange(SQUARE) - 0.5)
    ramp = smoothstep(distance / FEATHER)
    return np.outer(ramp, ramp).astype(np.float32)
