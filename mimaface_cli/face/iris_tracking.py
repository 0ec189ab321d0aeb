"""Irises followed through a shot, in the pictures: of how far they turn the landmark model reports a half to most.

The iris of the reference frame, with its edge to the white, is looked for in each frame about where landmarks put it, by
correlation over what lies between the lids in both.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from mimaface_cli.face import topology
from mimaface_cli.face.alignment import compose, fit_similarity, transform_points
from mimaface_cli.face.gaze import EYES

_RADIUS, _DISC, _REACH = 10, 12, 11  # pixels of a patch: an iris, what is compared of it, how far it is looked for
# Of a correlation: what it costs to lie a radius off the landmarks across and along the face; lids mislead along it.
_STRAY = 0.15, 0.4
_ALIKE, _FLAT = 0.5, 2.0  # the least correlation; gray levels, standard deviation, of what tells nothing
_OPEN = 0.35  # of the disc: the least that lids must leave
_LIDS = np.array([1.0, 0.85])  # of an opening: lashes and their shadow lie beyond
_RINGS = topology.LEFT_EYE, topology.RIGHT_EYE
_FROM_MIDDLE = np.arange(-_DISC, _DISC + 1) ** 2
_ROUND = (np.add.outer(_FROM_MIDDLE, _FROM_MIDDLE) <= _DISC**2).astype(np.float32)
_ASIDE = np.arange(-_REACH, _REACH + 1) ** 2 / _RADIUS**2
_STRAYING = np.add.outer(_STRAY[1] * _ASIDE, _STRAY[0] * _ASIDE)  # rows and columns


@dataclass(frozen=True)
class _Eye:
    """An eye of the reference. ring, corners, iris: indices of landmarks; at: 2×2, its corners in the picture;
    to_patch: 2×3, the picture's pixels to the patch's, whose middle is the iris; seen, open_: the patch, and what lids
    leave of it; off: 2, from there to the true center, pixels of the patch.
    """

    ring: np.ndarray
    corners: list[int]
    iris: int
    at: np.ndarray
    to_patch: np.ndarray
    seen: np.ndarray
    open_: np.ndarray
    off: np.ndarray

    def find(self, gray: np.ndarray, shown: np.ndarray, read: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Where the iris is in a picture (S×S uint8) that shows the landmarks at `shown` (478×2) and in which the
        landmark model puts it at `read` (2): how far from there in pixels of the patch, and 2×3 from the picture's
        pixels to the patch's. None where it is not seen.
        """
        to_patch = compose(self.to_patch, fit_similarity(shown[self.corners], self.at))
        to_patch[:, 2] += _DISC + _REACH + 0.5 - transform_points(to_patch, read[None])[0]
        patch, open_ = _patch(gray, to_patch, shown[self.ring], _DISC + _REACH)
        likeness = _correlation(patch, open_, self.seen, self.open_) - _STRAYING
        row, column = np.unravel_index(likeness.argmax(), likeness.shape)
        if not 0 < row < 2 * _REACH or not 0 < column < 2 * _REACH or likeness[row, column] < _ALIKE:
            return None
        right = _peak(*likeness[row, column - 1 : column + 2])
        down = _peak(*likeness[row - 1 : row + 2, column])
        return np.array([column + right, row + down]) - _REACH, to_patch


@dataclass(frozen=True)
class Irises:
    """The left and the right iris as a reference frame shows them."""

    eyes: tuple[_Eye, ...]

    @classmethod
    def of(cls, gray: np.ndarray, points: np.ndarray) -> "Irises":
        """From a picture (S×S uint8) and landmarks 478×2 in it (pixel centers at i + 0.5)."""
        eyes = []
        for ring, (corners, iris) in zip(_RINGS, EYES):
            scale = _RADIUS / max(float(np.linalg.norm(points[iris + 1 : iris + 5] - points[iris], axis=1).mean()), 0.5)
            to_patch = np.column_stack([scale * np.eye(2), _DISC + 0.5 - scale * points[iris]])
            seen, open_ = _patch(gray, to_patch, points[ring], _DISC)
            at = points[list(corners)]
            eyes.append(_Eye(ring, list(corners), iris, at, to_patch, seen, open_ * _ROUND, np.zeros(2)))
        return cls(tuple(eyes))

    def centerd(self, frames: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> "Irises":
        """Such that in the middle of some frames (each as for `found`) irises are where landmarks put them."""
        eyes = []
        for eye in self.eyes:
            seen = [eye.find(gray, shown, read[eye.iris]) for gray, shown, read in frames]
            off = [-one[0] for one in seen if one is not None]
            eyes.append(replace(eye, off=np.median(off, 0) if off else eye.off))
        return Irises(tuple(eyes))

    def found(self, gray: np.ndarray, shown: np.ndarray, read: np.ndarray) -> np.ndarray:
        """The landmarks that were read (478×2) with irises moved to where a picture (S×S uint8) has them; shown: 478×2,
        where the fitted face shows itself.
        """
        moved = np.array(read)
        seen = [(eye, eye.find(gray, shown, read[eye.iris])) for eye in self.eyes]
        seen = [(eye, one[0] + eye.off, one[1]) for eye, one in seen if one is not None]
        height = np.mean([off[1] for _, off, _ in seen]) if seen else 0.0  # eyes look up and down together
        for eye, off, to_patch in seen:
            moved[eye.iris : eye.iris + 5] += np.linalg.solve(to_patch[:, :2], [off[0], height])
        return moved


def _patch(gray: np.ndarray, affine: np.ndarray, ring: np.ndarray, half: int) -> tuple[np.ndarray, np.ndarray]:
    """What a picture shows under an affine (pixel centers at i + 0.5), and where that lies between lids (K×2 of its
    pixels): both of 2·half + 1 pixels a side, float32.
    """
    side = 2 * half + 1
    centerd = np.column_stack([affine[:, :2], affine[:, 2] + affine[:, :2].sum(1) / 2 - 0.5])
    seen = cv2.warpAffine(gray, centerd, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    lids = transform_points(affine, ring)
    middle = (lids.min(0) + lids.max(0)) / 2
    open_ = np.zeros((side, side), np.uint8)
    cv2.fillPoly(open_, [np.round((lids - middle) * _LIDS + middle - 0.5).astype(np.int32)], 1)
    return seen.astype(np.float32), open_.astype(np.float32)


def _correlation(image: np.ndarray, open_: np.ndarray, seen: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Pearson's correlation of a patch with each place of a larger image, over the pixels that both masks allow; −1
    where those are few or flat.
    """
    seen, image = seen - seen.mean(), image - image.mean()
    over = lambda one, other: cv2.matchTemplate(one, other, cv2.TM_CCORR).astype(np.float64)  # noqa: E731
    count = np.maximum(over(open_, within), 1.0)
    left, right = within * seen, open_ * image
    one, other = over(open_, left), over(right, within)
    one_spread = over(open_, left * seen) - one**2 / count
    other_spread = over(right * image, within) - other**2 / count
    both = over(right, left) - one * other / count
    told = (count >= _OPEN * _ROUND.sum()) & (np.minimum(one_spread, other_spread) > _FLAT**2 * count)
    return np.where(told, both / np.sqrt(np.where(told, one_spread * other_spread, 1)), -1.0)


def _peak(before: float, at: float, after: float) -> float:
    """Where between −0.5 and 0.5 a parabola through three values at −1, 0 and 1 is highest."""
    bend = before - 2 * at + after
    return float(np.clip((before - after) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0
