"""Skin tracking: the movement of the landmarks between frames, measured in the images.

The landmark model smooths and shrinks facial movement; it reports about half of a raised brow. Here the reference frame
of a shot is warped onto each frame by the landmarks. Optical flow (Lucas–Kanade in a small window around each landmark)
measures the remaining difference. If the backward flow of a landmark does not return to its start, the position from
the landmark model is used. The fitted face then predicts the frame well enough for a photometric alignment, pixel by
pixel.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from scipy import sparse

from mimaface_cli.face import topology
from mimaface_cli.face.alignment import compose, invert, transform_points
from mimaface_cli.face.fitting import Fitter, FrameFit, ImageTerm
from mimaface_cli.face.gaze import align_irises
from mimaface_cli.face.iris_tracking import EyeImage, IrisTracker
from mimaface_cli.face.landmarks import Face
from mimaface_cli.face.photometric import SkinSurface, overlay_warped
from mimaface_cli.face.rasterizer import rasterize_positions
from mimaface_cli.motion.rotation import rotation_matrix

REVISION = 5  # part of the cache key: increase it when results change, so that older cached tracks are not reused
PATCH_SIZE = 320  # pixels
_HALF_SIDE = 0.58  # half the side of the patch, relative to the longer side of the face's box
_WARP_STRIDE = 2  # the warp is rasterized at half the resolution
_FLOW_WINDOW = 9  # pixels; a smaller window follows lips better, a larger one is more stable
_MAX_FLOW, _MAX_RETURN_ERROR = 7.5, 0.75  # pixels of the patch; limits of a valid flow
_FLOW_ROUNDS, _FLOW_STEPS = 2, 3  # rounds of the flow, and Gauss–Newton steps in each
_PHOTOMETRIC_STEPS = 2
_FLOW_NOISE = 0.2  # pixels of the 256 crop
# Noise of landmarks without flow, in pixels of the 256 crop, if few and if most landmarks have a valid flow; and the
# shares that count as few and most.
_MIN_LANDMARK_NOISE, _MAX_LANDMARK_NOISE = 1.0, 4.0
_FEW_SHARE, _MOST_SHARE = 0.2, 0.6
IS_TRACKED = np.ones(478, bool)
IS_TRACKED[topology.OVAL] = False  # the outline shows different skin in each view
IS_TRACKED[topology.IRIS] = False


@dataclass(frozen=True)
class FacePatch:
    """The square gray image around a face, the only part of a frame that is stored.

    Attributes:
        gray: (PATCH_SIZE, PATCH_SIZE) uint8.
        affine: (2, 3) transform of the frame's pixels to the patch's (pixel centers at i + 0.5).
    """

    gray: np.ndarray
    affine: np.ndarray

    @classmethod
    def cut(cls, image: np.ndarray, points: np.ndarray) -> "FacePatch":
        """Cut the patch from a frame.

        Args:
            image: (H, W, 3) uint8 RGB.
            points: (478, 2) landmarks in its pixels.
        """
        low, high = points.min(0), points.max(0)
        half = max(1, round(float((high - low).max()) * _HALF_SIDE))
        height, width = image.shape[:2]
        left, top = np.clip((low + high) / 2, 0, [width - 1, height - 1]).round().astype(int) - half
        right, bottom = left + 2 * half, top + 2 * half
        gray = cv2.cvtColor(image[max(0, top) : bottom, max(0, left) : right], cv2.COLOR_RGB2GRAY)
        borders = max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width)
        if any(borders):
            gray = cv2.copyMakeBorder(gray, *borders, cv2.BORDER_REPLICATE)
        scale = PATCH_SIZE / (2 * half)
        interpolation = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
        affine = np.array([[scale, 0, -scale * left], [0, scale, -scale * top]])
        return cls(cv2.resize(gray, (PATCH_SIZE, PATCH_SIZE), interpolation=interpolation), affine)


class ShotFrame(NamedTuple):
    """The patch of a frame and the face that was detected in the frame."""

    patch: FacePatch
    face: Face


class FittedFrame(NamedTuple):
    """A frame and its fit."""

    frame: ShotFrame
    fit: FrameFit


class _Start(NamedTuple):
    """Where the fit of a frame starts.

    Attributes:
        pose: (6,).
        expression: (64,), or None for the prior.
        points: (478, 2) expected landmarks in pixels of the crop.
        depth: (478,) their distances from the camera.
    """

    pose: np.ndarray
    expression: np.ndarray | None
    points: np.ndarray
    depth: np.ndarray


class SkinTracker:
    """Tracker that fits the frames of a shot by comparing their skin with the shot's reference frame.

    Args:
        fitter: Fitter that is anchored at the reference frame (`Fitter.anchored`).
        surface: The skin's mesh.
        patch: Patch of the reference frame.
        crop: (2, 3) transform of the frames to the shot's 256 crop.
        points: (478, 2) landmarks in pixels of the reference frame.

    Attributes:
        fitter: The fitter.
        surface: The skin's mesh.
        patch: Patch of the reference frame.
        points: (478, 2) landmarks in pixels of that patch.
    """

    def __init__(
        self, fitter: Fitter, surface: SkinSurface, patch: FacePatch, crop: np.ndarray, points: np.ndarray
    ) -> None:
        self.fitter = fitter
        self.surface, self._crop, self.patch = surface, crop, patch
        self.points = transform_points(patch.affine, points)
        self._triangles = fitter.model.triangles
        self._iris_tracker = IrisTracker()

    def fit_frame(self, frame: ShotFrame, previous: FittedFrame | None = None) -> FrameFit:
        """Fit pose and expression of a frame to its image and its landmarks.

        Args:
            frame: The frame.
            previous: The frame before it, if it is fitted. Landmarks that are wrong in one frame are almost as wrong in
                the next. So the fit starts from the landmarks, corrected as in the previous frame, and one round of
                optical flow is enough.
        """
        patch, face = frame
        fitter = self.fitter
        points = transform_points(self._crop, face.points)
        to_patch = self._crop_to_patch(patch)
        if previous is None:
            rounds, start = _FLOW_ROUNDS, self._start_from_landmarks(frame)
        else:
            rounds, start = 1, self._start_from_previous(frame, previous)
        pose, expression, expected, depth = start
        for _ in range(rounds):
            flow_points, is_valid = self._track_points(patch.gray, transform_points(to_patch, expected), depth)
            targets = np.where(is_valid[:, None], transform_points(invert(to_patch), flow_points), points)
            landmark_noise = np.full(len(points), _landmark_noise(is_valid))
            noise = np.where(is_valid, _FLOW_NOISE, landmark_noise)
            fit = fitter.fit_frame(targets, face.scores, pose, _FLOW_STEPS, expression, noise, head=face.head)
            pose, expression = fit.pose, fit.expression
            expected, depth = fitter.project_fit(fit)

        landmark_noise[topology.EYES] = _MIN_LANDMARK_NOISE  # the photometric term leaves the eyelids out
        image_term = self.image_term(patch)
        return fitter.fit_frame(
            points, face.scores, pose, _PHOTOMETRIC_STEPS, expression, landmark_noise, image_term, face.head
        )

    def _start_from_landmarks(self, frame: ShotFrame) -> _Start:
        points = transform_points(self._crop, frame.face.points)
        pose = self.fitter.initial_pose(points, frame.face.rotation)
        return _Start(pose, None, points, self.fitter.neutral_depth(pose))

    def _start_from_previous(self, frame: ShotFrame, previous: FittedFrame) -> _Start:
        """Add the differences between the previous frame's fit and its landmarks to a frame's landmarks."""
        face, previous_face = frame.face, previous.frame.face
        fitted_points, depth = self.fitter.project_fit(previous.fit)
        expected = fitted_points + (face.points - previous_face.points) @ self._crop[:, :2].T
        rotation = face.rotation @ previous_face.rotation.T @ rotation_matrix(previous.fit.pose[:3])
        return _Start(self.fitter.initial_pose(expected, rotation), previous.fit.expression, expected, depth)

    def calibrate_irises(self, frames: list[ShotFrame], fits: list[FrameFit]) -> None:
        """Start iris tracking, calibrated on frames and their fits. Until then, irises stay at the landmarks."""
        images = [self._eye_image(frame, fit) for frame, fit in zip(frames, fits, strict=True)]
        self._iris_tracker = IrisTracker.from_reference(self.patch.gray, self.points).calibrated(images)

    def locate_irises(self, frame: ShotFrame, fit: FrameFit) -> np.ndarray:
        """Return a frame's landmarks (478, 2) in the crop, with the irises at their places in the image."""
        points = self._iris_tracker.locate(self._eye_image(frame, fit))
        return transform_points(compose(self._crop, invert(frame.patch.affine)), points)

    def image_term(self, patch: FacePatch) -> ImageTerm:
        """Return the photometric error between another frame and the reference that is warped onto it."""
        to_patch = self._crop_to_patch(patch)

        def compare(pixels: np.ndarray, depth: np.ndarray) -> tuple[sparse.csr_array, np.ndarray]:
            points = transform_points(to_patch, pixels)
            hessian, gradient = self.surface.compare(self.patch.gray, self.points, patch.gray, points, depth)
            return hessian * to_patch[0, 0] ** 2, gradient * to_patch[0, 0]

        return compare

    def _crop_to_patch(self, patch: FacePatch) -> np.ndarray:
        return compose(patch.affine, invert(self._crop))

    def _eye_image(self, frame: ShotFrame, fit: FrameFit) -> EyeImage:
        fitted_points = self.fitter.project_fit(fit)[0]
        points = align_irises(transform_points(self._crop, frame.face.points), fitted_points)
        to_patch = self._crop_to_patch(frame.patch)
        return EyeImage(frame.patch.gray, transform_points(to_patch, fitted_points), transform_points(to_patch, points))

    def _track_points(self, gray: np.ndarray, expected: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Locate the landmarks in a patch by optical flow from the warped reference.

        Args:
            gray: (PATCH_SIZE, PATCH_SIZE) uint8.
            expected: (478, 2) expected landmarks in pixels of the patch.
            depth: (478,) distances from the camera.

        Returns:
            Landmarks (478, 2), and the mask (478,) of those with a valid flow.
        """
        side = PATCH_SIZE // _WARP_STRIDE
        _, source = rasterize_positions(expected / _WARP_STRIDE, depth, self._triangles, self.points - 0.5, side, side)
        # Bilinear upsampling is almost exact, because the warp is nearly affine within a triangle.
        source = cv2.resize(source, (PATCH_SIZE, PATCH_SIZE), interpolation=cv2.INTER_LINEAR)
        warped = overlay_warped(gray, self.patch.gray, source)
        start = (expected - 0.5).astype(np.float32)
        tracked = np.flatnonzero(IS_TRACKED)
        moved = np.array(start)
        moved[tracked], has_flow = _optical_flow(warped, gray, start[tracked], start[tracked])
        tracked = tracked[has_flow & (((moved - start)[tracked] ** 2).sum(1) < _MAX_FLOW**2)]
        is_valid = np.zeros(len(start), bool)
        if len(tracked):
            returned, has_flow = _optical_flow(gray, warped, moved[tracked], start[tracked])
            is_valid[tracked] = has_flow & (((returned - start[tracked]) ** 2).sum(1) < _MAX_RETURN_ERROR**2)
        return moved + 0.5, is_valid


def _optical_flow(
    image: np.ndarray, target: np.ndarray, points: np.ndarray, initial: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Follow points (N, 2) float32 from an image to a target; return the new points and whether each is valid."""
    moved, status, _ = cv2.calcOpticalFlowPyrLK(
        image,
        target,
        points[:, None],
        initial[:, None].copy(),
        winSize=(_FLOW_WINDOW, _FLOW_WINDOW),
        maxLevel=1,
        criteria=(cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 5, 0.03),
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    return moved[:, 0], status.ravel().astype(bool)


def _landmark_noise(is_valid: np.ndarray) -> float:
    """Return the noise of the landmarks without flow; it grows with the share of landmarks with a valid flow."""
    share = np.clip((is_valid[IS_TRACKED].mean() - _FEW_SHARE) / (_MOST_SHARE - _FEW_SHARE), 0, 1)
    return _MIN_LANDMARK_NOISE + share * (_MAX_LANDMARK_NOISE - _MIN_LANDMARK_NOISE)
