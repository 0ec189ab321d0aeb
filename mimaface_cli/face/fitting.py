"""Fitting face478 to landmarks: regularized Gauss–Newton on pose and expression, identity once per person.

The unknowns of a frame are six for pose and 64 for expression; the landmarker's scores are the prior of the named
expression coefficients, its matrix the first guess of the pose.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from mimaface_cli.face import camera, topology
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.kernels import kernel
from mimaface_cli.motion.coefficients import BLENDSHAPES, EXPRESSION_DIM, IDENTITY_DIM
from mimaface_cli.motion.rotation import euler_angles, rotation_from_vector, rotation_matrix

NAMED = len(BLENDSHAPES)
# How many standard deviations the unnamed coefficients may stray, in prior strength.
EXTRA_DEVIATION, IDENTITY_DEVIATION = 1.0, 1.0
# Deviations of a landmark from which it counts less: an occluded or mistaken one must not pull the face.
OUTLYING = 0.5
# Told where vertices are shown (V×2 pixels of the 256 crop) and how far away (V): curvature 2V×2V and slope 2V, by those
# pixels, of half a squared error.
Picture = Callable[[np.ndarray, np.ndarray], tuple[sparse.csr_array, np.ndarray]]


@kernel
def _differentiate(turned, translation, rotation, basis, gradient, jacobian):
    """Derivatives of the pixels of vertices V×3, turned but not yet moved: by their places (gradient, V×2×3) and by a
    small turn, translation and the coefficients of a basis V×3×64 that is not yet turned (jacobian, 2V×70).
    """
    for vertex in range(len(turned)):
        x, y, z = turned[vertex]
        depth = camera.CAMERA_DISTANCE - z - translation[2]
        scale = camera.FOCAL_PER_SIZE * camera.CROP_SIZE / depth
        gradient[vertex, 0, 0], gradient[vertex, 0, 2] = scale, (x + translation[0]) * scale / depth
        gradient[vertex, 1, 1], gradient[vertex, 1, 2] = -scale, -(y + translation[1]) * scale / depth
        for axis in range(2):
            row = jacobian[2 * vertex + axis]
            gx, gy, gz = gradient[vertex, axis]
            # d/dω of ω × p is gradient · (ω × p) = ω · (p × gradient)
            row[0], row[1], row[2] = y * gz - z * gy, z * gx - x * gz, x * gy - y * gx
            row[3], row[4], row[5] = gx, gy, gz
            a = gx * rotation[0, 0] + gy * rotation[1, 0] + gz * rotation[2, 0]
            b = gx * rotation[0, 1] + gy * rotation[1, 1] + gz * rotation[2, 1]
            c = gx * rotation[0, 2] + gy * rotation[1, 2] + gz * rotation[2, 2]
            for k in range(basis.shape[2]):
                row[6 + k] = a * basis[vertex, 0, k] + b * basis[vertex, 1, k] + c * basis[vertex, 2, k]


@dataclass(frozen=True)
class FrameFit:
    """pose: 6 (angles x, y, z in rad, translation in model units); expression: 64; error: rms distance of the
    landmarks in pixels of the crop.
    """

    pose: np.ndarray
    expression: np.ndarray
    error: float


class Fitter:
    """Fits one model for one identity; holds nothing but precomputed matrices."""

    def __init__(self, model: Face478, identity: np.ndarray | None = None):
        self.model = model
        self.identity = np.zeros(IDENTITY_DIM) if identity is None else np.asarray(identity, np.float64)
        self.neutral = model.mean + model.identity_basis @ self.identity
        self.seen = np.setdiff1d(np.arange(len(model.mean)), topology.IRIS)  # gaze moves the irises
        self.root_weight = 1.0 / model.noise[self.seen]
        self._basis = np.ascontiguousarray(model.expression_basis[self.seen])
        covariance = EXTRA_DEVIATION**2 * np.eye(EXPRESSION_DIM)
        covariance[:NAMED, :NAMED] = model.score_error
        self._precision = np.linalg.inv(covariance)
        self._habit = np.zeros(EXPRESSION_DIM)

    def first_pose(self, points: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """Pose from 478×2 crop pixels and a canonical-to-camera rotation (3×3): depth from size, shift from place."""
        turned = self.neutral @ rotation.T
        spread = np.sqrt(((points - points.mean(0)) ** 2).sum(1).mean())
        expected = np.sqrt(((turned[:, :2] - turned[:, :2].mean(0)) ** 2).sum(1).mean())
        focal = camera.FOCAL_PER_SIZE * camera.CROP_SIZE
        depth = focal * expected / max(spread, 1e-3)
        center = (points.mean(0) - camera.CROP_SIZE / 2) * [1, -1] * depth / focal
        shift = np.append(center - turned[:, :2].mean(0), camera.CAMERA_DISTANCE - depth)
        return np.concatenate([euler_angles(rotation), shift])

    def frame(
        self,
        points: np.ndarray,
        scores: np.ndarray,
        pose: np.ndarray,
        steps: int = 4,
        expression: np.ndarray | None = None,
        noise: np.ndarray | None = None,
        picture: Picture | None = None,
    ) -> FrameFit:
        """points: 478×2 pixels of the 256 crop; scores: 52 in 0..1; pose: 6 and expression: 64 (the scores), first
        guesses; noise: 478, how far each point may be off, in pixels; outliers then count less (iteratively reweighted,
        Cauchy's loss). picture: what else speaks of where the seen vertices are.
        """
        points, prior = points[self.seen], self._prior(scores)
        expression = prior if expression is None else expression
        rotation, translation = rotation_matrix(pose[:3]), pose[3:].copy()
        weight = self.root_weight if noise is None else 1.0 / noise[self.seen]
        for step in range(steps):
            pixels, depth, jacobian, _ = self._linearized(expression, rotation, translation)
            residual, trust = pixels - points, weight
            if noise is not None and step:
                trust = weight / np.sqrt(1.0 + ((residual * weight[:, None] / OUTLYING) ** 2).sum(1))
            trust = np.float32(trust)
            rows = jacobian * np.repeat(trust, 2)[:, None]
            slope = np.float64(rows.T @ np.float32(residual * trust[:, None]).ravel())
            slope[6:] += self._precision @ (expression - prior)
            curvature = self._curvature(rows)
            if picture is not None:
                bend, pull = picture(pixels, depth)
                curvature += jacobian.T @ (bend.astype(np.float32) @ jacobian)
                slope += jacobian.T @ pull
            change = np.linalg.solve(curvature, -slope)
            rotation = rotation_from_vector(change[:3]) @ rotation
            translation = translation + change[3:6]
            expression = expression + change[6:]
        pixels = camera.project(self._turned(expression, rotation) + translation)[0]
        error = np.sqrt(((pixels - points) ** 2).sum(1).mean())
        return FrameFit(np.concatenate([euler_angles(rotation), translation]), expression, float(error))

    def shown(self, fit: FrameFit) -> tuple[np.ndarray, np.ndarray]:
        """Where a fitted face shows its 478 vertices: pixels of the 256 crop and distances from the camera."""
        return camera.project(camera.place(self.shape(fit.expression), fit.pose))

    def shape(self, expression: np.ndarray) -> np.ndarray:
        """The person's 478×3 vertices with an expression (64)."""
        return self.neutral + self.model.expression_basis @ expression

    def depth(self, pose: np.ndarray) -> np.ndarray:
        """Distances (478) of the vertices at rest from the camera."""
        return camera.CAMERA_DISTANCE - camera.place(self.neutral, pose)[:, 2]

    def through(self, points: np.ndarray, scores: np.ndarray, fit: FrameFit) -> "Fitter":
        """A fitter whose person, as fitted to one frame, lies exactly under that frame's points (478×2 pixels of the
        256 crop) and scores (52) as there: what no identity can tell, so that points followed from that frame speak of
        motion alone.
        """
        pixels, depth = self.shown(fit)
        off = camera.unproject(points, depth) - camera.unproject(pixels, depth)
        other = copy(self)
        other.neutral = self.neutral + off @ rotation_matrix(fit.pose[:3])
        other._habit = fit.expression - self._prior(scores)
        return other

    def for_identity(self, points: np.ndarray, scores: np.ndarray, fit: FrameFit) -> tuple[np.ndarray, np.ndarray]:
        """How the error of a fitted frame changes with identity while pose and expression follow: curvature 80×80 and
        slope 80 of half its square. Without that following, who somebody is hides behind what the face does.
        """
        expression, rotation = fit.expression, rotation_matrix(fit.pose[:3])
        pixels, _, jacobian, gradient = self._linearized(expression, rotation, fit.pose[3:])
        weight = np.repeat(self.root_weight, 2)
        residual, jacobian = (pixels - points[self.seen]).ravel() * weight, jacobian * weight[:, None]
        slope = jacobian.T @ residual
        slope[6:] += self._precision @ (expression - self._prior(scores))
        identity = (gradient @ rotation @ self.model.identity_basis[self.seen]).reshape(-1, IDENTITY_DIM)
        identity *= weight[:, None]
        shared = jacobian.T @ identity
        follow = np.linalg.solve(self._curvature(jacobian), shared)
        return identity.T @ identity - shared.T @ follow, identity.T @ residual - follow.T @ slope

    def for_moves(
        self, fit: FrameFit, scores: np.ndarray, picture: Picture, moves: sparse.sparray
    ) -> tuple[np.ndarray, np.ndarray]:
        """How a picture's error of a fitted frame (landmarks aside) changes with what moves the seen vertices (2V×M,
        pixels of the crop) while pose and expression follow: curvature M×M and slope M of half its square.
        """
        pixels, depth, jacobian, _ = self._linearized(fit.expression, rotation_matrix(fit.pose[:3]), fit.pose[3:])
        bend, pull = picture(pixels, depth)
        slope = jacobian.T @ pull
        slope[6:] += self._precision @ (fit.expression - self._prior(scores))
        curvature = self._curvature(jacobian[:0]) + jacobian.T @ (bend @ jacobian)
        bent = bend @ moves.tocsr()
        shared = jacobian.T @ bent
        follow = np.linalg.solve(curvature, shared)
        return (moves.T @ bent).toarray() - shared.T @ follow, moves.T @ pull - follow.T @ slope

    def _prior(self, scores: np.ndarray) -> np.ndarray:
        return np.concatenate([scores, np.zeros(EXPRESSION_DIM - NAMED)]) + self._habit

    def _turned(self, expression: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """The seen vertices, turned but not yet moved."""
        moved = (self._basis.reshape(-1, EXPRESSION_DIM) @ expression).reshape(-1, 3)
        return (self.neutral[self.seen] + moved) @ rotation.T

    def _linearized(
        self, expression: np.ndarray, rotation: np.ndarray, translation: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Where the seen vertices are shown (V×2 pixels) and how far away (V); the pixels' derivative 2V×70 by a small
        turn, translation and expression, and that by the places of the vertices V×2×3.
        """
        turned = self._turned(expression, rotation)
        pixels, depth = camera.project(turned + translation)
        gradient = np.zeros((len(turned), 2, 3))
        jacobian = np.empty((2 * len(turned), 6 + EXPRESSION_DIM), np.float32)  # half the time; it only shows the way
        _differentiate(turned, translation, rotation, self._basis, gradient, jacobian)
        return pixels, depth, jacobian, gradient

    def _curvature(self, jacobian: np.ndarray) -> np.ndarray:
        """Normal matrix 70×70 with the prior."""
        normal = np.float64(jacobian.T @ jacobian)
        normal[np.arange(6), np.arange(6)] += 1e-6
        normal[6:, 6:] += self._precision
        return normal


def fit_identity(
    model: Face478, points: np.ndarray, scores: np.ndarray, rotations: np.ndarray, rounds: int = 2
) -> np.ndarray:
    """Identity (80) of one person from K frames: K×478×2 crop pixels, K×52 scores, K×3×3 rotations.

    Gauss–Newton over identity and all frames' poses and expressions together, so that a passing expression does not
    become part of the person. Frames of a clip err alike: they count as one on average.
    """
    identity = np.zeros(IDENTITY_DIM)
    poses: list[np.ndarray | None] = [None] * len(points)
    for _ in range(rounds):
        fitter = Fitter(model, identity)
        normal, slope = np.eye(IDENTITY_DIM) / IDENTITY_DEVIATION**2, identity / IDENTITY_DEVIATION**2
        for k, (pixels, score, rotation) in enumerate(zip(points, scores, rotations)):
            start = fitter.first_pose(pixels, rotation) if poses[k] is None else poses[k]
            fit = fitter.frame(pixels, score, start, steps=3)
            poses[k] = fit.pose
            curvature, change = fitter.for_identity(pixels, score, fit)
            normal += curvature / len(points)
            slope += change / len(points)
        identity = identity - np.linalg.solve(normal, slope)
    return identity
