"""Fits of synthetic faces with known coefficients."""

import numpy as np
import pytest
from scipy import sparse

from mimaface_cli.builders.face478.procrustes import align_faces
from mimaface_cli.face import camera, topology
from mimaface_cli.face.fit_kernels import linearize, weigh_landmarks
from mimaface_cli.face.fitting import Fitter, fit_identity
from mimaface_cli.motion.coefficients import BLENDSHAPES, UNSCORED_BLENDSHAPES
from mimaface_cli.motion.rotation import euler_angles, rotation_from_vector, rotation_matrix

PIXELS_PER_UNIT = camera.FOCAL_PER_SIZE * camera.CROP_SIZE / camera.CAMERA_DISTANCE
UNSCORED_COLUMNS = [BLENDSHAPES.index(name) for name in UNSCORED_BLENDSHAPES]


class SyntheticPerson:
    """A person with random identity, expressions and poses, and with exact or noisy landmarks."""

    def __init__(self, model, seed: int, frames: int, noise: float = 0.0):
        rng = np.random.default_rng(seed)
        self.identity = 0.7 * rng.normal(size=80)
        self.expression = np.concatenate([rng.random((frames, 52)) ** 4, 0.5 * rng.normal(size=(frames, 12))], 1)
        self.expression[:, UNSCORED_COLUMNS] = 0
        angles = rng.uniform(-0.35, 0.35, (frames, 3))
        shifts = rng.uniform(-0.3, 0.3, (frames, 2))
        self.pose = np.concatenate([angles, shifts, rng.uniform(-1, 1, (frames, 1))], 1)
        exact = np.stack(
            [
                project_face(model, self.identity, expression, pose)
                for expression, pose in zip(self.expression, self.pose, strict=True)
            ]
        )
        self.points = exact + noise * rng.normal(size=exact.shape)
        # The landmark model's scores and rotations are only approximately right.
        self.scores = np.clip(self.expression[:, :52] + 0.05 * rng.normal(size=(frames, 52)), 0, 1)
        errors = [rotation_from_vector(0.05 * rng.normal(size=3)) for _ in range(frames)]
        self.rotations = np.stack(
            [error @ rotation_matrix(pose[:3]) for error, pose in zip(errors, self.pose, strict=True)]
        )


