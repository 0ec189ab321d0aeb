"""The split of an expression into facial regions, in a basis without named coefficients."""

import numpy as np
import pytest

from mimaface_cli.face import bfm
from mimaface_cli.face.bfm_regions import MOUTH_EYES_BROWS, expression_parts


@pytest.fixture(scope="module")
def landmark_model():
    """68 vertices, all of them landmarks.

    Expression columns 0 to 9 move brows and lids, 10 to 19 the lips, 20 both, the others the nose.
    """
    rng = np.random.default_rng(0)
    basis = np.zeros((68, 3, 64), np.float32)
    eyes, lips = np.r_[17:27, 36:48], np.r_[48:68]
    basis[eyes, :, :10] = rng.normal(size=(len(eyes), 3, 10))
    basis[lips, :, 10:20] = rng.normal(size=(len(lips), 3, 10))
    basis[eyes, :, 20] = basis[lips, :, 20] = 1
    basis[27:36, :, 21:] = 1
    arrays = {
        "meanshape": rng.normal(size=(1, 204)),
        "meantex": np.full((1, 204), 100.0),
        "idBase": np.zeros((204, 80)),
        "texBase": np.zeros((204, 80)),
        "exBase": basis.reshape(204, 64),
        "tri": np.array([[1, 2, 3]]),
        "point_buf": np.ones((68, 8)),
        "keypoints": np.arange(1, 69)[None],
    }
    return bfm.from_arrays(arrays)


def test_expression_parts_separate_the_columns_of_each_region(landmark_model):
    parts = expression_parts(landmark_model)
    change = np.zeros(64)
    change[:20] = np.random.default_rng(1).normal(size=20)
    eyes, lips = parts["eyes"] @ change, parts["lips"] @ change
    assert eyes[:10] == pytest.approx(change[:10], abs=0.02) and np.abs(eyes[10:20]).max() < 0.02
    assert lips[10:20] == pytest.approx(change[10:20], abs=0.02) and np.abs(lips[:10]).max() < 0.02


def test_expression_parts_divide_a_column_that_moves_both_regions(landmark_model):
    change = np.eye(64)[20]
    for name, columns in (("eyes", slice(0, 10)), ("lips", slice(10, 20))):
        part = expression_parts(landmark_model)[name] @ change
        assert part[20] < 0.9 and np.abs(part[columns]).max() > 0.01


def test_expression_parts_drop_columns_that_move_no_region(landmark_model):
    change = np.zeros(64)
    change[21:] = 1
    for part in expression_parts(landmark_model).values():
        assert np.abs(part @ change).max() < 1e-6


def test_expression_parts_of_all_regions_sum_to_the_whole_change(landmark_model):
    parts = expression_parts(landmark_model, MOUTH_EYES_BROWS)
    assert set(parts) == {"mouth", "eyes", "brows"}
    change = np.zeros(64)
    change[:20] = np.random.default_rng(2).normal(size=20)
    assert sum(parts.values()) @ change == pytest.approx(change, abs=0.05)


def test_expression_parts_move_the_brows_without_the_mouth(landmark_model):
    change = np.zeros(64)
    change[:20] = np.random.default_rng(2).normal(size=20)
    brow_change = expression_parts(landmark_model, MOUTH_EYES_BROWS)["brows"] @ change
    basis = landmark_model.expression_basis.reshape(-1, 3, 64)
    part, whole = ((basis @ coefficients)[landmark_model.landmarks] for coefficients in (brow_change, change))
    assert np.abs(part - whole)[17:27].mean() < 0.75 * np.abs(whole)[17:27].mean()
    assert np.abs(part)[48:68].mean() < 0.1 * np.abs(whole)[48:68].mean()
