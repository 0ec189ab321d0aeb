"""Local linear models of a value over the colors of an image: guided filter and matting Laplacian.

Source: Levin, Lischinski, Weiss, "A Closed-Form Solution to Natural Image Matting", PAMI 2008; He, Sun, Tang, "Fast
Matting Using Large Kernel Matting Laplacian Matrices", CVPR 2010; He and Sun, "Fast Guided Filter", 2015.
"""

import cv2
import numpy as np


class ColorLines:
    """Windows of an image, in each of which a value is fitted as a linear function of the color.

    Args:
        image: (H, W, 3) uint8 RGB.
        radius: Radius of the windows in pixels.
        epsilon: Regularization in squared colors of 0..1.
    """

    def __init__(self, image: np.ndarray, radius: int, epsilon: float) -> None:
        self._size = (2 * radius + 1, 2 * radius + 1)
        # One contiguous array for each channel: twice as fast as arrays of pixels. Centered, against rounding errors.
        self._colors = [channel.astype(np.float32) / np.float32(255) - np.float32(0.5) for channel in cv2.split(image)]
        self.count = self._sum(np.ones(image.shape[:2], np.float32))
        self._share = 1 / self.count
        self._means = [self._mean(color) for color in self._colors]
        pairs = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
        # In float64: the determinant is a small difference of large products where the window has one color.
        colors = [color.astype(np.float64) for color in self._colors]
        means = [self._mean(color) for color in colors]
        a, b, c, d, e, f = (self._mean(colors[i] * colors[j]) - means[i] * means[j] for i, j in pairs)
        a, d, f = a + epsilon, d + epsilon, f + epsilon
        cofactors = d * f - e * e, c * e - b * f, b * e - c * d, a * f - c * c, b * c - a * e, a * d - b * b
        determinant = a * cofactors[0] + b * cofactors[1] + c * cofactors[2]
        self._inverse = [(part / determinant).astype(np.float32) for part in cofactors]

    def _sum(self, values: np.ndarray) -> np.ndarray:
        """Sum over the windows, cut at the border."""
        return cv2.boxFilter(values, -1, self._size, normalize=False, borderType=cv2.BORDER_CONSTANT)

    def _mean(self, values: np.ndarray) -> np.ndarray:
        return self._sum(values) * self._share

    def fit(self, values: np.ndarray) -> list[np.ndarray]:
        """Fit values (H, W) in every window; return three slopes and the offset, (H, W) each."""
        mean = self._mean(values)
        x, y, z = (
            self._mean(color * values) - color_mean * mean
            for color, color_mean in zip(self._colors, self._means, strict=True)
        )
        xx, xy, xz, yy, yz, zz = self._inverse
        slopes = [xx * x + xy * y + xz * z, xy * x + yy * y + yz * z, xz * x + yz * y + zz * z]
        for slope, color_mean in zip(slopes, self._means, strict=True):
            mean -= slope * color_mean
        return [*slopes, mean]

    def apply_laplacian(self, values: np.ndarray) -> np.ndarray:
        """Return the product of the matting Laplacian with values (H, W)."""
        *slopes, offset = self.fit(values)
        product = self.count * values
        product -= self._sum(offset)
        for slope, color in zip(slopes, self._colors, strict=True):
            product -= self._sum(slope) * color
        return product


def apply_lines(coefficients: list[np.ndarray], image: np.ndarray) -> np.ndarray:
    """Evaluate slopes and offset at the pixels of a larger image.

    Args:
        coefficients: Three slopes and the offset of `ColorLines.fit`, (h, w) each.
        image: (H, W, 3) uint8 RGB.

    Returns:
        (H, W) float32.
    """
    size = (image.shape[1], image.shape[0])
    *slopes, offset = coefficients
    coefficients = [*slopes, offset - sum(slopes) / 2]  # the colors of the model are centered
    *slopes, result = (cv2.resize(part, size, interpolation=cv2.INTER_LINEAR) for part in coefficients)
    for slope, channel in zip(slopes, cv2.split(image), strict=True):
        result = cv2.add(result, cv2.multiply(slope, channel, scale=1 / 255, dtype=cv2.CV_32F))
    return result
