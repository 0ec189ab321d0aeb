"""Measures of faces, and expressions that are matched to them."""

import numpy as np
import pytest

from mimaface_cli.engines.mesh import measures
from mimaface_cli.engines.mesh.measures import FaceMeasures, match_measures, measure_landmarks, spread_gap
from mimaface_cli.face import face478
from mimaface_cli.motion.coefficients import blendshape_index
from tests.engines.mesh.coefficients import make_coefficients

MODEL = face478.load()
PERSON = FaceMeasures.of(MODEL, MODEL.mean)
REST = make_coefficients().expression


@pytest.mark.parametrize(
    ("name", "column", "least"),
    [
        ("jawOpen", measures.GAP, 0.15),
        ("mouthSmile", measures.WIDTH, 0.05),
        ("browInnerUp", measures.BROWS.start, 0.02),
        ("eyeWide", measures.LIDS.start, 0.01),
    ],
)
def test_measures_grow_with_the_movement(name, column, least):
    moved = PERSON(make_coefficients(**{name: 0.6}).expression)[0]
    assert moved[column] - PERSON(REST)[0, column] > least


def test_gap_of_lips_that_pass_through_each_other_is_zero():
    assert (PERSON(make_coefficients(jawOpen=-0.5).expression)[0, measures.GAPS] == 0).all()


def test_measure_landmarks_does_not_depend_on_roll_and_size():
    points = MODEL.mean[:, :2] * [1, -1]
    angle = np.radians(25)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(measure_landmarks(300 * points @ turn.T + 40), measure_landmarks(points), atol=1e-9)
    np.testing.assert_allclose(measure_landmarks(points), PERSON.offset, atol=0.01)


def test_match_measures_reaches_its_targets():
    target = PERSON(REST)
    target[:, measures.GAPS] = spread_gap(target[:, measures.GAPS], np.array([0.2]))
    target[:, measures.WIDTH] += 0.05
    target[:, measures.BROWS] += 0.02
    matched = PERSON(match_measures(PERSON, REST, target))
    np.testing.assert_allclose(matched[:, : measures.LIDS.start], target[:, : measures.LIDS.start], atol=0.01)


def test_match_measures_opens_a_mouth_by_its_jaw():
    target = PERSON(REST)
    target[:, measures.GAPS] = spread_gap(target[:, measures.GAPS], np.array([0.3]))
    assert match_measures(PERSON, REST, target)[0, blendshape_index("jawOpen")] > 0.5


def test_match_measures_stays_within_limits_and_lips_do_the_rest():
    smile = make_coefficients(mouthUpperUp=0.6, mouthLowerDown=0.6).expression
    target = PERSON(smile)
    target[:, measures.GAPS] = -0.01
    matched = match_measures(PERSON, smile, target, low=-0.2)
    assert matched.min() >= -0.2
    assert (PERSON(matched)[0, measures.GAPS] < 0.01).all()


def test_match_measures_does_not_move_the_eyes():
    target = PERSON(REST) + 0.05
    matched = match_measures(PERSON, REST, target)
    for name in ("eyeBlinkLeft", "eyeLookUpRight", "jawLeft"):
        assert matched[0, blendshape_index(name)] == 0


def test_spread_gap_keeps_the_shape_of_the_opening():
    gaps = np.array([[0.1, 0.16, 0.2, 0.16, 0.1]])
    np.testing.assert_allclose(spread_gap(gaps, np.array([0.1])), gaps / 2)
    wider = spread_gap(gaps, np.array([0.3]))[0]
    assert wider[2] == pytest.approx(0.3)
    assert (np.diff(wider[:3]) > 0).all()
    assert (spread_gap(gaps, np.array([-0.01])) == -0.01).all()
