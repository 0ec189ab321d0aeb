"""Gaze from irises, and back."""

import numpy as np
import pytest

from mimaface_cli.face import camera, face478, topology
from mimaface_cli.face.gaze import GAZE_LIMIT, IRIS_DISTANCE, eyeball_centers, gaze_direction, gaze_from_iris
from mimaface_cli.motion.rotation import rotation_matrix

STRAIGHT = np.zeros(6)
TURNED = np.array([0.2, -0.4, 0.15, 0.2, -0.1, 0.7])


@pytest.fixture(scope="module")
def shape():
    model = face478.load()
    return model.shape(0.5 * np.random.default_rng(0).normal(size=80), np.zeros(64))


def seen(shape: np.ndarray, pose: np.ndarray, gaze: np.ndarray) -> np.ndarray:
    """Crop pixels 478×2 in which only the irises' centers are right: those of eyes that look along gaze (4)."""
    points = np.zeros((478, 2))
    for k, iris in enumerate((topology.LEFT_IRIS[0], topology.RIGHT_IRIS[0])):
        center = eyeball_centers(shape)[k] + IRIS_DISTANCE * gaze_direction(*gaze[2 * k : 2 * k + 2])
        points[iris] = camera.project((rotation_matrix(pose[:3]) @ center + pose[3:])[None])[0][0]
    return points


@pytest.mark.parametrize("pose", [STRAIGHT, TURNED], ids=["straight", "turned"])
@pytest.mark.parametrize("yaw", [-25, 0, 25])
@pytest.mark.parametrize("pitch", [-20, 0, 20])
def test_gaze_comes_back(shape, pose, yaw, pitch):
    gaze = np.radians([yaw, pitch, 0.5 * yaw, -pitch])
    found = gaze_from_iris(seen(shape, pose, gaze), shape, pose)
    assert np.degrees(np.abs(found - gaze)).max() < 0.5


def test_signs_are_the_subjects_left_and_up(shape):
    left_up = gaze_from_iris(seen(shape, STRAIGHT, np.radians([20, 10, 20, 10])), shape, STRAIGHT)
    assert (left_up > 0).all()
    ahead = seen(shape, STRAIGHT, np.zeros(4))
    assert (
        seen(shape, STRAIGHT, np.radians([20, 0, 20, 0]))[473, 0] > ahead[473, 0]
    )  # their left is the picture's right
    assert seen(shape, STRAIGHT, np.radians([0, 20, 0, 20]))[473, 1] < ahead[473, 1]


def test_irises_beyond_the_eyeball_are_held_at_the_limit(shape):
    points = seen(shape, STRAIGHT, np.zeros(4)) + [500, 0]
    found = gaze_from_iris(points, shape, STRAIGHT)
    assert np.isfinite(found).all() and np.abs(found).max() <= GAZE_LIMIT + 1e-9
    assert found[0] > np.radians(40)


def test_eyeballs_lie_behind_the_eyes_each_on_its_side(shape):
    left, right = eyeball_centers(shape)
    for center, ring in ((left, topology.LEFT_EYE), (right, topology.RIGHT_EYE)):
        assert np.abs(center[:2] - shape[ring, :2].mean(0)).max() < 0.03
        assert center[2] < shape[ring, 2].min()
    assert left[0] > 0 > right[0]


def test_directions_have_unit_length():
    for yaw, pitch in np.random.default_rng(1).uniform(-0.7, 0.7, (20, 2)):
        assert np.linalg.norm(gaze_direction(yaw, pitch)) == pytest.approx(1)
