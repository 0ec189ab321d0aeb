"""Fitting recovers what a synthetic face was made of."""

import numpy as np
import pytest
from scipy import sparse

from mimaface_cli.builders.face478.learning import procrustes
from mimaface_cli.face import camera, face478, topology
from mimaface_cli.face import fitting as fit
from mimaface_cli.motion.coefficients import BLENDSHAPES, UNSCORED_BLENDSHAPES
from mimaface_cli.motion.rotation import rotation_from_vector, rotation_matrix

UNIT = camera.FOCAL_PER_SIZE * camera.CROP_SIZE / camera.CAMERA_DISTANCE  # pixels of a model unit
SILENT_COLUMNS = [BLENDSHAPES.index(name) for name in UNSCORED_BLENDSHAPES]


@pytest.fixture(scope="module")
def model():
    return face478.load()


class Person:
    """Somebody of random identity, seen under random expressions and poses through exact or noisy landmarks."""

    def __init__(self, model, seed: int, frames: int, noise: float = 0.0):
        rng = np.random.default_rng(seed)
        self.identity = 0.7 * rng.normal(size=80)
        self.expression = np.concatenate([rng.random((frames, 52)) ** 4, 0.5 * rng.normal(size=(frames, 12))], 1)
        self.expression[:, SILENT_COLUMNS] = 0
        self.pose = np.concatenate(
            [
                rng.uniform(-0.35, 0.35, (frames, 3)),
                rng.uniform(-0.3, 0.3, (frames, 2)),
                rng.uniform(-1, 1, (frames, 1)),
            ],
            1,
        )
        placed = [camera.apply_pose(model.shape(self.identity, e), p) for e, p in zip(self.expression, self.pose)]
        exact = np.stack([camera.project(one)[0] for one in placed])
        self.points = exact + noise * rng.normal(size=exact.shape)
        # What the landmark model says of them: scores and rotations that are about right.
        self.scores = np.clip(self.expression[:, :52] + 0.05 * rng.normal(size=(frames, 52)), 0, 1)
        wrong = [rotation_from_vector(0.05 * rng.normal(size=3)) for _ in range(frames)]
        self.rotations = np.stack([w @ rotation_matrix(p[:3]) for w, p in zip(wrong, self.pose)])


def degrees_between(a: np.ndarray, b: np.ndarray) -> float:
    """Angle of the turn between two poses' rotations."""
    turn = rotation_matrix(a[:3]) @ rotation_matrix(b[:3]).T
    return float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_pose_and_shape_of_a_known_person_come_back(model, noise):
    person = Person(model, 1, 12, noise)
    fitter = fit.Fitter(model, person.identity)
    turned = []
    for k in range(12):
        start = fitter.initial_pose(person.points[k], person.rotations[k])
        found = fitter.fit_frame(person.points[k], person.scores[k], start)
        turned.append(degrees_between(found.pose, person.pose[k]))
        assert np.allclose(found.pose[3:5], person.pose[k, 3:5], atol=0.01)
        assert abs(found.pose[5] - person.pose[k, 5]) < 0.1
        assert found.error < 0.2 + 1.5 * noise
        wrong = model.shape(person.identity, found.expression) - model.shape(person.identity, person.expression[k])
        assert np.sqrt((wrong[:, :2] ** 2).sum(1).mean()) * UNIT < 0.8 + 0.5 * noise
    assert np.mean(turned) < 0.5 and max(turned) < 1.0


def test_movements_that_scores_miss_are_found_in_the_landmarks(model):
    person = Person(model, 2, 1)
    fitter = fit.Fitter(model, person.identity)
    jaw = BLENDSHAPES.index("jawOpen")
    expression = np.zeros(64)
    expression[jaw] = 0.6
    points = camera.project(camera.apply_pose(model.shape(person.identity, expression), person.pose[0]))[0]
    start = fitter.initial_pose(points, person.rotations[0])
    found = fitter.fit_frame(points, np.zeros(52), start)
    assert found.expression[jaw] > 0.3
    assert found.error < 0.5
    assert fitter.fit_frame(points, expression[:52], start).error < 0.02


def test_columns_made_by_hand_stay_out_of_fits(model):
    person = Person(model, 3, 4, noise=1.0)
    fitter = fit.Fitter(model, person.identity)
    for k in range(4):
        start = fitter.initial_pose(person.points[k], person.rotations[k])
        found = fitter.fit_frame(person.points[k], person.scores[k], start)
        assert np.abs(found.expression[SILENT_COLUMNS] - person.scores[k, SILENT_COLUMNS]).max() < 0.02


