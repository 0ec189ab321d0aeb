"""Random variation of the light, color and sharpness of training crops."""

import cv2
import numpy as np

from mimaface_cli.engines.mesh.image_patch import LUMA

_GRAY_SHARE, _BLURRED_SHARE = 0.08, 0.35  # shares of the samples
_GAINS = 0.55, 1.2  # range of the light, even in logarithms
_CHANNEL_GAIN, _OFFSET = 0.08, 12.0  # largest changes of color
_GAMMA = 0.3
_LARGEST_BLUR = 2.2  # factor by which a sample is reduced and enlarged


def vary_colors(colors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Vary crops, all in the same way.

    Args:
        colors: (K, H, W, 3) float32, 0 to 255; may be changed in place.
        rng: Random numbers.

    Returns:
        (K, H, W, 3) float32, 0 to 255.
    """
    height, width = colors.shape[1:3]
    if rng.random() < _BLURRED_SHARE:
        factor = rng.uniform(1, _LARGEST_BLUR)
        small = round(width / factor), round(height / factor)
        for image in colors:
            reduced = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
            image[:] = cv2.resize(reduced, (width, height), interpolation=cv2.INTER_LINEAR)
    gains = np.exp(rng.uniform(*np.log(_GAINS))) * rng.uniform(1 - _CHANNEL_GAIN, 1 + _CHANNEL_GAIN, 3)
    colors = np.clip(colors * gains.astype(np.float32) + np.float32(rng.uniform(-_OFFSET, _OFFSET)), 0, 255)
    gamma = np.float32(np.exp(rng.uniform(-_GAMMA, _GAMMA)))
    colors = 255 * (colors / 255) ** gamma
    if rng.random() < _GRAY_SHARE:
        colors[:] = (colors @ LUMA)[..., None]
    return colors
