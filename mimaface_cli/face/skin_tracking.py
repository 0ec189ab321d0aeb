"""Following the skin: where the landmarks of one frame went in the others, seen in the pictures themselves.

The landmark model smooths and shrinks what a face does: of a raised brow it reports about half. Here a shot's
reference frame is warped onto each frame by the landmarks, and what still differs is measured by optical flow (Lucas
and Kanade's, in a small window around each landmark); points where the flow does not find its way back are left to the
landmark model. The fitted face then predicts the frame well enough to be aligned with it pixel by pixel.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import sparse

from mimaface_cli.face import rasterizer as raster
from mimaface_cli.face import topology
from mimaface_cli.face.alignment import compose, invert, transform_points
from mimaface_cli.face.fitting import Fitter, FrameFit, Picture
from mimaface_cli.face.gaze import irises_beside
from mimaface_cli.face.iris_tracking import Irises
from mimaface_cli.face.landmarks import Face
from mimaface_cli.face.photometric import Surface, drawn_over

REVISION = 4  # raise it when the numbers change: cached tracks are then made anew
SIDE = 320  # pixels of the square around a face that is looked at
_MARGIN = 0.58  # of the face's longer side, from its middle to the square's sides
_COARSE = 2  # the warp is drawn at a half of the size
_WINDOW = 9  # pixels; smaller follows lips better, larger is steadier
_FAR, _ASTRAY = 7.5, 0.75  # pixels of the square: beyond, a flow is not believed, or has not found its way back
_STEPS, _ALIGNING = (3, 3), 2  # of the fit in each round of the flow; of the alignment by pixels
_FLOW_NOISE = 0.2  # pixels of the 256 crop
_LANDMARK_NOISE = 1.0, 4.0  # where few points could be followed, where most
_FEW, _MOST = 0.2, 0.6
FOLLOWED = np.ones(478, bool)
FOLLOWED[topology.OVAL] = False  # the outline lies on other skin in each view
FOLLOWED[topology.IRIS] = False
_FLOW = {"winSize": (_WINDOW, _WINDOW), "maxLevel": 1, "criteria": (3, 5, 0.03), "flags": cv2.OPTFLOW_USE_INITIAL_FLOW}


@dataclass(frozen=True)
class Square:
    """What is kept of a frame: the square around a face. gray: SIDE×SIDE uint8; affine: 2×3, image pixels to its
    pixels (pixel centers at i + 0.5).
    """

    gray: np.ndarray
    affine: np.ndarray

    @classmethod
    def around(cls, image: np.ndarray, points: np.ndarray) -> "Square":
        """From an image H×W×3 uint8 RGB and landmarks 478×2 in it."""
        low, high = points.min(0), points.max(0)
        half = max(1, round(float((high - low).max()) * _MARGIN))
        height, width = image.shape[:2]
        left, top = np.clip((low + high) / 2, 0, [width - 1, height - 1]).round().astype(int) - half
        right, bottom = left + 2 * half, top + 2 * half
        gray = cv2.cvtColor(image[max(0, top) : bottom, max(0, left) : right], cv2.COLOR_RGB2GRAY)
        beyond = max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width)
        if any(beyond):
            gray = cv2.copyMakeBorder(gray, *beyond, cv2.BORDER_REPLICATE)
        scale = SIDE / (2 * half)
        how = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
        affine = np.array([[scale, 0, -scale * left], [0, scale, -scale * top]])
        return cls(cv2.resize(gray, (SIDE, SIDE), interpolation=how), affine)


class Skin:
    """A person's skin as one frame of a shot shows it."""

    def __init__(self, fitter: Fitter, surface: Surface, square: Square, crop: np.ndarray, points: np.ndarray) -> None:
        """fitter: of that frame (`Fitter.through`); square, points (478×2 image pixels): what it shows and where its
        landmarks are; crop: 2×3, the shot's.
        """
        self.fitter = fitter
        self.surface, self._crop, self.square = surface, crop, square
        self.points = transform_points(square.affine, points)
        self._irises = Irises(())

    def fit(self, square: Square, face: Face) -> FrameFit:
        """Pose and expression of another frame of the shot, by its picture and its landmarks."""
        fitter = self.fitter
        points = transform_points(self._crop, face.points)
        to_square = compose(square.affine, invert(self._crop))
        pose = fitter.first_pose(points, face.rotation)
        fit, expression = None, None
        for steps in _STEPS:
            expected, depth = (points, fitter.depth(pose)) if fit is None else fitter.shown(fit)
            found, known = self._flow(square.gray, transform_points(to_square, expected), depth)
            found = np.where(known[:, None], transform_points(invert(to_square), found), points)
            share = np.clip((known[FOLLOWED].mean() - _FEW) / (_MOST - _FEW), 0, 1)
            unsure = np.full(len(points), _LANDMARK_NOISE[0] + share * np.subtract(*_LANDMARK_NOISE[::-1]))
            noise = np.where(known, _FLOW_NOISE, unsure)
            fit = fitter.frame(found, face.scores, pose, steps, expression, noise)
            pose, expression = fit.pose, fit.expression

        unsure[topology.EYES] = _LANDMARK_NOISE[0]  # lids: of them the pixels tell nothing
        return fitter.frame(points, face.scores, pose, _ALIGNING, expression, unsure, self.differing(square))

    def know_irises(self, shown: list[tuple[Square, Face]], found: list[FrameFit]) -> None:
        """From frames and what was found in them; until then irises are where landmarks put them."""
        frames = [self._eyes(*one, fit) for one, fit in zip(shown, found)]
        self._irises = Irises.of(self.square.gray, self.points).centerd(frames)

    def _eyes(self, square: Square, face: Face, fit: FrameFit) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What irises are found in: a frame's picture, where its fitted face shows itself and where its landmarks are,
        beside the corners of those eyes. Both 478×2 pixels of the square.
        """
        shown = self.fitter.shown(fit)[0]
        points = irises_beside(transform_points(self._crop, face.points), shown)
        to_square = compose(square.affine, invert(self._crop))
        return square.gray, transform_points(to_square, shown), transform_points(to_square, points)

    def look(self, square: Square, face: Face, fit: FrameFit) -> np.ndarray:
        """A frame's landmarks (478×2 pixels of the crop) with the irises where its picture has them."""
        found = self._irises.found(*self._eyes(square, face, fit))
        return transform_points(compose(self._crop, invert(square.affine)), found)

    def differing(self, square: Square) -> Picture:
        """How another frame's picture differs from this one's, drawn where the fitted face shows its vertices."""
        to_square = compose(square.affine, invert(self._crop))

        def picture(pixels: np.ndarray, depth: np.ndarray) -> tuple[sparse.csr_array, np.ndarray]:
            there = transform_points(to_square, pixels)
            curvature, slope = self.surface.compare(self.square.gray, self.points, square.gray, there, depth)
            return curvature * to_square[0, 0] ** 2, slope * to_square[0, 0]

        return picture

    def _flow(self, gray: np.ndarray, expected: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the landmarks (478×2) are in a square in which they are expected, and which of them are known."""
        triangles = self.fitter.model.triangles
        index, weights, _ = raster.rasterize(expected / _COARSE, depth, triangles, SIDE // _COARSE, SIDE // _COARSE)
        at = raster.interpolate(index, weights, triangles, self.points - 0.5, background=-SIDE)
        at = cv2.resize(at, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)  # straight within a triangle
        warped = drawn_over(gray, self.square.gray, at)
        start = (expected - 0.5).astype(np.float32)[:, None]
        there, seen, _ = cv2.calcOpticalFlowPyrLK(warped, gray, start, start.copy(), **_FLOW)
        back, again, _ = cv2.calcOpticalFlowPyrLK(gray, warped, there, start.copy(), **_FLOW)
        off = np.stack([there - start, back - start])[:, :, 0]
        near = (off**2).sum(-1) < np.square([[_FAR], [_ASTRAY]])
        known = FOLLOWED & near.all(0) & (seen & again).ravel().astype(bool)
        return there[:, 0] + 0.5, known
