"""Fitting of face478 to landmarks: regularized Gauss–Newton over pose and expression, and over identity per person.

A frame has six unknowns for pose and 64 for expression. The landmark model's scores are the prior of the named
expression coefficients; its rotation is the initial estimate of the pose.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse

from mimaface_cli.face import camera, topology
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.fit_kernels import (
    differentiate,
    linearize,
    multiply_vertex_matrix,
    scale_rows,
    weigh_landmarks,
)
from mimaface_cli.motion.coefficients import BLENDSHAPES, EXPRESSION_DIM, IDENTITY_DIM
from mimaface_cli.motion.rotation import euler_angles, rotation_from_vector, rotation_matrix

NAMED_COUNT = len(BLENDSHAPES)
# Standard deviations of the priors of the unnamed expression coefficients and of identity.
UNNAMED_DEVIATION, IDENTITY_DEVIATION = 1.0, 1.0
# Standard deviation in rad of the landmark model's rotation. Landmarks alone do not separate a nod from an expression:
# without this prior, expressions take a third of it.
ROTATION_DEVIATION = np.radians(0.3)
# Scale of Cauchy's loss, in standard deviations of a landmark: an occluded or wrong landmark must not distort the face.
OUTLIER_SCALE = 0.5
_TURN = slice(0, 3)  # rows of the rotation among the unknowns

ImageTerm = Callable[[np.ndarray, np.ndarray], tuple[sparse.csr_array, np.ndarray]]
"""An image's part of the error: called with the projected vertices (V, 2), in pixels of the 256 crop, and their
distances (V,); returns the Hessian (2V, 2V), stored in 2×2 blocks of vertex pairs, and the gradient (2V,) of half a
squared error with respect to the pixels."""


@dataclass(frozen=True)
class FrameFit:
    """The fit of one frame.

    Attributes:
        pose: (6,) Euler angles x, y, z in rad and translation in model units.
        expression: (64,).
        error: RMS distance of the landmarks in pixels of the crop.
    """

    pose: np.ndarray
    expression: np.ndarray
    error: float


class _Linearization(NamedTuple):
    """Projection of the fitted vertices and its derivatives.

    Attributes:
        pixels: (V, 2).
        depth: (V,) distances from the camera.
        jacobian: (2V, 6 + K) float32 derivative of the pixels with respect to a small rotation, translation and
            coefficients.
    """

    pixels: np.ndarray
    depth: np.ndarray
    jacobian: np.ndarray


class Fitter:
    """Fitter of one person's pose and expression. It holds precomputed matrices only, so threads can share it.

    Args:
        model: The face model.
        identity: (80,) identity of the person, by default the mean.

    Attributes:
        model: The face model.
        identity: (80,).
        neutral: (478, 3) the person's neutral face.
        fitted_vertices: Indices of the vertices that take part in fits: all but the irises, which gaze moves.
    """

    def __init__(self, model: Face478, identity: np.ndarray | None = None) -> None:
        self.model = model
        self.identity = np.zeros(IDENTITY_DIM) if identity is None else np.asarray(identity, np.float64)
        self.neutral = model.mean + model.identity_basis @ self.identity
        self.fitted_vertices = np.setdiff1d(np.arange(len(model.mean)), topology.IRIS)
        self._weights = 1.0 / model.noise[self.fitted_vertices]
        # float32 halves the time; the Jacobian only gives the direction of a step.
        self._basis = np.ascontiguousarray(model.expression_basis[self.fitted_vertices], np.float32)
        covariance = UNNAMED_DEVIATION**2 * np.eye(EXPRESSION_DIM)
        covariance[:NAMED_COUNT, :NAMED_COUNT] = model.score_error
        self._prior_precision = np.linalg.inv(covariance)
        self._prior_offset = np.zeros(EXPRESSION_DIM)

    def initial_pose(self, points: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """Estimate a pose: the depth from the size of the face, the translation from its place.

        Args:
            points: (478, 2) landmarks in pixels of the crop.
            rotation: (3, 3) canonical face to camera axes.

        Returns:
            (6,) pose.
        """
        rotated = self.neutral @ rotation.T
        spread = np.sqrt(((points - points.mean(0)) ** 2).sum(1).mean())
        model_spread = np.sqrt(((rotated[:, :2] - rotated[:, :2].mean(0)) ** 2).sum(1).mean())
        focal = camera.FOCAL_PER_SIZE * camera.CROP_SIZE
        depth = focal * model_spread / max(spread, 1e-3)
        center = (points.mean(0) - camera.CROP_SIZE / 2) * [1, -1] * depth / focal
        translation = np.append(center - rotated[:, :2].mean(0), camera.CAMERA_DISTANCE - depth)
        return np.concatenate([euler_angles(rotation), translation])

    def fit_frame(
        self,
        points: np.ndarray,
        scores: np.ndarray,
        pose: np.ndarray,
        steps: int = 4,
        expression: np.ndarray | None = None,
        noise: np.ndarray | None = None,
        image_term: ImageTerm | None = None,
        head: np.ndarray | None = None,
    ) -> FrameFit:
        """Fit pose and expression to the landmarks of a frame.

        Args:
            points: (478, 2) landmarks in pixels of the 256 crop.
            scores: (52,) blendshape scores in 0..1, the prior of the named coefficients.
            pose: (6,) initial pose.
            steps: Number of Gauss–Newton steps.
            expression: (64,) initial expression, by default the prior.
            noise: (478,) standard deviation of each landmark in pixels. With it, outliers get less weight (iteratively
                reweighted least squares, Cauchy's loss). By default the model's noise, without reweighting.
            image_term: Further part of the error.
            head: (3, 3) rotation of the head that the landmark model reports, the prior of the rotation. By default all
                rotations are equally likely.
        """
        points, prior = points[self.fitted_vertices].astype(np.float64), self._prior(scores)
        expression = prior if expression is None else expression
        rotation, translation = rotation_matrix(pose[:3]), pose[3:].astype(np.float64)
        weights = (self._weights if noise is None else 1.0 / noise[self.fitted_vertices]) ** 2
        neutral, flat_basis = self.neutral[self.fitted_vertices], self._basis.reshape(-1, EXPRESSION_DIM)
        count = len(points)
        jacobian, rows = (np.empty((2 * count, 6 + EXPRESSION_DIM), np.float32) for _ in range(2))
        current = _Linearization(np.empty((count, 2)), np.empty(count), jacobian)
        step_weights = np.empty(count)
        for step in range(steps):
            offset = flat_basis @ expression.astype(np.float32)
            linearize(neutral, offset, rotation, translation, self._basis, current)
            image = None if image_term is None else image_term(current.pixels, current.depth)
            pixel_gradient = np.zeros(2 * count) if image is None else np.array(image[1], np.float64)
            outlier_scale = OUTLIER_SCALE if noise is not None and step else 0.0
            weigh_landmarks(current.pixels, points, weights, outlier_scale, step_weights, pixel_gradient)
            if image is None:
                scale_rows(jacobian, np.sqrt(step_weights), rows)
                hessian = self._add_prior((rows.T @ rows).astype(np.float64))
            else:
                multiply_vertex_matrix(image[0].indptr, image[0].indices, image[0].data, step_weights, jacobian, rows)
                hessian = self._add_prior((jacobian.T @ rows).astype(np.float64))
            gradient = (jacobian.T @ pixel_gradient.astype(np.float32)).astype(np.float64)
            gradient[6:] += self._prior_precision @ (expression - prior)
            if head is not None:
                _add_rotation_prior(hessian, gradient, rotation, head)
            change = np.linalg.solve(hessian, -gradient)
            rotation = rotation_from_vector(change[:3]) @ rotation
            translation = translation + change[3:6]
            expression = expression + change[6:]
        pixels = camera.project(self._rotate_vertices(expression, rotation) + translation)[0]
        error = np.sqrt(((pixels - points) ** 2).sum(1).mean())
        return FrameFit(np.concatenate([euler_angles(rotation), translation]), expression, float(error))

    def project_fit(self, fit: FrameFit) -> tuple[np.ndarray, np.ndarray]:
        """Project a fitted face: pixels (478, 2) of the 256 crop and distances (478,) from the camera."""
        return camera.project(camera.apply_pose(self.shape(fit.expression), fit.pose))

    def shape(self, expression: np.ndarray) -> np.ndarray:
        """Return the person's unposed vertices (478, 3) with an expression (64,)."""
        # As one matrix: NumPy multiplies a stack of matrices one by one, which takes seven times as long.
        offset = self.model.expression_basis.reshape(-1, EXPRESSION_DIM) @ expression
        return self.neutral + offset.reshape(-1, 3)

    def neutral_depth(self, pose: np.ndarray) -> np.ndarray:
        """Return the distances (478,) of the neutral face's vertices from the camera."""
        return camera.CAMERA_DISTANCE - camera.apply_pose(self.neutral, pose)[:, 2]

    def anchored(self, points: np.ndarray, scores: np.ndarray, fit: FrameFit) -> "Fitter":
        """Return a copy with a neutral face that projects exactly onto a frame's landmarks under that frame's fit.

        Identity alone cannot explain all landmarks. The residual is added to the neutral face, so that landmarks that
        are tracked from this frame change with motion only.

        Args:
            points: (478, 2) landmarks of the frame in pixels of the 256 crop.
            scores: (52,) scores of the frame.
            fit: Fit of the frame.
        """
        pixels, depth = self.project_fit(fit)
        offset = camera.unproject(points, depth) - camera.unproject(pixels, depth)
        anchored = copy(self)
        anchored.neutral = self.neutral + offset @ rotation_matrix(fit.pose[:3])
        anchored._prior_offset = fit.expression - self._prior(scores)
        return anchored

    def reduce_to_identity(
        self, points: np.ndarray, scores: np.ndarray, fit: FrameFit, head: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a frame's normal equations of identity, with pose and expression eliminated (Schur complement).

        Without the elimination, expression and pose would absorb the identity.

        Args:
            points: (478, 2) landmarks in pixels of the 256 crop.
            scores: (52,) scores.
            fit: Fit of the frame.
            head: (3, 3) prior of the rotation, as in `fit_frame`.

        Returns:
            Hessian (80, 80) and gradient (80,) of half the squared error with respect to identity.
        """
        rotation, unknowns = rotation_matrix(fit.pose[:3]), 6 + EXPRESSION_DIM
        identity_basis = self.model.identity_basis[self.fitted_vertices].astype(np.float32)
        basis = np.concatenate([self._basis, identity_basis], 2)
        current = self._linearize(fit.expression, rotation, fit.pose[3:], basis)
        residual = (current.pixels - points[self.fitted_vertices]) * self._weights[:, None]
        rows = _scale_rows(current.jacobian, self._weights)
        gradient = (rows.T @ residual.ravel().astype(np.float32)).astype(np.float64)
        gradient[6:unknowns] += self._prior_precision @ (fit.expression - self._prior(scores))
        hessian = (rows.T @ rows).astype(np.float64)
        if head is not None:
            _add_rotation_prior(hessian, gradient, rotation, head)
        cross_hessian = hessian[:unknowns, unknowns:]
        response = np.linalg.solve(self._add_prior(hessian[:unknowns, :unknowns]), cross_hessian)
        reduced_hessian = hessian[unknowns:, unknowns:] - cross_hessian.T @ response
        return reduced_hessian, gradient[unknowns:] - response.T @ gradient[:unknowns]

    def reduce_to_displacements(
        self, fit: FrameFit, scores: np.ndarray, image_term: ImageTerm, displacements: sparse.sparray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the image's normal equations of vertex displacements, with pose and expression eliminated.

        The error of the landmarks is not included.

        Args:
            fit: Fit of the frame.
            scores: (52,) scores of the frame.
            image_term: The image's part of the error.
            displacements: (2V, M) movement of the fitted vertices, in pixels of the crop, per unknown.

        Returns:
            Hessian (M, M) and gradient (M,) of half the squared error with respect to the unknowns.
        """
        current = self._linearize(fit.expression, rotation_matrix(fit.pose[:3]), fit.pose[3:])
        jacobian = current.jacobian
        image_hessian, image_gradient = image_term(current.pixels, current.depth)
        gradient = jacobian.T @ image_gradient
        gradient[6:] += self._prior_precision @ (fit.expression - self._prior(scores))
        hessian = self._add_prior(jacobian.T @ (image_hessian @ jacobian))
        image_cross_hessian = image_hessian @ displacements.tocsr()
        cross_hessian = jacobian.T @ image_cross_hessian
        response = np.linalg.solve(hessian, cross_hessian)
        reduced_hessian = (displacements.T @ image_cross_hessian).toarray() - cross_hessian.T @ response
        return reduced_hessian, displacements.T @ image_gradient - response.T @ gradient

    def _prior(self, scores: np.ndarray) -> np.ndarray:
        """Return the prior mean of the expression (64,)."""
        return np.concatenate([scores, np.zeros(EXPRESSION_DIM - NAMED_COUNT)]) + self._prior_offset

    def _rotate_vertices(self, expression: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """Return the fitted vertices (V, 3), rotated but not translated."""
        offset = (self._basis.reshape(-1, EXPRESSION_DIM) @ expression.astype(np.float32)).reshape(-1, 3)
        return (self.neutral[self.fitted_vertices] + offset) @ rotation.T

    def _linearize(
        self, expression: np.ndarray, rotation: np.ndarray, translation: np.ndarray, basis: np.ndarray | None = None
    ) -> _Linearization:
        """Linearize with respect to pose and the coefficients of a basis (V, 3, K), by default the expression's."""
        basis = self._basis if basis is None else basis
        rotated = self._rotate_vertices(expression, rotation)
        pixels, depth = camera.project(rotated + translation)
        jacobian = np.empty((2 * len(rotated), 6 + basis.shape[2]), np.float32)
        differentiate(rotated, translation, rotation, basis, jacobian)
        return _Linearization(pixels, depth, jacobian)

    def _add_prior(self, hessian: np.ndarray) -> np.ndarray:
        """Add the Hessian of the prior to a Hessian (70, 70), in place."""
        hessian[np.arange(6), np.arange(6)] += 1e-6
        hessian[6:, 6:] += self._prior_precision
        return hessian


def _add_rotation_prior(hessian: np.ndarray, gradient: np.ndarray, rotation: np.ndarray, head: np.ndarray) -> None:
    """Add the prior of the rotation to the normal equations, in place.

    Args:
        hessian: (K, K); the first three unknowns are a small rotation.
        gradient: (K,).
        rotation: (3, 3) current rotation.
        head: (3, 3) rotation that the prior prefers.
    """
    turn = rotation @ head.T
    sine = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]) / 2
    hessian[_TURN, _TURN] += np.eye(3) / ROTATION_DEVIATION**2
    gradient[_TURN] += sine / ROTATION_DEVIATION**2


def _scale_rows(jacobian: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return a float32 Jacobian (2V, K) with both rows of each vertex multiplied by its factor (V,)."""
    rows = np.empty_like(jacobian)
    scale_rows(jacobian, factors, rows)
    return rows


def fit_identity(
    model: Face478,
    points: np.ndarray,
    scores: np.ndarray,
    rotations: np.ndarray,
    rounds: int = 2,
    has_rotation_prior: bool = True,
) -> np.ndarray:
    """Fit the identity of one person to several frames.

    Gauss–Newton over the identity and all frames' poses and expressions together, so that a temporary expression does
    not become part of the identity. The errors of a clip's frames are correlated: together they count as one frame.

    Args:
        model: The face model.
        points: (K, 478, 2) landmarks in pixels of the crop.
        scores: (K, 52) scores.
        rotations: (K, 3, 3) canonical face to camera axes.
        rounds: Number of Gauss–Newton steps.
        has_rotation_prior: Whether the rotations are a prior, as in `Fitter.fit_frame`, or only the initial estimates.

    Returns:
        (80,) identity.
    """
    identity = np.zeros(IDENTITY_DIM)
    poses: list[np.ndarray] = []
    for _ in range(rounds):
        fitter = Fitter(model, identity)
        if not poses:
            initial = zip(points, rotations, strict=True)
            poses = [fitter.initial_pose(frame_points, rotation) for frame_points, rotation in initial]
        hessian, gradient = np.eye(IDENTITY_DIM) / IDENTITY_DEVIATION**2, identity / IDENTITY_DEVIATION**2
        for index, (frame_points, frame_scores) in enumerate(zip(points, scores, strict=True)):
            head = rotations[index] if has_rotation_prior else None
            fit = fitter.fit_frame(frame_points, frame_scores, poses[index], steps=3, head=head)
            poses[index] = fit.pose
            frame_hessian, frame_gradient = fitter.reduce_to_identity(frame_points, frame_scores, fit, head)
            hessian += frame_hessian / len(points)
            gradient += frame_gradient / len(points)
        identity = identity - np.linalg.solve(hessian, gradient)
    return identity
