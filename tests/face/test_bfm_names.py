"""Named expressions in a synthetic Basel Face Model with known movements."""

from dataclasses import replace

import numpy as np
import pytest

from mimaface_cli.errors import WeightsError
from mimaface_cli.face import bfm
from mimaface_cli.face.bfm_names import LANDMARKS_68, fit_expression_names
from mimaface_cli.face.face478 import Face478
from mimaface_cli.motion.channels import NAMED_EXPRESSIONS, find_channel
from mimaface_cli.motion.coefficients import BLENDSHAPES
from mimaface_cli.motion.editing import Term, apply_edits
from mimaface_cli.motion.rotation import rotation_matrix
from mimaface_cli.motion.track import MotionTrack

KNOWN = ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "browInnerUp", "mouthPucker", "mouthFrownLeft")


def synthetic_bfm_arrays(model: Face478) -> dict[str, np.ndarray]:
    """Return the arrays of a BFM file of face478, rotated, moved and scaled.

    The first expression coefficients are the KNOWN movements at a third of their size; the others are small noise.
    """
    rotation, rng = 0.7 * rotation_matrix(np.array([0.1, -0.2, 0.05])), np.random.default_rng(0)
    vertices = model.mean @ rotation.T + [0.1, 0.2, 0.3]
    basis = rng.normal(0, 1e-3, (478, 3, 64))
    for index, name in enumerate(KNOWN):
        basis[:, :, index] = model.expression_basis[:, :, BLENDSHAPES.index(name)] @ rotation.T / 3
    none = len(model.face) + 1
    return {
        "meanshape": vertices.reshape(1, -1).astype(np.float32),
        "idBase": rng.normal(0, 0.01, (1434, 80)).astype(np.float32),
        "exBase": basis.reshape(1434, 64).astype(np.float32),
        "meantex": np.full((1, 1434), 100, np.float32),
        "texBase": rng.normal(0, 1, (1434, 80)).astype(np.float32),
        "tri": model.face.astype(np.int32) + 1,
        "point_buf": np.full((478, 8), none, np.int32),
        "keypoints": LANDMARKS_68[None].astype(np.int32) + 1,
    }


@pytest.fixture(scope="module")
def synthetic_bfm(model):
    return bfm.from_arrays(synthetic_bfm_arrays(model))


@pytest.fixture(scope="module")
def names(synthetic_bfm, model):
    return fit_expression_names(synthetic_bfm, model)


def test_fit_expression_names_recovers_known_movements(names):
    for index, name in enumerate(KNOWN):
        row = NAMED_EXPRESSIONS.index(name)
        assert names.directions[row, index] == pytest.approx(3, rel=0.02)
        assert np.abs(np.delete(names.directions[row], index)).max() < 0.3
        assert names.residuals[row] < 0.03


def test_fit_expression_names_reports_what_the_model_cannot_reproduce(names):
    missing = ("jawLeft", "browDownLeft", "eyeBlinkLeft")
    assert min(names.residuals[NAMED_EXPRESSIONS.index(name)] for name in missing) > 0.5


def test_expression_names_edit_a_bfm_track(names):
    track = MotionTrack.neutral(4, "bfm09")
    edited, _ = apply_edits(track, [Term("set", "jawOpen", 0.5)], expression_map=names)
    assert edited.expression[0, 0] == pytest.approx(1.5, rel=0.03)
    jaw, smile = (find_channel(name, "bfm09", names) for name in ("jawOpen", "mouthSmile"))
    np.testing.assert_allclose(jaw.read(edited.expression.astype(float)), 0.5, atol=0.01)
    np.testing.assert_allclose(smile.read(edited.expression.astype(float)), 0.0, atol=0.05)
    assert smile.directions.shape == (2, 64) and smile.residual < 0.03
    both, _ = apply_edits(edited, [Term("set", "jawOpen", 0.2), Term("add", "exp30", 0.7)], expression_map=names)
    assert both.expression[0, 0] == pytest.approx(0.6, rel=0.05)
    assert both.expression[0, 30] - edited.expression[0, 30] == pytest.approx(0.7, abs=0.2)


def test_fit_expression_names_rejects_models_without_the_68_landmarks(synthetic_bfm, model):
    with pytest.raises(WeightsError, match="instead of 68"):
        fit_expression_names(replace(synthetic_bfm, landmarks=synthetic_bfm.landmarks[:5]), model)
    shuffled = np.random.default_rng(1).permutation(synthetic_bfm.landmarks)
    with pytest.raises(WeightsError, match="do not form a face"):
        fit_expression_names(replace(synthetic_bfm, landmarks=shuffled), model)
