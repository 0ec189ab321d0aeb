"""Euler angles, rotation vectors and matrices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimaface_cli.motion.rotation import euler_angles, rotation_from_vector, rotation_matrix

# y stays below a quarter turn, where x and z are no longer unique.
ANGLES = st.tuples(st.floats(-3.1, 3.1), st.floats(-1.5, 1.5), st.floats(-3.1, 3.1))


@given(ANGLES)
def test_euler_angles_inverts_rotation_matrix(angles):
    matrix = rotation_matrix(angles)
    assert np.allclose(matrix @ matrix.T, np.eye(3))
    assert np.linalg.det(matrix) == pytest.approx(1)
    assert np.allclose(euler_angles(matrix), angles, atol=1e-6)


def test_rotation_matrix_rotates_about_x_then_y_then_z():
    about_x, about_y, about_z = (rotation_matrix(np.eye(3)[axis] * angle) for axis, angle in enumerate((0.3, 0.4, 0.5)))
    assert np.allclose(rotation_matrix([0.3, 0.4, 0.5]), about_z @ about_y @ about_x)


@pytest.mark.parametrize(
    ("axis", "start", "end"), [(0, [0, 1, 0], [0, 0, 1]), (1, [0, 0, 1], [1, 0, 0]), (2, [1, 0, 0], [0, 1, 0])]
)
def test_quarter_turn_maps_one_axis_to_the_next(axis, start, end):
    assert np.allclose(rotation_matrix(np.eye(3)[axis] * np.pi / 2) @ start, end, atol=1e-12)


def test_rotations_of_a_batch_are_independent():
    angles = np.random.default_rng(0).uniform(-1, 1, (4, 5, 3))
    matrices = rotation_matrix(angles)
    assert matrices.shape == (4, 5, 3, 3)
    assert np.allclose(matrices[2, 3], rotation_matrix(angles[2, 3]))
    assert np.allclose(euler_angles(matrices), angles)


@given(st.tuples(*[st.floats(-2.0, 2.0)] * 3))
def test_rotation_vector_rotates_about_itself_by_its_length(vector):
    vector = np.array(vector)
    matrix = rotation_from_vector(vector)
    assert np.allclose(matrix @ matrix.T, np.eye(3))
    assert np.allclose(matrix @ vector, vector, atol=1e-9)
    assert np.trace(matrix) == pytest.approx(1 + 2 * np.cos(np.linalg.norm(vector)), abs=1e-9)


def test_small_rotation_vector_is_the_cross_product_to_first_order():
    vector, point = np.array([1e-5, -2e-5, 3e-5]), np.array([0.3, 0.5, -0.7])
    assert np.allclose(rotation_from_vector(vector) @ point - point, np.cross(vector, point), atol=1e-9)
    assert np.array_equal(rotation_from_vector(np.zeros(3)), np.eye(3))
