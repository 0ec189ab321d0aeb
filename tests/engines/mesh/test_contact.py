"""Lids and lips meet, and never pass through each other."""

import numpy as np
import pytest

from mimaface_cli.engines.mesh.contact import (
    CLOSED_LID_SHARE,
    LIP_PAIRS,
    MAX_LID_OPENNESS,
    match_lids,
    measure_lid_gap,
    measure_lid_openness,
    separate_lips,
)
from mimaface_cli.engines.mesh.prepared_portrait import fit_lid_curve
from mimaface_cli.engines.mesh.surface import build_fine_face
from mimaface_cli.face import face478, topology
from mimaface_cli.motion.coefficients import blendshape_index


@pytest.fixture(scope="module")
def model():
    return face478.load()


def someone(model, seed: int, **expression: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Identity, expression and face of a random person with some named expressions."""
    identity = 0.8 * np.random.default_rng(seed).normal(size=80)
    coefficients = np.zeros(64)
    for name, value in expression.items():
        coefficients[blendshape_index(name)] = value
    return identity, coefficients, model.shape(identity, coefficients)


def area(ring: np.ndarray) -> float:
    x, y = ring[:, 0], ring[:, 1]
    return 0.5 * abs(x @ np.roll(y, -1) - y @ np.roll(x, -1))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("heights", [(0.0, 0.0), (0.0, 0.1), (0.12, 0.03)])
def test_lids_take_the_wanted_heights(model, seed, heights):
    _, _, face = someone(model, seed)
    moved = match_lids(face, model, np.array(heights))
    assert [measure_lid_gap(moved, side) for side in ("left", "right")] == pytest.approx(heights, abs=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_shut_lids_leave_hardly_an_opening(model, seed):
    _, _, face = someone(model, seed)
    fine = build_fine_face(model.face.tobytes())
    shut, seen = fine.matrix @ match_lids(face, model, np.zeros(2)), fine.matrix @ face
    for side in ("left_eye", "right_eye"):
        ring = fine.rings[side]
        assert area(shut[ring]) < 0.2 * area(seen[ring])


def test_a_wink_moves_one_eye(model):
    _, _, face = someone(model, 4)
    right_height = float(measure_lid_gap(face, "right"))
    moved = match_lids(face, model, np.array([0.0, right_height])) - face
    assert np.abs(moved[topology.LEFT_EYE]).max() > 0.02
    assert np.abs(moved[topology.RIGHT_EYE]).max() < 0.004
    assert np.abs(moved[topology.OUTER_LIPS]).max() < 1e-3


def test_openness_is_one_at_rest_and_none_when_shut(model):
    identity, rest, _ = someone(model, 5)
    assert np.allclose(measure_lid_openness(model, identity, rest[None]), 1)
    _, blink, _ = someone(model, 5, eyeBlinkLeft=1.0, eyeBlinkRight=1.0)
    assert (measure_lid_openness(model, identity, blink[None]) < 0.25).all()
    _, wink, _ = someone(model, 5, eyeBlinkLeft=1.0)
    left, right = measure_lid_openness(model, identity, wink[None])[0]
    assert left < 0.25 and right > 0.95
    _, wide, _ = someone(model, 5, eyeWideLeft=1.0, eyeWideRight=1.0)
    assert ((open_ := measure_lid_openness(model, identity, wide[None])) > 1.1).all() and (
        open_ <= MAX_LID_OPENNESS
    ).all()


def test_openness_counts_from_what_shut_lids_look_like(model):
    identity, rest, face = someone(model, 6)
    usual = float(measure_lid_gap(face, "left"))
    shut = match_lids(face, model, np.full(2, CLOSED_LID_SHARE * usual))
    assert measure_lid_gap(shut, "left") == pytest.approx(CLOSED_LID_SHARE * usual, abs=1e-3)
    many = np.stack([rest, rest])
    assert measure_lid_openness(model, identity, many).shape == (2, 2)


def lip_gaps(face: np.ndarray) -> np.ndarray:
    upper, lower = LIP_PAIRS.T
    return face[upper, 1] - face[lower, 1]


@pytest.mark.parametrize(
    "expression",
    [
        {"mouthClose": 1.0},
        {"mouthPressLeft": 1.0, "mouthPressRight": 1.0, "mouthRollLower": 0.8},
        {"mouthShrugLower": 1.0, "mouthClose": 0.4},
        {"jawOpen": -0.3},
    ],
    ids=["close", "press", "shrug", "shut further"],
)
def test_lips_never_cross(model, expression):
    crossed = 0
    for seed in range(4):
        _, _, face = someone(model, seed, **expression)
        crossed += (lip_gaps(face) < 0).any()
        parted = separate_lips(face)
        assert lip_gaps(parted).min() > -1e-9
        met = lip_gaps(face) < 0
        upper, lower = LIP_PAIRS[met].T
        half_way = (face[upper, 1] + face[lower, 1]) / 2
        assert np.allclose(parted[upper, 1], half_way) and np.allclose(parted[lower, 1], half_way)
        rest = np.setdiff1d(np.arange(478), LIP_PAIRS[met])
        assert np.array_equal(parted[rest], face[rest])
    assert crossed  # the case is a real one


def test_open_lips_are_left_alone(model):
    _, _, face = someone(model, 1, jawOpen=0.6)
    assert np.array_equal(separate_lips(face), face)


@pytest.mark.parametrize("own", [0.0, 0.05, 0.2, 0.34, 0.36, 0.8, 1.2])
def test_an_eye_is_as_open_as_in_the_photo(own):
    """However narrow: the photo's openness gives the photo's height, none shuts, more opens."""
    openness, height = fit_lid_curve(own, 0.03, 0.08)
    at = lambda wanted: np.interp(wanted, openness, height)  # noqa: E731
    assert at(0.0) == 0 and (at(own) == pytest.approx(0.03, abs=1e-6) if own > 0.12 else at(own) < 0.03)
    assert (np.diff(openness) > 0).all() and (np.diff(height) >= 0).all()
    assert at(1.0) > 0.05 or own > 0.5


def test_eyes_of_almost_the_same_openness_open_alike():
    """There is no openness at which a face's lids jump."""
    curves = [fit_lid_curve(own, 0.1 * own, 0.08) for own in np.linspace(0.01, 1.4, 400)]
    heights = np.array([np.interp([0.1, 0.3, 0.6, 1.0], *curve) for curve in curves])
    assert np.abs(np.diff(heights, axis=0)).max() < 2e-3
