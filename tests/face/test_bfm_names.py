"""The named expressions fitted to a BFM: on a synthetic one whose movements are known."""

from dataclasses import replace

import numpy as np
import pytest

from mimaface_cli.errors import WeightsError
from mimaface_cli.face import bfm, face478
from mimaface_cli.face.bfm_names import LANDMARKS_68, fit_expression_names
from mimaface_cli.motion.channels import NAMED_EXPRESSIONS, find_channel
from mimaface_cli.motion.coefficients import BLENDSHAPES
from mimaface_cli.motion.editing import Term, apply_edits
from mimaface_cli.motion.rotation import rotation_matrix
from mimaface_cli.motion.track import MotionTrack

KNOWN = ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "browInnerUp", "mouthPucker", "mouthFrownLeft")


def made_arrays() -> dict[str, np.ndarray]:
    """face478 itself, turned, moved and at another scale, as a BFM file's fields; the first expression coefficients are
    KNOWN movements at a third of their size, the others small noise.
    """
    model = face478.load()
    turn, rng = 0.7 * rotation_matrix(np.array([0.1, -0.2, 0.05])), np.random.default_rng(0)
    vertices = model.mean @ turn.T + [0.1, 0.2, 0.3]
    basis = rng.normal(0, 1e-3, (478, 3, 64))
    for k, name in enumerate(KNOWN):
        basis[:, :, k] = model.expression_basis[:, :, BLENDSHAPES.index(name)] @ turn.T / 3
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
def named():
    return fit_expression_names(bfm.from_arrays(made_arrays()), face478.load())


def test_known_movements_are_found(named):
    for k, name in enumerate(KNOWN):
        row = NAMED_EXPRESSIONS.index(name)
        assert named.directions[row, k] == pytest.approx(3, rel=0.02)
        assert np.abs(np.delete(named.directions[row], k)).max() < 0.3
        assert named.residuals[row] < 0.03
    poor = [named.residuals[NAMED_EXPRESSIONS.index(name)] for name in ("jawLeft", "browDownLeft", "eyeBlinkLeft")]
    assert min(poor) > 0.5  # it says what the model cannot do


def test_names_edit_a_bfm_track(named):
    track = MotionTrack.neutral(4, "bfm09")
    edited, _ = apply_edits(track, [Term("set", "jawOpen", 0.5)], expression_map=named)
    assert edited.expression[0, 0] == pytest.approx(1.5, rel=0.03)
    jaw, smile = (find_channel(name, "bfm09", named) for name in ("jawOpen", "mouthSmile"))
    np.testing.assert_allclose(jaw.read(edited.expression.astype(float)), 0.5, atol=0.01)
    np.testing.assert_allclose(smile.read(edited.expression.astype(float)), 0.0, atol=0.05)
    assert smile.directions.shape == (2, 64) and smile.residual < 0.03
    both, _ = apply_edits(edited, [Term("set", "jawOpen", 0.2), Term("add", "exp30", 0.7)], expression_map=named)
    assert both.expression[0, 0] == pytest.approx(0.6, rel=0.05)
    assert both.expression[0, 30] - edited.expression[0, 30] == pytest.approx(0.7, abs=0.2)


def test_another_model_is_refused():
    model = bfm.from_arrays(made_arrays())
    with pytest.raises(WeightsError, match="instead of 68"):
        fit_expression_names(replace(model, landmarks=model.landmarks[:5]), face478.load())
    shuffled = np.random.default_rng(1).permutation(model.landmarks)
    with pytest.raises(WeightsError, match="do not form a face"):
        fit_expression_names(replace(model, landmarks=shuffled), face478.load())
