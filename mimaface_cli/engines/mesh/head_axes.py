"""Head coordinates in a photo, and how far each of its pixels follows the head."""

from dataclasses import dataclass

import cv2
import numpy as np

from mimaface_cli.face.alignment import transform_points
from mimaface_cli.face.sampling import sample_image
from mimaface_cli.motion.easing import smoothstep
from mimaface_cli.motion.rotation import rotation_matrix

# Multiples of the face's height below the chin: hair reaches down to here at least, shoulders begin here at the latest.
_LOWEST_HAIR, _USUAL_SHOULDERS = -0.35, 0.4


@dataclass(frozen=True)
class HeadAxes:
    """Head coordinates in the photo: `below` the chin and `aside` of the middle.

    Attributes:
        center: (2,) center of the face in crop pixels.
        down: (2,) unit vector from forehead to chin.
        chin: Position of the chin along `down`.
        height: Height of the face in crop pixels, the unit of `below`.
        half_width: Half the width of the face in crop pixels, the unit of `aside`.
    """

    center: np.ndarray
    down: np.ndarray
    chin: float
    height: float
    half_width: float

    @property
    def lateral(self) -> np.ndarray:
        """(2,) unit vector across the face."""
        return np.array([self.down[1], -self.down[0]])

    def measure(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how far crop pixels (..., 2) lie below the chin and, signed, aside."""
        below = (pixels @ self.down - self.chin) / self.height
        return below, (pixels - self.center) @ self.lateral / self.half_width

    def locate(self, below: np.ndarray, aside: np.ndarray) -> np.ndarray:
        """Return the crop pixels (..., 2) at head coordinates."""
        along = self.chin + below * self.height - float(self.center @ self.down)
        return self.center + along[..., None] * self.down + (aside * self.half_width)[..., None] * self.lateral


def build_head_axes(oval: np.ndarray, pose: np.ndarray) -> HeadAxes:
    """Build head coordinates from the rim of the face (K, 2) in crop pixels and the head's pose (6,)."""
    up = rotation_matrix(pose[:3])[:2, 1]
    down = np.array([-up[0], up[1]]) / max(float(np.hypot(*up)), 1e-6)
    lateral = np.array([down[1], -down[0]])
    heights = oval @ down
    return HeadAxes(oval.mean(0), down, float(heights.max()), float(np.ptp(heights)), float(np.ptp(oval @ lateral)) / 2)


def find_shoulders(axes: HeadAxes, alpha: np.ndarray, to_image: np.ndarray) -> np.ndarray:
    """Find how far below the chin the shoulders begin, on both sides (2,): where the person becomes wider."""
    below, aside = np.linspace(-1.0, 0.8, 73), np.linspace(0, 4, 81)
    levels = np.empty(2)
    for k, sign in enumerate((-1, 1)):
        pixels = axes.locate(below[:, None] + 0 * aside, sign * aside + 0 * below[:, None])
        positions = transform_points(to_image, pixels.reshape(-1, 2)).reshape(pixels.shape)
        is_person = sample_image(alpha, (positions - 0.5).astype(np.float32), border=cv2.BORDER_REPLICATE) > 0.5
        extent = aside[np.where(is_person.all(1), len(aside) - 1, is_person.argmin(1))]
        head_extent = np.clip(extent[below < _LOWEST_HAIR].max(), 1.0, 2.0)
        is_wider = (below >= _LOWEST_HAIR) & (extent > 1.25 * head_extent + 0.15)
        levels[k] = below[is_wider.argmax()] if is_wider.any() else _USUAL_SHOULDERS
    return np.clip(levels, _LOWEST_HAIR, _USUAL_SHOULDERS)


def motion_weight(texture: np.ndarray, axes: HeadAxes, shoulders: np.ndarray) -> np.ndarray:
    """Share (...) of the head's motion: falls from the chin to the collar, and from the hair to the shoulders.

    Args:
        texture: (..., 2) crop pixels.
        axes: Head coordinates.
        shoulders: (2,) see `find_shoulders`.
    """
    below, aside = axes.measure(texture)
    level = np.where(aside < 0, *shoulders)
    is_aside = smoothstep((np.abs(aside) - 0.65) / 0.6)
    start = (1 - is_aside) * 0.0 + is_aside * (level - 0.45)
    end = (1 - is_aside) * np.clip(shoulders.mean() + 0.3, 0.3, 0.6) + is_aside * (level + 0.02)
    return 1 - smoothstep((below - start) / (end - start))