def project_face(model, identity: np.ndarray, expression: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Return the landmarks (478, 2) of a face in pixels of the crop."""
    return camera.project(camera.apply_pose(model.shape(identity, expression), pose))[0]


def fit_first_frame(fitter: Fitter, person: SyntheticPerson):
    start = fitter.initial_pose(person.points[0], person.rotations[0])
    return fitter.fit_frame(person.points[0], person.scores[0], start)


def rotation_error(pose: np.ndarray, other: np.ndarray) -> float:
    """Return the angle in degrees between the rotations of two poses."""
    difference = rotation_matrix(pose[:3]) @ rotation_matrix(other[:3]).T
    return float(np.degrees(np.arccos(np.clip((np.trace(difference) - 1) / 2, -1, 1))))


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_fit_frame_recovers_pose_and_shape_of_a_known_person(model, noise):
    person = SyntheticPerson(model, 1, 12, noise)
    fitter = Fitter(model, person.identity)
    rotation_errors = []
    for index in range(12):
        start = fitter.initial_pose(person.points[index], person.rotations[index])
        fit = fitter.fit_frame(person.points[index], person.scores[index], start)
        rotation_errors.append(rotation_error(fit.pose, person.pose[index]))
        assert np.allclose(fit.pose[3:5], person.pose[index, 3:5], atol=0.01)
        assert abs(fit.pose[5] - person.pose[index, 5]) < 0.1
        assert fit.error < 0.2 + 1.5 * noise
        difference = model.shape(person.identity, fit.expression) - model.shape(
            person.identity, person.expression[index]
        )
        assert np.sqrt((difference[:, :2] ** 2).sum(1).mean()) * PIXELS_PER_UNIT < 0.8 + 0.5 * noise
    assert np.mean(rotation_errors) < 0.5 and max(rotation_errors) < 1.0


def test_fit_frame_finds_movements_that_scores_miss(model):
    person = SyntheticPerson(model, 2, 1)
    fitter = Fitter(model, person.identity)
    jaw = BLENDSHAPES.index("jawOpen")
    expression = np.zeros(64)
    expression[jaw] = 0.6
    points = project_face(model, person.identity, expression, person.pose[0])
    start = fitter.initial_pose(points, person.rotations[0])
    fit = fitter.fit_frame(points, np.zeros(52), start)
    assert fit.expression[jaw] > 0.3
    assert fit.error < 0.5
    assert fitter.fit_frame(points, expression[:52], start).error < 0.02


def test_fit_frame_leaves_unscored_blendshapes_at_their_prior(model):
    person = SyntheticPerson(model, 3, 4, noise=1.0)
    fitter = Fitter(model, person.identity)
    for index in range(4):
        start = fitter.initial_pose(person.points[index], person.rotations[index])
        fit = fitter.fit_frame(person.points[index], person.scores[index], start)
        assert np.abs(fit.expression[UNSCORED_COLUMNS] - person.scores[index, UNSCORED_COLUMNS]).max() < 0.02


def test_fit_frame_ignores_the_irises(model):
    person = SyntheticPerson(model, 4, 1)
    fitter = Fitter(model, person.identity)
    shifted = person.points[0].copy()
    shifted[topology.IRIS] += [6.0, -4.0]
    start = fitter.initial_pose(person.points[0], person.rotations[0])
    straight, averted = (fitter.fit_frame(points, person.scores[0], start) for points in (person.points[0], shifted))
    assert np.allclose(straight.expression, averted.expression) and np.allclose(straight.pose, averted.pose)


def test_fit_frame_prefers_the_landmark_models_rotation(model):
    """Landmarks alone do not tell a nod from an expression: a rotation that differs a little is accepted."""
    person = SyntheticPerson(model, 5, 6, noise=0.3)
    fitter = Fitter(model, person.identity)
    for index in range(6):
        points, scores = person.points[index], person.scores[index]
        head = rotation_from_vector(np.radians([2.0, -1.0, 0.0])) @ rotation_matrix(person.pose[index, :3])
        alone = fitter.fit_frame(points, scores, fitter.initial_pose(points, head))
        fit = fitter.fit_frame(points, scores, fitter.initial_pose(points, head), head=head)
        expected = np.append(euler_angles(head), 0)
        assert rotation_error(fit.pose, expected) < 0.5 * rotation_error(alone.pose, expected)
        assert fit.error < 1.5 * alone.error


def test_initial_pose_is_close_to_the_true_pose(model):
    person = SyntheticPerson(model, 6, 6)
    fitter = Fitter(model, person.identity)
    for index in range(6):
        pose = fitter.initial_pose(person.points[index], rotation_matrix(person.pose[index, :3]))
        assert np.allclose(pose[:3], person.pose[index, :3], atol=1e-6)
        assert np.abs(pose[3:5] - person.pose[index, 3:5]).max() < 0.12
        assert abs(pose[5] - person.pose[index, 5]) < 1.0


def test_anchored_fitter_projects_exactly_onto_the_landmarks_of_its_frame(model):
    person = SyntheticPerson(model, 7, 1, noise=1.0)
    fitter = Fitter(model)
    points, scores = person.points[0], person.scores[0]
    fit = fitter.fit_frame(points, scores, fitter.initial_pose(points, person.rotations[0]), steps=8)
    anchored = fitter.anchored(points, scores, fit)
    assert np.abs(anchored.project_fit(fit)[0] - points).max() < 1e-6
    again = anchored.fit_frame(points, scores, anchored.initial_pose(points, person.rotations[0]), steps=8)
    assert np.allclose(again.expression, fit.expression, atol=1e-3) and again.error < 1e-2
    assert np.abs(fitter.project_fit(fit)[0] - points).max() > 0.5  # the original fitter is unchanged


def identity_error(model, identity: np.ndarray, true_identity: np.ndarray) -> float:
    """Return the error of a face relative to the true face's difference from the mean, without size and place."""
    vertices = np.setdiff1d(np.arange(478), topology.IRIS)
    true_face = (model.mean + model.identity_basis @ true_identity)[vertices]
    faces = np.stack([model.mean + model.identity_basis @ identity, model.mean])[:, vertices]
    aligned, _ = align_faces(faces, true_face, np.ones(len(vertices)))
    error, difference_of_mean = np.sqrt(((aligned - true_face) ** 2).sum((1, 2)))
    return error / difference_of_mean


def test_fit_identity_separates_identity_from_expression(model):
    errors = []
    for seed in range(5):
        person = SyntheticPerson(model, seed, 12, noise=0.3)
        identity = fit_identity(model, person.points, person.scores, person.rotations)
        errors.append(identity_error(model, identity, person.identity))
    # All frames count as one frame against the prior: the fit explains at least half of the difference on average.
    assert np.mean(errors) < 0.5 and max(errors) < 0.7


def test_fit_identity_converges_in_two_rounds(model):
    person = SyntheticPerson(model, 0, 12, noise=0.3)
    identity, converged = (
        fit_identity(model, person.points, person.scores, person.rotations, rounds=rounds) for rounds in (2, 5)
    )
    assert np.abs(identity - converged).max() < 0.05


def test_fit_identity_does_not_absorb_a_constant_smile(model):
    person = SyntheticPerson(model, 8, 1)
    smile = np.zeros(64)
    smile[[BLENDSHAPES.index("mouthSmileLeft"), BLENDSHAPES.index("mouthSmileRight")]] = 0.7
    identities = []
    for expression in (np.zeros(64), smile):
        points = project_face(model, person.identity, expression, person.pose[0])
        identities.append(fit_identity(model, points[None], expression[None, :52], person.rotations))
    assert identity_error(model, identities[1], identities[0]) < 0.05


def test_fit_identity_returns_zero_for_the_mean_face(model):
    pose = np.array([0.1, -0.2, 0.05, 0, 0, 0])
    points = project_face(model, np.zeros(80), np.zeros(64), pose)[None]
    identity = fit_identity(model, points, np.zeros((1, 52)), rotation_matrix(pose[:3])[None])
    assert np.abs(identity).max() < 0.1


def test_reduce_to_displacements_gives_no_weight_to_what_pose_explains(model):
    """A shift of the whole face has no cost, because the pose follows; the shift of a single vertex has a cost."""
    person = SyntheticPerson(model, 5, 1)
    fitter = Fitter(model, person.identity)
    fit = fit_first_frame(fitter, person)
    target = person.points[0][fitter.fitted_vertices] + [0.5, 0]

    def image_term(pixels, depth):
        return sparse.eye_array(2 * len(pixels), format="csr"), (pixels - target).ravel()

    common_shift = np.tile(np.eye(2), (len(fitter.fitted_vertices), 1))
    single_vertex = np.zeros((len(common_shift), 1))
    single_vertex[2 * topology.NOSE_TIP + 1] = 1.0
    displacements = sparse.csr_array(np.concatenate([common_shift, single_vertex], 1))
    hessian, gradient = fitter.reduce_to_displacements(fit, person.scores[0], image_term, displacements)
    assert np.allclose(hessian, hessian.T) and np.linalg.eigvalsh(hessian).min() > -1e-3
    unreduced = (displacements.T @ displacements).toarray().diagonal()
    assert (hessian.diagonal()[:2] < 0.02 * unreduced[:2]).all() and hessian[2, 2] > 0.3
    residual = (fitter.project_fit(fit)[0][fitter.fitted_vertices] - target).ravel()
    assert abs(gradient[0]) < 0.05 * abs(common_shift[:, 0] @ residual)


def test_linearize_projects_as_the_camera_and_differentiates_its_pixels(model):
    rng = np.random.default_rng(6)
    pose, expression = np.array([0.2, -0.3, 0.1, 0.05, -0.1, 0.2]), rng.normal(0, 0.3, 64)
    basis = model.expression_basis.astype(np.float32)

    def project(expression, pose):
        count = len(model.mean)
        projection = np.empty((count, 2)), np.empty(count), np.empty((2 * count, 70), np.float32)
        offset = basis.reshape(-1, 64) @ expression.astype(np.float32)
        linearize(model.mean, offset, rotation_matrix(pose[:3]), pose[3:], basis, projection)
        return projection

    pixels, depth, jacobian = project(expression, pose)
    expected = camera.project(camera.apply_pose(model.mean + model.expression_basis @ expression, pose))
    assert np.abs(pixels - expected[0]).max() < 1e-4 and np.abs(depth - expected[1]).max() < 1e-6
    step = np.zeros(64)
    step[3] = 0.01
    change = (project(expression + step, pose)[0] - pixels).ravel()
    assert np.abs(change - 0.01 * jacobian[:, 9]).max() < 2e-3
    moved = project(expression, pose + np.array([0, 0, 0, 0.001, 0, 0]))[0]
    assert np.abs((moved - pixels).ravel() - 0.001 * jacobian[:, 3]).max() < 1e-4


def test_weigh_landmarks_reduces_the_weight_of_outliers_and_adds_to_the_gradient():
    pixels, points = np.array([[3.0, 4.0], [1.0, 1.0]]), np.zeros((2, 2))
    weights, step_weights = np.array([0.25, 4.0]), np.empty(2)
    gradient = np.ones(4)
    weigh_landmarks(pixels, points, weights, 0.0, step_weights, gradient)
    assert np.array_equal(step_weights, weights) and gradient == pytest.approx([1.75, 2.0, 5.0, 5.0])
    weigh_landmarks(pixels, points, weights, 0.5, step_weights, gradient)
    assert step_weights == pytest.approx(weights / (1 + np.array([25 * 0.25, 2 * 4.0]) / 0.25))
