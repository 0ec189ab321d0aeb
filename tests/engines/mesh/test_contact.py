"""Contact: lids and lips meet and never pass through each other."""

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
from mimaface_cli.engines.mesh.fine_face import build_fine_face
from mimaface_cli.face import topology
from mimaface_cli.motion.coefficients import blendshape_index


def make_person(model, seed: int, **expression: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return identity, expression and face of a random person with some blendshapes set."""
    identity = 0.8 * np.random.default_rng(seed).normal(size=80)
    coefficients = np.zeros(64)
    for name, value in expression.items():
        coefficients[blendshape_index(name)] = value
    return identity, coefficients, model.shape(identity, coefficients)


def measure_area(ring: np.ndarray) -> float:
    x, y = ring[:, 0], ring[:, 1]
    return 0.5 * abs(x @ np.roll(y, -1) - y @ np.roll(x, -1))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("heights", [(0.0, 0.0), (0.0, 0.1), (0.12, 0.03)])
def test_match_lids_reaches_the_requested_heights(model, seed, heights):
    _, _, face = make_person(model, seed)
    moved = match_lids(face, model, np.array(heights))
    assert [measure_lid_gap(moved, side) for side in ("left", "right")] == pytest.approx(heights, abs=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_match_lids_closes_the_opening_at_height_zero(model, seed):
    _, _, face = make_person(model, seed)
    fine = build_fine_face(model.face.tobytes())
    closed, original = fine.matrix @ match_lids(face, model, np.zeros(2)), fine.matrix @ face
    for side in ("left_eye", "right_eye"):
        ring = fine.rings[side]
        assert measure_area(closed[ring]) < 0.2 * measure_area(original[ring])


def test_match_lids_of_one_eye_moves_only_that_eye(model):
    _, _, face = make_person(model, 4)
    right_height = float(measure_lid_gap(face, "right"))
    moved = match_lids(face, model, np.array([0.0, right_height])) - face
    assert np.abs(moved[topology.LEFT_EYE]).max() > 0.02
    assert np.abs(moved[topology.RIGHT_EYE]).max() < 0.004
    assert np.abs(moved[topology.OUTER_LIPS]).max() < 1e-3


def test_lid_openness_is_one_at_rest_and_low_for_a_blink(model):
    identity, rest, _ = make_person(model, 5)
    assert np.allclose(measure_lid_openness(model, identity, rest[None]), 1)
    _, blink, _ = make_person(model, 5, eyeBlinkLeft=1.0, eyeBlinkRight=1.0)
    assert (measure_lid_openness(model, identity, blink[None]) < 0.25).all()
    _, wink, _ = make_person(model, 5, eyeBlinkLeft=1.0)
    left, right = measure_lid_openness(model, identity, wink[None])[0]
    assert left < 0.25 and right > 0.95
    _, open_eyes, _ = make_person(model, 5, eyeWideLeft=1.0, eyeWideRight=1.0)
    openness = measure_lid_openness(model, identity, open_eyes[None])
    assert (openness > 1.1).all() and (openness <= MAX_LID_OPENNESS).all()


def test_lid_openness_counts_from_the_height_of_closed_lids(model):
    identity, rest, face = make_person(model, 6)
    usual = float(measure_lid_gap(face, "left"))
    closed = match_lids(face, model, np.full(2, CLOSED_LID_SHARE * usual))
    assert measure_lid_gap(closed, "left") == pytest.approx(CLOSED_LID_SHARE * usual, abs=1e-3)
    many = np.stack([rest, rest])
    assert measure_lid_openness(model, identity, many).shape == (2, 2)


def measure_lip_gaps(face: np.ndarray) -> np.ndarray:
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
    ids=["close", "press", "shrug", "closed further"],
)
def test_separate_lips_lets_crossing_lips_meet_halfway(model, expression):
    crossing_faces = 0
    for seed in range(4):
        _, _, face = make_person(model, seed, **expression)
        crossing = measure_lip_gaps(face) < 0
        crossing_faces += crossing.any()
        separated = separate_lips(face)
        assert measure_lip_gaps(separated).min() > -1e-9
        upper, lower = LIP_PAIRS[crossing].T
        halfway = (face[upper, 1] + face[lower, 1]) / 2
        assert np.allclose(separated[upper, 1], halfway) and np.allclose(separated[lower, 1], halfway)
        rest = np.setdiff1d(np.arange(478), LIP_PAIRS[crossing])
        assert np.array_equal(separated[rest], face[rest])
    assert crossing_faces  # else the test checks nothing


def test_separate_lips_keeps_open_lips(model):
    _, _, face = make_person(model, 1, jawOpen=0.6)
    assert np.array_equal(separate_lips(face), face)
