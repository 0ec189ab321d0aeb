"""The reference frame of a shot, with which skin tracking compares the others, and its landmarks.

The landmarks of the reference are off by a pixel or two, as in any frame. If other skin is mistaken for the edge of a
lip, the lip is misplaced in the whole shot. But such skin moves differently from what the fitted face predicts. So the
landmarks of the reference are estimated from the images of many frames, together with pose and expression in each.
"""

import numpy as np
from scipy import sparse

from mimaface_cli.face.alignment import invert, transform_points
from mimaface_cli.face.face478 import VERTICES
from mimaface_cli.face.fitting import Fitter, FrameFit
from mimaface_cli.face.landmarks import Face
from mimaface_cli.face.photometric import SkinSurface
from mimaface_cli.face.skin_tracking import IS_TRACKED, ShotFrame, SkinTracker
from mimaface_cli.motion.rotation import euler_angles, rotation_matrix

CALIBRATION_FRAMES = 10  # evenly spaced among the first frames of a shot
_LANDMARK_DEVIATION = 1.5  # pixels of the 256 crop; prior of a landmark's error
_MAX_CORRECTION = 2.0  # pixels of the 256 crop


def select_reference(faces: list[Face]) -> int:
    """Return the index of the face that is most similar to all others in expression and direction."""
    scores = np.stack([face.scores for face in faces])
    directions = np.stack([face.rotation[:, 2] for face in faces])
    median_direction = np.median(directions, 0)
    cosines = directions @ (median_direction / np.linalg.norm(median_direction))
    angles = np.arccos(np.clip(cosines, -1, 1))
    return int(np.argmin(np.abs(scores - np.median(scores, 0)).sum(1) + 2 * angles))


def build_skin_tracker(fitter: Fitter, crop: np.ndarray, frames: list[ShotFrame]) -> SkinTracker:
    """Select the reference frame of a shot and build its skin tracker.

    On average over the frames, pose and expression equal those of the landmarks alone. So the errors of one frame do
    not bias the whole shot.

    Args:
        fitter: Fitter of the person.
        crop: (2, 3) transform of the frames to the shot's 256 crop.
        frames: The first frames of the shot.
    """
    patch, face = frames[select_reference([frame.face for frame in frames])]
    surface = SkinSurface.from_triangles(fitter.model.triangles)
    indices = np.linspace(0, len(frames) - 1, min(CALIBRATION_FRAMES, len(frames))).astype(int)
    calibration_frames = [frames[index] for index in indices]
    landmarks = [transform_points(crop, frame.face.points) for frame in calibration_frames]
    landmark_fits = [
        _fit_landmarks(fitter, points, frame.face) for points, frame in zip(landmarks, calibration_frames, strict=True)
    ]

    def track_from(points: np.ndarray, fit: FrameFit) -> SkinTracker:
        anchored = fitter.anchored(points, face.scores, fit)
        return SkinTracker(anchored, surface, patch, crop, transform_points(invert(crop), points))

    points = transform_points(crop, face.points)
    tracker = track_from(points, _fit_landmarks(fitter, points, face))
    # The landmark model lags behind a moving mouth. First the landmarks of the other frames correct the reference's.
    fits = [tracker.fit_frame(frame) for frame in calibration_frames]
    residuals = [
        frame_points - tracker.fitter.project_fit(fit)[0] for frame_points, fit in zip(landmarks, fits, strict=True)
    ]
    points = points + np.where(IS_TRACKED[:, None], np.median(residuals, 0), 0)
    reference_fit = _fit_landmarks(fitter, points, face)
    tracker = track_from(points, reference_fit)
    fits = [tracker.fit_frame(frame) for frame in calibration_frames]
    correction = _estimate_correction(tracker, reference_fit, calibration_frames, fits)
    tracker = track_from(points + correction, _remove_average_difference(reference_fit, fits, landmark_fits))
    tracker.calibrate_irises(calibration_frames, fits)
    return tracker


def _fit_landmarks(fitter: Fitter, points: np.ndarray, face: Face) -> FrameFit:
    """Fit a frame to its landmarks (478, 2 pixels of the crop) alone."""
    pose = fitter.initial_pose(points, face.rotation)
    return fitter.fit_frame(points, face.scores, pose, head=face.head)


def _remove_average_difference(
    reference_fit: FrameFit, fits: list[FrameFit], landmark_fits: list[FrameFit]
) -> FrameFit:
    """Change the reference's fit by the average difference between the landmark fits and the fits of the frames."""
    pairs = list(zip(fits, landmark_fits, strict=True))
    rotations = [
        rotation_matrix(fit.pose[:3]).T @ rotation_matrix(landmark_fit.pose[:3]) for fit, landmark_fit in pairs
    ]
    # The nearest rotation to the sum is the chordal mean.
    left, _, right = np.linalg.svd(np.sum(rotations, 0))
    angles = euler_angles(rotation_matrix(reference_fit.pose[:3]) @ left @ right)
    change = np.mean([landmark_fit.expression - fit.expression for fit, landmark_fit in pairs], 0)
    pose = np.append(angles, reference_fit.pose[3:])
    return FrameFit(pose, reference_fit.expression + change, reference_fit.error)


def _estimate_correction(
    tracker: SkinTracker, reference_fit: FrameFit, frames: list[ShotFrame], fits: list[FrameFit]
) -> np.ndarray:
    """Estimate the correction (478, 2), in pixels of the crop, of the reference's landmarks.

    One Gauss–Newton step over the landmarks and all frames' poses and expressions together. The prior prefers equal
    corrections of neighbors.

    Args:
        tracker: Tracker with the uncorrected landmarks.
        reference_fit: Fit of the reference frame.
        frames: Frames to compare with the reference.
        fits: Their fits.
    """
    fitter, surface = tracker.fitter, tracker.surface
    points = fitter.project_fit(reference_fit)[0]
    vertex_prior = surface.roughness() + np.eye(len(fitter.fitted_vertices))
    is_free = np.repeat(surface.is_skin_vertex, 2)
    is_skin = surface.is_skin_vertex
    vertex_prior = vertex_prior[np.ix_(is_skin, is_skin)] / _LANDMARK_DEVIATION**2
    hessian = np.zeros((2 * len(vertex_prior), 2 * len(vertex_prior)))
    hessian[::2, ::2] = hessian[1::2, 1::2] = vertex_prior
    gradient = np.zeros(len(hessian))
    for frame, fit in zip(frames, fits, strict=True):
        # Shifting a landmark of the reference by d shifts its vertex in this frame by R·d, where R is the effect of the
        # head's rotation. But the skin under the shifted landmark appears at D·d, where D is the deformation between
        # the two frames. Only the difference is visible in the image.
        rotated = fitter.project_fit(FrameFit(fit.pose, reference_fit.expression, 0.0))[0]
        fitted = fitter.project_fit(fit)[0]
        difference = surface.deformation(points, rotated) - surface.deformation(points, fitted)
        displacements = sparse.bsr_array((difference, np.arange(len(difference)), np.arange(len(difference) + 1)))
        frame_hessian, frame_gradient = fitter.reduce_to_displacements(
            fit, frame.face.scores, tracker.image_term(frame.patch), displacements.tocsr()[:, is_free]
        )
        hessian += frame_hessian
        gradient += frame_gradient
    step = np.zeros(len(is_free))
    step[is_free] = np.linalg.solve(hessian, -gradient)
    correction = np.zeros((VERTICES, 2))
    correction[fitter.fitted_vertices] = np.clip(step.reshape(-1, 2), -_MAX_CORRECTION, _MAX_CORRECTION)
    return correction
