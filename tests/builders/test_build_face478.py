"""How far the landmark model's scores are believed: measured on what was drawn."""

import numpy as np
import pytest

from mimaface_cli.builders.face478 import score_errors as misread
from mimaface_cli.builders.face478.learning import Observations, mirror_names
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


def test_each_name_comes_and_goes_alone():
    expression, look = misread.one_by_one()
    assert not look.any() and len(look) == len(expression)
    used = [BLENDSHAPES[k] for k in np.flatnonzero(expression.any(0))]
    scored = {name for name in BLENDSHAPES if name not in UNSCORED_BLENDSHAPES and not name.startswith("eyeLook")}
    assert set(used) == scored - {"jawRight", "mouthRight"}  # mirrored afterwards
    assert expression.max() == pytest.approx(misread.HEIGHT)
    for row in expression:
        moved = {BLENDSHAPES[k] for k in np.flatnonzero(row)}
        assert len({name.removesuffix("Left").removesuffix("Right") for name in moved}) <= 1


def test_errors_are_of_what_was_drawn(model, photo):
    """A face that holds still is scored alike; a jaw that drops is scored, so the error is smaller than the drop."""
    portrait = portrait_from_photo(read_image(photo).rgb, None, model, name="portrait").square()
    expression, look = np.zeros((9, 64)), np.zeros((9, 4))
    still = misread.misread(model, portrait, expression, look)
    assert still.shape == (9, 52) and np.abs(still).max() < 0.05 and np.abs(still.mean(0)).max() < 1e-12
    expression[:, JAW] = 0.7 * np.sin(np.pi * np.arange(9) / 8) ** 2
    talking = misread.misread(model, portrait, expression, look)
    assert 0.01 < talking[:, JAW].std() < 0.8 * expression[:, JAW].std()


def test_the_covariance_is_mirrored_and_sound(model, photo, monkeypatch):
    monkeypatch.setattr(misread, "STRETCHES", 1)
    names = np.zeros((7, 64))
    names[1:, JAW] = 0.5
    monkeypatch.setattr(misread, "one_by_one", lambda: (names, np.zeros((7, 4))))
    monkeypatch.setattr(misread, "stretches", lambda *_: iter([(names[:5], np.zeros((5, 4)))]))
    one = np.zeros(1)
    clips = Observations(np.zeros((1, 478, 3)), np.zeros((1, 52)), np.eye(3)[None], one)
    error = misread.score_error(model, [photo.with_name("nowhere.jpg"), photo], clips, seed=0)
    mirror, silent = mirror_names(), [BLENDSHAPES.index(name) for name in UNSCORED_BLENDSHAPES]
    assert np.allclose(error, error.T) and np.allclose(error, error[np.ix_(mirror, mirror)])
    assert np.linalg.eigvalsh(error).min() > 0.5 * misread.UNMOVED**2
    assert np.allclose(error[silent], misread.UNMOVED**2 * np.eye(52)[silent])
    assert error[JAW, JAW] > misread.FLOOR**2
    again = misread.score_error(model, [photo.with_name("nowhere.jpg"), photo], clips, seed=0)
    assert np.array_equal(error, again)
    with pytest.raises(InputError, match="none of the photos"):
        misread.score_error(model, [photo.with_name("nowhere.jpg")], clips, seed=0)


def test_pieces_of_clips_are_moved_as_they_were(model):
    """What an observed person did comes out again, at most so many frames of it."""
    rng, count = np.random.default_rng(0), misread.FRAMES + 20
    swing = 0.8 * np.sin(np.arange(count) / 9) ** 2
    expression = np.zeros((count, 64))
    expression[:, JAW] = swing
    points = np.stack([model.shape(np.zeros(80), one) for one in expression]) * [400, 400, 400]
    clips = Observations(points, expression[:, :52], np.tile(np.eye(3), (count, 1, 1)), np.zeros(count, int))
    pieces = list(misread.stretches(model, clips, rng))
    assert len(pieces) == misread.STRETCHES
    for found, look in pieces:
        assert found.shape == (misread.FRAMES, 64) and look.shape == (misread.FRAMES, 4)
        jaw = found[:, JAW]
        assert min(np.abs(jaw - swing[k : k + misread.FRAMES]).max() for k in range(21)) < 0.15
