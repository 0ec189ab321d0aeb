"""Head, brows, blinks and glances: seeded, quiet, at rest in the mean, never repeating."""

import numpy as np
import pytest

from mimaface_cli.motion.coefficients import EXPRESSION_DIM, blendshape_index
from mimaface_cli.speech.nonverbal_motion import activity, liven, pose_of, stresses, wander

RATE = 25


@pytest.fixture(scope="module")
def speech():
    """Five minutes of phrases and pauses: mouth T × 64 and loudness T."""
    rng = np.random.default_rng(3)
    frames = 5 * 60 * RATE
    talk = np.repeat(rng.random(frames // 50) < 0.7, 50)
    syllables = np.maximum(np.sin(np.cumsum(rng.uniform(0.5, 1.1, frames))), 0) * rng.uniform(0.6, 1.0, frames)
    mouth = np.zeros((frames, EXPRESSION_DIM))
    mouth[:, blendshape_index("jawOpen")] = 0.3 * syllables * talk
    return mouth, np.where(talk, syllables - 0.4, -1.5)


def blink_starts(expression: np.ndarray) -> np.ndarray:
    shut = expression[:, blendshape_index("eyeBlinkLeft")] > 0.5
    return np.flatnonzero(shut[1:] & ~shut[:-1]) + 1


def test_the_same_seed_and_sound_give_the_same_and_others_do_not(speech):
    one, same, seed, sound = (liven(*speech, *given) for given in ((1, "ab"), (1, "ab"), (2, "ab"), (1, "cd")))
    assert np.array_equal(one.pose, same.pose) and np.array_equal(one.expression, same.expression)
    for other in (seed, sound):
        assert np.abs(one.pose[:, 1] - other.pose[:, 1]).max() > 0.02


def test_blinks_are_as_many_as_people_have_and_irregular(speech):
    for seed in range(4):
        starts = blink_starts(liven(*speech, seed).expression)
        minutes = np.bincount(starts // (60 * RATE), minlength=5)
        assert (minutes >= 9).all() and (minutes <= 25).all(), minutes
        assert 10 <= len(starts) / 5 <= 25
        assert np.diff(starts).std() > 0.25 * np.diff(starts).mean()


def test_the_head_is_quiet_and_neither_drifts_nor_loops(speech):
    pose = liven(*speech, 0).pose
    angles = pose[:, :3]
    assert np.abs(angles).max() < np.radians(14)
    assert np.abs(np.diff(angles, axis=0)).max() * RATE < np.radians(70)
    assert 0.01 < angles[:, 1].std() < 0.06
    minutes = angles.reshape(5, -1, 3).mean(1)
    assert np.abs(minutes).max() < 0.025
    for column in angles.T:
        wave = column - column.mean()
        again = np.fft.irfft(np.abs(np.fft.rfft(wave, 2 * len(wave))) ** 2)[: len(wave)]
        assert (again[10 * RATE : len(wave) // 2] / again[0]).max() < 0.5


def test_it_is_livelier_while_speaking(speech):
    mouth, loudness = speech
    nobody = liven(np.zeros_like(mouth), loudness, 0).pose
    assert liven(mouth, loudness, 0).pose[:, 1].std() > 1.4 * nobody[:, 1].std() > 0
    assert not stresses(loudness, activity(np.zeros_like(mouth)))


def test_a_still_head_still_blinks(speech):
    life = liven(*speech, 0, still=True)
    assert not life.pose.any() and len(blink_starts(life.expression)) > 40


def test_lips_are_left_alone(speech):
    expression = liven(*speech, 0).expression
    moving = {k for k in range(EXPRESSION_DIM) if expression[:, k].any()}
    names = "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "eyeBlinkLeft", "eyeBlinkRight"
    assert moving == {blendshape_index(name) for name in names}
    assert expression.min() >= 0 and expression.max() <= 1


def test_eyes_stay_on_the_viewer(speech):
    life = liven(*speech, 0)
    assert np.corrcoef(life.gaze[:, 0], life.pose[:, 1])[0, 1] < -0.3
    assert np.corrcoef(life.gaze[:, 1], life.pose[:, 0])[0, 1] > 0.3
    assert np.array_equal(life.gaze[:, :2], life.gaze[:, 2:])


def test_wandering_has_the_spread_it_says():
    for hertz in (0.12, 0.45):
        spread = wander(60_000, hertz, np.random.default_rng(0)).std(0)
        assert np.abs(spread - 1).max() < 0.12


def test_the_head_turns_on_its_neck():
    pose = pose_of(np.array([[0.0, 0.2, 0.0], [0.1, 0.0, 0.0]]))
    assert pose[0, 3] > 0.05 and pose[1, 4] < 0  # to the side it looks to, and down with a nod


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_short_sounds(frames):
    life = liven(np.zeros((frames, EXPRESSION_DIM)), np.full(frames, -1.0), 0)
    assert life.pose.shape == (frames, 6) and np.isfinite(life.gaze).all()
