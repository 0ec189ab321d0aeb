"""Iris tracking in the images of a shot. The landmark model reports only a part, often half, of an iris's movement.

The template is the iris of the reference frame with its edge to the white of the eye. Each frame is searched around the
iris landmark by normalized correlation, over the pixels between the eyelids of both frames.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from mimaface_cli.face import topology
from mimaface_cli.face.alignment import compose, fit_similarity, transform_points
from mimaface_cli.face.gaze import CORNERS_AND_IRIS
from mimaface_cli.face.kernels import kernel

# Pixels of a patch: radius of an iris, of the compared disc, and of the search.
_IRIS_RADIUS, _DISC_RADIUS, _SEARCH_RADIUS = 10, 12, 11
# Cost in correlation of an offset of one iris radius from the landmark, across and along the face. Eyelids mislead the
# search along the face.
_OFFSET_COST_ACROSS, _OFFSET_COST_ALONG = 0.15, 0.4
_MIN_CORRELATION = 0.5
_MIN_DEVIATION = 2.0  # gray levels; standard deviation below which a patch has too little contrast
_MIN_OPEN_SHARE = 0.35  # share of the disc that must be visible between the eyelids
_LID_SCALE = np.array([1.0, 0.85])  # part of the eye opening that is used: lashes and their shadow are near the rim
_EYE_RINGS = topology.LEFT_EYE, topology.RIGHT_EYE
_DISC_SQUARES = np.arange(-_DISC_RADIUS, _DISC_RADIUS + 1) ** 2
_DISC = (np.add.outer(_DISC_SQUARES, _DISC_SQUARES) <= _DISC_RADIUS**2).astype(np.float32)
_OFFSET_SQUARES = np.arange(-_SEARCH_RADIUS, _SEARCH_RADIUS + 1) ** 2 / _IRIS_RADIUS**2
_OFFSET_COST = np.add.outer(_OFFSET_COST_ALONG * _OFFSET_SQUARES, _OFFSET_COST_ACROSS * _OFFSET_SQUARES)


@dataclass(frozen=True)
class EyeImage:
    """A frame in which irises are located. All positions are pixels with centers at i + 0.5.

    Attributes:
        gray: (S, S) uint8.
        fitted_points: (478, 2) projected vertices of the fitted face.
        points: (478, 2) landmarks of the landmark model.
    """

    gray: np.ndarray
    fitted_points: np.ndarray
    points: np.ndarray


@dataclass(frozen=True)
class _IrisMatch:
    """Location of an iris.

    Attributes:
        offset: (2,) from the iris landmark, in pixels of the patch.
        to_patch: (2, 3) transform of the image to the patch.
    """

    offset: np.ndarray
    to_patch: np.ndarray


@dataclass(frozen=True)
class _EyeTemplate:
    """An eye of the reference frame.

    Attributes:
        ring: Landmark indices of the eyelids.
        corners: Landmark indices of the eye's corners.
        iris: Landmark index of the iris center.
        corner_points: (2, 2) corners in the reference image.
        to_patch: (2, 3) transform of the reference image to the patch, with the iris at its center.
        patch: (D, D) float32 gray levels.
        mask: (D, D) float32, 1 on the disc between the eyelids.
        bias: (2,) from the measured to the true center of the iris, in pixels of the patch.
    """

    ring: np.ndarray
    corners: list[int]
    iris: int
    corner_points: np.ndarray
    to_patch: np.ndarray
    patch: np.ndarray
    mask: np.ndarray
    bias: np.ndarray

    def locate(self, image: EyeImage) -> _IrisMatch | None:
        """Locate the iris in a frame; None where it is not visible."""
        landmark = image.points[self.iris]
        to_patch = compose(self.to_patch, fit_similarity(image.fitted_points[self.corners], self.corner_points))
        to_patch[:, 2] += _DISC_RADIUS + _SEARCH_RADIUS + 0.5 - transform_points(to_patch, landmark[None])[0]
        patch, mask = _cut_patch(image.gray, to_patch, image.fitted_points[self.ring], _DISC_RADIUS + _SEARCH_RADIUS)
        score = _correlate(patch, mask, self.patch, self.mask) - _OFFSET_COST
        row, column = np.unravel_index(score.argmax(), score.shape)
        is_inside = 0 < row < 2 * _SEARCH_RADIUS and 0 < column < 2 * _SEARCH_RADIUS
        if not is_inside or score[row, column] < _MIN_CORRELATION:
            return None
        across = _parabola_peak(*score[row, column - 1 : column + 2])
        down = _parabola_peak(*score[row - 1 : row + 2, column])
        return _IrisMatch(np.array([column + across, row + down]) - _SEARCH_RADIUS, to_patch)


@dataclass(frozen=True)
class IrisTracker:
    """Tracker of the irises of a reference frame in the other frames of a shot.

    Attributes:
        eyes: Templates of the left and the right eye. Without templates the irises stay at the landmarks.
    """

    eyes: tuple[_EyeTemplate, ...] = ()

    @classmethod
    def from_reference(cls, gray: np.ndarray, points: np.ndarray) -> "IrisTracker":
        """Build the templates from a reference frame.

        Args:
            gray: (S, S) uint8.
            points: (478, 2) landmarks in pixels of the image (centers at i + 0.5).
        """
        eyes = []
        for ring, (corners, iris) in zip(_EYE_RINGS, CORNERS_AND_IRIS, strict=True):
            radius = float(np.linalg.norm(points[iris + 1 : iris + 5] - points[iris], axis=1).mean())
            scale = _IRIS_RADIUS / max(radius, 0.5)
            to_patch = np.column_stack([scale * np.eye(2), _DISC_RADIUS + 0.5 - scale * points[iris]])
            patch, mask = _cut_patch(gray, to_patch, points[ring], _DISC_RADIUS)
            corner_points = points[list(corners)]
            eyes.append(
                _EyeTemplate(ring, list(corners), iris, corner_points, to_patch, patch, mask * _DISC, np.zeros(2))
            )
        return cls(tuple(eyes))

    def calibrated(self, images: list[EyeImage]) -> "IrisTracker":
        """Return a copy that agrees with the iris landmarks in the median over some frames."""
        eyes = []
        for eye in self.eyes:
            matches = [eye.locate(image) for image in images]
            biases = [-match.offset for match in matches if match is not None]
            eyes.append(replace(eye, bias=np.median(biases, 0) if biases else eye.bias))
        return IrisTracker(tuple(eyes))

    def locate(self, image: EyeImage) -> np.ndarray:
        """Return the landmarks (478, 2) of a frame with the irises at their places in the image."""
        points = np.array(image.points)
        matches = []
        for eye in self.eyes:
            match = eye.locate(image)
            if match is not None:
                matches.append((eye, match.offset + eye.bias, match.to_patch))
        # Both eyes look up and down together.
        vertical = np.mean([offset[1] for _, offset, _ in matches]) if matches else 0.0
        for eye, offset, to_patch in matches:
            points[eye.iris : eye.iris + 5] += np.linalg.solve(to_patch[:, :2], [offset[0], vertical])
        return points


def _cut_patch(gray: np.ndarray, affine: np.ndarray, ring: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Warp an image to a patch, and mask the part between the eyelids.

    Args:
        gray: (S, S) uint8.
        affine: (2, 3) transform of the image to the patch (pixel centers at i + 0.5).
        ring: (K, 2) eyelids in pixels of the image.
        radius: Half the side of the patch; the side is 2·radius + 1.

    Returns:
        Patch and mask, both float32.
    """
    side = 2 * radius + 1
    cv2_affine = np.column_stack([affine[:, :2], affine[:, 2] + affine[:, :2].sum(1) / 2 - 0.5])
    patch = cv2.warpAffine(gray, cv2_affine, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    lids = transform_points(affine, ring)
    center = (lids.min(0) + lids.max(0)) / 2
    mask = np.zeros((side, side), np.uint8)
    cv2.fillPoly(mask, [np.round((lids - center) * _LID_SCALE + center - 0.5).astype(np.int32)], 1)
    return patch.astype(np.float32), mask.astype(np.float32)


def _correlate(image: np.ndarray, image_mask: np.ndarray, template: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Correlate a template with each place of a larger image, over the pixels inside both masks.

    Returns:
        Pearson's correlation at each place; −1 where too few pixels remain or the contrast is too low.
    """
    template, image = template - template.mean(), image - image.mean()
    places = len(image) - len(template) + 1
    sums = np.zeros((6, places, places), np.float32)
    _sum_products(image, image_mask, template, mask, sums)
    count, template_sum, image_sum, template_squares, image_squares, products = sums.astype(np.float64)
    count = np.maximum(count, 1.0)
    template_variance = template_squares - template_sum**2 / count
    image_variance = image_squares - image_sum**2 / count
    covariance = products - template_sum * image_sum / count
    has_contrast = np.minimum(template_variance, image_variance) > _MIN_DEVIATION**2 * count
    is_valid = (count >= _MIN_OPEN_SHARE * _DISC.sum()) & has_contrast
    variance_product = np.where(is_valid, template_variance * image_variance, 1)
    return np.where(is_valid, covariance / np.sqrt(variance_product), -1.0)


@kernel
def _sum_products(
    image: np.ndarray, image_mask: np.ndarray, template: np.ndarray, mask: np.ndarray, sums: np.ndarray
) -> None:
    """Sum over the pixels inside both masks, with the template at each place of the image.

    Writes to `sums` (6, places, places): the number of pixels, template, image, template², image², and
    template · image. All arrays are float32.
    """
    places = sums.shape[1]
    masked = image_mask * image
    squares = masked * image
    for row in range(mask.shape[0]):
        for column in range(mask.shape[1]):
            if mask[row, column] == 0.0:
                continue
            level = template[row, column]
            square = level * level
            for down in range(places):
                weights = image_mask[row + down, column : column + places]
                values = masked[row + down, column : column + places]
                value_squares = squares[row + down, column : column + places]
                for across in range(places):  # without a branch, so that it runs in vector registers
                    sums[0, down, across] += weights[across]
                    sums[1, down, across] += weights[across] * level
                    sums[2, down, across] += values[across]
                    sums[3, down, across] += weights[across] * square
                    sums[4, down, across] += value_squares[across]
                    sums[5, down, across] += values[across] * level


def _parabola_peak(before: float, center: float, after: float) -> float:
    """Return the maximum, within ±0.5, of the parabola through three values at −1, 0 and 1."""
    curvature = before - 2 * center + after
    return float(np.clip((before - after) / (2 * curvature), -0.5, 0.5)) if curvature < 0 else 0.0
