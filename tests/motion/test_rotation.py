"""Euler angles, rotation vectors, matrices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from mimaface_cli.motion.rotation import euler_angles, rotation_from_vector, rotation_matrix

# Short of a quarter turn about y, where x and z cannot be told apart.
ANGLES = some.tuples(some.floats(-3.1, 3.1), some.floats(-1.5, 1.5), some.floats(-3.1, 3.1))


@given(ANGLES)
def test_angles_come_back(angles):
    matrix = rotation_matrix(angles)
    assert np.allclose(matrix @ matrix.T, np.eye(3)) and np.linalg.det(matrix) == pytest.approx(1)
    assert np.allclose(euler_angles(matrix), angles, atol=1e-6)


def test_the_order_is_x_then_y_then_z():
    about = [rotation_matrix(np.eye(3)[axis] * angle) for axis, angle in enumerate((0.3, 0.4, 0.5))]
    assert np.allclose(rotation_matrix([0.3, 0.4, 0.5]), about[2] @ about[1] @ about[0])


@pytest.mark.parametrize(
    ("axis", "start", "end"), [(0, [0, 1, 0], [0, 0, 1]), (1, [0, 0, 1], [1, 0, 0]), (2, [1, 0, 0], [0, 1, 0])]
)
def test_a_quarter_turn_takes_one_axis_to_the_next(axis, start, end):
    assert np.allclose(rotation_matrix(np.eye(3)[axis] * np.pi / 2) @ start, end, atol=1e-12)


def test_many_at_once_are_each_alone():
    angles = np.random.default_rng(0).uniform(-1, 1, (4, 5, 3))
    matrices = rotation_matrix(angles)
    assert matrices.shape == (4, 5, 3, 3)
    assert np.allclose(matrices[2, 3], rotation_matrix(angles[2, 3]))
    assert np.allclose(euler_angles(matrices), angles)


@given(some.tuples(*[some.floats(-2.0, 2.0)] * 3))
def test_rotation_vectors_turn_about_themselves_by_their_length(vector):
    vector = np.array(vector)
    matrix = rotation_from_vector(vector)
    assert np.allclose(matrix @ matrix.T, np.eye(3))
    assert np.allclose(matrix @ vector, vector, atol=1e-9)
    assert np.trace(matrix) == pytest.approx(1 + 2 * np.cos(np.linalg.norm(vector)), abs=1e-9)


def test_small_rotation_vectors_are_what_gauss_newton_takes_them_for():
    vector, point = np.array([1e-5, -2e-5, 3e-5]), np.array([0.3, 0.5, -0.7])
    assert np.allclose(rotation_from_vector(vector) @ point - point, np.cross(vector, point), atol=1e-9)
    assert np.array_equal(rotation_from_vector(np.zeros(3)), np.eye(3))
