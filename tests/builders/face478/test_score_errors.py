"""Measurement of the landmark model's score errors on rendered videos."""

import numpy as np
import pytest

from mimaface_cli.builders.face478 import score_errors
from mimaface_cli.builders.face478.observations import Observations
from mimaface_cli.builders.face478.symmetry import pair_blendshapes
from mimaface_cli.errors import InputError
from mimaface_cli.face import face478
from mimaface_cli.face.portrait import portrait_from_photo
from mimaface_cli.media.image import read_image
from mimaface_cli.motion.coefficients import BLENDSHAPES, UNSCORED_BLENDSHAPES, blendshape_index
from tests.conftest import ROOT

JAW = blendshape_index("jawOpen")


@pytest.fixture(scope="module")
def model():
    return face478.load()


@pytest.fixture(scope="module")
def photo():
    return ROOT / "examples" / "portrait.jpg"


@pytest.fixture(scope="module")
def portrait(model, photo):
    return portrait_from_photo(read_image(photo).rgb, None, model, name="portrait").square()


def test_single_name_pulses_move_one_scored_name_at_a_time():
    expression, gaze = score_errors.make_single_name_pulses()
    assert not gaze.any()
    assert len(gaze) == len(expression)
    moved_names = {BLENDSHAPES[k] for k in np.flatnonzero(expression.any(0))}
    scored = {name for name in BLENDSHAPES if name not in UNSCORED_BLENDSHAPES and not name.startswith("eyeLook")}
    assert moved_names == scored - {"jawRight", "mouthRight"}  # their errors are those of the left side
    assert expression.max() == pytest.approx(score_errors.PULSE_HEIGHT)
    for row in expression:
        names = {BLENDSHAPES[k] for k in np.flatnonzero(row)}
        assert len({name.removesuffix("Left").removesuffix("Right") for name in names}) <= 1


def test_errors_of_a_still_face_are_small(model, portrait):
    errors = score_errors.measure_motion_errors(model, portrait, (np.zeros((9, 64)), np.zeros((9, 4))))
    assert errors.shape == (9, 52)
    assert np.abs(errors).max() < 0.05
    assert np.abs(errors.mean(0)).max() < 1e-12


def test_errors_of_a_moving_jaw_are_smaller_than_its_motion(model, portrait):
    expression = np.zeros((9, 64))
    expression[:, JAW] = 0.7 * np.sin(np.pi * np.arange(9) / 8) ** 2
    errors = score_errors.measure_motion_errors(model, portrait, (expression, np.zeros((9, 4))))
    assert 0.01 < errors[:, JAW].std() < 0.8 * expression[:, JAW].std()


def test_score_error_is_a_symmetric_positive_covariance(model, photo, monkeypatch):
    expression = np.zeros((7, 64))
    expression[1:, JAW] = 0.5
    motion = expression, np.zeros((7, 4))
    segment = expression[:5], np.zeros((5, 4))
    monkeypatch.setattr(score_errors, "make_single_name_pulses", lambda: motion)
    monkeypatch.setattr(score_errors, "sample_segments", lambda *_: iter([segment]))
    clips = Observations(np.zeros((1, 478, 3)), np.zeros((1, 52)), np.eye(3)[None], np.zeros(1))
    photos = [photo.with_name("missing.jpg"), photo]
    error = score_errors.measure_score_error(model, photos, clips, seed=0)
    mirror, unscored = pair_blendshapes(), [BLENDSHAPES.index(name) for name in UNSCORED_BLENDSHAPES]
    assert np.allclose(error, error.T)
    assert np.allclose(error, error[np.ix_(mirror, mirror)])
    assert np.linalg.eigvalsh(error).min() > 0.5 * score_errors.UNSCORED_DEVIATION**2
    assert np.allclose(error[unscored], score_errors.UNSCORED_DEVIATION**2 * np.eye(52)[unscored])
    assert error[JAW, JAW] > score_errors.MIN_DEVIATION**2
    assert np.array_equal(error, score_errors.measure_score_error(model, photos, clips, seed=0))
    with pytest.raises(InputError, match="none of the photos"):
        score_errors.measure_score_error(model, photos[:1], clips, seed=0)


def test_segments_reproduce_the_motion_of_their_clip(model):
    rng, count = np.random.default_rng(0), score_errors.SEGMENT_FRAMES + 20
    swing = 0.8 * np.sin(np.arange(count) / 9) ** 2
    expression = np.zeros((count, 64))
    expression[:, JAW] = swing
    points = np.stack([model.shape(np.zeros(80), row) for row in expression]) * [400, 400, 400]
    clips = Observations(points, expression[:, :52], np.tile(np.eye(3), (count, 1, 1)), np.zeros(count, int))
    segments = list(score_errors.sample_segments(model, clips, rng))
    assert len(segments) == score_errors.SEGMENTS
    length = score_errors.SEGMENT_FRAMES
    for segment_expression, gaze in segments:
        assert segment_expression.shape == (length, 64)
        assert gaze.shape == (length, 4)
        jaw = segment_expression[:, JAW]
        assert min(np.abs(jaw - swing[k : k + length]).max() for k in range(21)) < 0.15
