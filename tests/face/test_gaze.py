"""Gaze from irises, and back."""

import numpy as np
import pytest

from mimaface_cli.face import camera, topology
from mimaface_cli.face.gaze import GAZE_LIMIT, IRIS_DISTANCE, eyeball_centers, gaze_direction, gaze_from_iris
from mimaface_cli.motion.rotation import rotation_matrix

FRONTAL = np.zeros(6)
TURNED = np.array([0.2, -0.4, 0.15, 0.2, -0.1, 0.7])


@pytest.fixture(scope="module")
def shape(model):
    return model.shape(0.5 * np.random.default_rng(0).normal(size=80), np.zeros(64))


def project_irises(shape: np.ndarray, pose: np.ndarray, gaze: np.ndarray) -> np.ndarray:
    """Return landmarks (478, 2) in the crop for a gaze (4,); only the iris centers are set."""
    points = np.zeros((478, 2))
    for index, iris in enumerate((topology.LEFT_IRIS[0], topology.RIGHT_IRIS[0])):
        center = eyeball_centers(shape)[index] + IRIS_DISTANCE * gaze_direction(*gaze[2 * index : 2 * index + 2])
        points[iris] = camera.project((rotation_matrix(pose[:3]) @ center + pose[3:])[None])[0][0]
    return points


@pytest.mark.parametrize("pose", [FRONTAL, TURNED], ids=["frontal", "turned"])
@pytest.mark.parametrize("yaw", [-25, 0, 25])
@pytest.mark.parametrize("pitch", [-20, 0, 20])
def test_gaze_from_iris_recovers_the_gaze(shape, pose, yaw, pitch):
    gaze = np.radians([yaw, pitch, 0.5 * yaw, -pitch])
    estimate = gaze_from_iris(project_irises(shape, pose, gaze), shape, pose)
    assert np.degrees(np.abs(estimate - gaze)).max() < 0.5


def test_gaze_is_positive_to_the_subjects_left_and_up(shape):
    points = project_irises(shape, FRONTAL, np.radians([20, 10, 20, 10]))
    assert (gaze_from_iris(points, shape, FRONTAL) > 0).all()
    iris = topology.LEFT_IRIS[0]
    ahead = project_irises(shape, FRONTAL, np.zeros(4))
    # The subject's left is on the right of the image.
    assert project_irises(shape, FRONTAL, np.radians([20, 0, 20, 0]))[iris, 0] > ahead[iris, 0]
    assert project_irises(shape, FRONTAL, np.radians([0, 20, 0, 20]))[iris, 1] < ahead[iris, 1]


def test_gaze_from_iris_limits_irises_outside_the_eyeball(shape):
    points = project_irises(shape, FRONTAL, np.zeros(4)) + np.array([500, 0])
    estimate = gaze_from_iris(points, shape, FRONTAL)
    assert np.isfinite(estimate).all() and np.abs(estimate).max() <= GAZE_LIMIT + 1e-9
    assert estimate[0] > np.radians(40)


def test_eyeball_centers_lie_behind_their_eyes(shape):
    left, right = eyeball_centers(shape)
    for center, ring in ((left, topology.LEFT_EYE), (right, topology.RIGHT_EYE)):
        assert np.abs(center[:2] - shape[ring, :2].mean(0)).max() < 0.03
        assert center[2] < shape[ring, 2].min()
    assert left[0] > 0 > right[0]


def test_gaze_direction_has_unit_length():
    for yaw, pitch in np.random.default_rng(1).uniform(-0.7, 0.7, (20, 2)):
        assert np.linalg.norm(gaze_direction(yaw, pitch)) == pytest.approx(1)