def test_gaze_does_not_disturb_the_fit(model):
    person = Person(model, 4, 1)
    fitter = fit.Fitter(model, person.identity)
    moved = person.points[0].copy()
    moved[topology.IRIS] += [6.0, -4.0]
    start = fitter.initial_pose(person.points[0], person.rotations[0])
    plain, looking = (fitter.fit_frame(p, person.scores[0], start) for p in (person.points[0], moved))
    assert np.allclose(plain.expression, looking.expression) and np.allclose(plain.pose, looking.pose)


def face_error(model, found: np.ndarray, truth: np.ndarray) -> float:
    """How much of somebody's difference from the mean face is missed, size and place aside."""
    skin = np.setdiff1d(np.arange(478), topology.IRIS)
    true = (model.mean + model.identity_basis @ truth)[skin]
    guessed = np.stack([model.mean + model.identity_basis @ found, model.mean])[:, skin]
    aligned, _ = procrustes(guessed, true, np.ones(len(skin)))
    missed, all_of_it = np.sqrt(((aligned - true) ** 2).sum((1, 2)))
    return missed / all_of_it


def test_identity_is_told_from_expression(model):
    missed = []
    for seed in range(5):
        person = Person(model, seed, 12, noise=0.3)
        found = fit.fit_identity(model, person.points, person.scores, person.rotations)
        missed.append(face_error(model, found, person.identity))
        more = fit.fit_identity(model, person.points, person.scores, person.rotations, rounds=5)
        assert np.abs(found - more).max() < 0.05  # two rounds are enough
    # One frame's worth of evidence against the prior: half-way at least, and not toward somebody else.
    assert np.mean(missed) < 0.5 and max(missed) < 0.7


def test_a_lasting_smile_does_not_become_the_person(model):
    person = Person(model, 8, 1)
    smile = np.zeros(64)
    smile[[BLENDSHAPES.index("mouthSmileLeft"), BLENDSHAPES.index("mouthSmileRight")]] = 0.7
    found = []
    for expression in (np.zeros(64), smile):
        placed = camera.apply_pose(model.shape(person.identity, expression), person.pose[0])
        points, scores = camera.project(placed)[0], expression[:52]
        found.append(fit.fit_identity(model, points[None], scores[None], person.rotations))
    assert face_error(model, found[1], found[0]) < 0.05


def test_an_average_face_has_no_identity(model):
    pose = np.array([0.1, -0.2, 0.05, 0, 0, 0])
    points = camera.project(camera.apply_pose(model.mean, pose))[0][None]
    found = fit.fit_identity(model, points, np.zeros((1, 52)), rotation_matrix(pose[:3])[None])
    assert np.abs(found).max() < 0.1


def test_the_first_guess_is_near(model):
    person = Person(model, 6, 6)
    fitter = fit.Fitter(model, person.identity)
    for k in range(6):
        guess = fitter.initial_pose(person.points[k], rotation_matrix(person.pose[k, :3]))
        assert np.allclose(guess[:3], person.pose[k, :3], atol=1e-6)
        assert np.abs(guess[3:5] - person.pose[k, 3:5]).max() < 0.12
        assert abs(guess[5] - person.pose[k, 5]) < 1.0


def test_moves_that_pose_explains_tell_nothing(model):
    """A place that the whole face's shift explains costs no error; one that only itself explains does."""
    person = Person(model, 5, 1)
    fitter = fit.Fitter(model, person.identity)
    found = fitter.fit_frame(person.points[0], person.scores[0], fitter.initial_pose(person.points[0], person.rotations[0]))
    wanted = person.points[0][fitter.fitted_vertices] + [0.5, 0]

    def picture(pixels, depth):
        return sparse.eye_array(2 * len(pixels), format="csr"), (pixels - wanted).ravel()

    shift = np.tile(np.eye(2), (len(fitter.fitted_vertices), 1))  # of all vertices at once
    one = np.zeros((len(shift), 1))
    one[2 * topology.NOSE_TIP + 1] = 1.0
    moves = sparse.csr_array(np.concatenate([shift, one], 1))
    curvature, slope = fitter.reduce_to_displacements(found, person.scores[0], picture, moves)
    assert np.allclose(curvature, curvature.T) and np.linalg.eigvalsh(curvature).min() > -1e-3
    alone = (moves.T @ moves).toarray().diagonal()
    assert (curvature.diagonal()[:2] < 0.02 * alone[:2]).all() and curvature[2, 2] > 0.3
    assert abs(slope[0]) < 0.05 * abs(shift[:, 0] @ (fitter.project_fit(found)[0][fitter.fitted_vertices] - wanted).ravel())
