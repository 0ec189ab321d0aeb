"""The crop around an eye, and the figures that the eyelid network sees."""

import numpy as np
import pytest

from mimaface_cli.engines.mesh.eyelid_crop import (
    EYE_COLUMNS,
    EYELID,
    build_eyelid_condition,
    eyelid_crop_matrix,
    measure_crop_opening,
    read_openings,
)
from mimaface_cli.engines.mesh.eyes import locate_eyeballs
from mimaface_cli.motion.coefficients import BLENDSHAPES, EXPRESSION_DIM

LENS = np.array([[0, 0], [2, 1], [4, 2], [6, 1], [8, 0], [6, -1], [4, -2], [2, -1]], float)


@pytest.fixture
def balls(model):
    return locate_eyeballs(model.shape(np.zeros(model.identity_basis.shape[-1]), np.zeros(EXPRESSION_DIM)))


def test_crop_of_the_right_eye_is_mirrored(balls):
    pose = np.array([0, 0, 0, 0, 0, 0.0])
    left, right = (eyelid_crop_matrix(side, balls[side], pose, lambda pixels: pixels) for side in ("left", "right"))
    assert left[0, 0] > 0 > right[0, 0]
    assert left[1, 1] > 0 and right[1, 1] > 0
    assert np.allclose(np.abs(np.linalg.det(left[:, :2])), np.abs(np.linalg.det(right[:, :2])), rtol=0.05)
    nose = np.array([128.0, 128.0])
    in_left, in_right = (matrix[:, :2] @ nose + matrix[:, 2] for matrix in (left, right))
    assert in_left[0] < 0 and in_right[0] < 0, "the nose is on the left of both crops"


def test_opening_is_measured_in_widths_of_the_crop_and_does_not_depend_on_mirroring():
    matrix = np.array([[2.0, 0, 10], [0, 2, 10]])
    mirrored = matrix * [[-1], [1]]
    assert measure_crop_opening(LENS, matrix) == pytest.approx(8 / EYELID.width, rel=0.35)
    assert measure_crop_opening(LENS, mirrored) == measure_crop_opening(LENS, matrix)
    assert measure_crop_opening(LENS * [1, 0], matrix) == 0
    assert measure_crop_opening(LENS * [1, -1], matrix) == 0, "lids that pass through each other are closed"


def test_condition_selects_the_side_and_mirrors_yaw():
    expression, photo = np.zeros(EXPRESSION_DIM), np.zeros(EXPRESSION_DIM)
    expression[BLENDSHAPES.index("browDownRight")] = 0.5
    poses = np.array([0.1, 0.2, 0.3, 0, 0, 0]), np.array([0.4, 0.5, 0.6, 0, 0, 0])
    right = build_eyelid_condition("right", (0.03, 0.1), (expression, photo), poses)
    left = build_eyelid_condition("left", (0.03, 0.1), (expression, photo), poses)
    assert right.shape == (EYELID.condition_dim,)
    assert right[: len(EYE_COLUMNS["right"])].sum() == 0.5 and left[: len(EYE_COLUMNS["left"])].sum() == 0
    assert right[-4:].tolist() == pytest.approx([0.1, -0.2, 0.4, -0.5])
    assert left[-4:].tolist() == pytest.approx([0.1, 0.2, 0.4, 0.5])
    assert read_openings(right) == pytest.approx((0.03, 0.1))
