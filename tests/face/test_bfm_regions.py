"""Parts of an expression in the nameless basis."""

import numpy as np
import pytest

from mimaface_cli.face import bfm
from mimaface_cli.face.bfm_regions import MOUTH_EYES_BROWS, expression_parts


@pytest.fixture
def model():
    """68 vertices, all landmarks; columns 0 to 9 move brows and lids, 10 to 19 lips, 20 both, the rest the nose."""
    rng = np.random.default_rng(0)
    basis = np.zeros((68, 3, 64), np.float32)
    eyes, lips = np.r_[17:27, 36:48], np.r_[48:68]
    basis[eyes, :, :10] = rng.normal(size=(len(eyes), 3, 10))
    basis[lips, :, 10:20] = rng.normal(size=(len(lips), 3, 10))
    basis[eyes, :, 20] = basis[lips, :, 20] = 1
    basis[27:36, :, 21:] = 1
    arrays = {
        "meanshape": rng.normal(size=(1, 204)), "meantex": np.full((1, 204), 100.0), "idBase": np.zeros((204, 80)),
        "texBase": np.zeros((204, 80)), "exBase": basis.reshape(204, 64), "tri": np.array([[1, 2, 3]]),
        "point_buf": np.ones((68, 8)), "keypoints": np.arange(1, 69)[None],
    }  # fmt: skip
    return bfm.from_arrays(arrays)


def test_each_region_keeps_its_own_and_leaves_the_other(model):
    parts = expression_parts(model)
    change = np.zeros(64)
    change[:20] = np.random.default_rng(1).normal(size=20)
    eyes, lips = parts["eyes"] @ change, parts["lips"] @ change
    assert eyes[:10] == pytest.approx(change[:10], abs=0.02) and np.abs(eyes[10:20]).max() < 0.02
    assert lips[10:20] == pytest.approx(change[10:20], abs=0.02) and np.abs(lips[:10]).max() < 0.02


def test_a_column_of_both_is_shared_by_what_is_seen(model):
    change = np.eye(64)[20]
    for name, own in (("eyes", slice(0, 10)), ("lips", slice(10, 20))):
        kept = expression_parts(model)[name] @ change
        assert kept[20] < 0.9 and np.abs(kept[own]).max() > 0.01


def test_what_neither_shows_is_left_out(model):
    change = np.zeros(64)
    change[21:] = 1
    for part in expression_parts(model).values():
        assert np.abs(part @ change).max() < 1e-6


def test_all_regions_together_are_the_whole_of_what_they_show(model):
    parts = expression_parts(model, MOUTH_EYES_BROWS)
    assert set(parts) == {"mouth", "eyes", "brows"}
    change = np.zeros(64)
    change[:20] = np.random.default_rng(2).normal(size=20)
    assert sum(parts.values()) @ change == pytest.approx(change, abs=0.05)
    brows = (model.expression_basis.reshape(-1, 3, 64) @ (parts["brows"] @ change))[model.landmarks]
    asked = (model.expression_basis.reshape(-1, 3, 64) @ change)[model.landmarks]
    off, beside = np.abs(brows - asked)[17:27].mean(), np.abs(brows)[48:68].mean()
    assert off < 0.75 * np.abs(asked)[17:27].mean() and beside < 0.1 * np.abs(asked)[48:68].mean()
