"""Head, brow, blink and gaze motion: seeded, moderate, without drift or period."""

import numpy as np
import pytest

from mimaface_cli.motion.coefficients import EXPRESSION_DIM, blendshape_index
from mimaface_cli.speech.nonverbal_motion import (
    find_stresses,
    generate_nonverbal_motion,
    generate_sway,
    measure_activity,
    rotate_about_neck,
)

RATE = 25


@pytest.fixture(scope="module")
def speech():
    """Five minutes of phrases and pauses: mouth T × 64 and loudness T."""
    rng = np.random.default_rng(3)
    frames = 5 * 60 * RATE
    is_talking = np.repeat(rng.random(frames // 50) < 0.7, 50)
    syllables = np.maximum(np.sin(np.cumsum(rng.uniform(0.5, 1.1, frames))), 0) * rng.uniform(0.6, 1.0, frames)
    mouth = np.zeros((frames, EXPRESSION_DIM))
    mouth[:, blendshape_index("jawOpen")] = 0.3 * syllables * is_talking
    return mouth, np.where(is_talking, syllables - 0.4, -1.5)


def find_blink_starts(expression: np.ndarray) -> np.ndarray:
    is_shut = expression[:, blendshape_index("eyeBlinkLeft")] > 0.5
    return np.flatnonzero(is_shut[1:] & ~is_shut[:-1]) + 1


def test_motion_depends_only_on_seed_and_audio(speech):
    motion, same, other_seed, other_audio = (
        generate_nonverbal_motion(*speech, *arguments) for arguments in ((1, "ab"), (1, "ab"), (2, "ab"), (1, "cd"))
    )
    assert np.array_equal(motion.pose, same.pose) and np.array_equal(motion.expression, same.expression)
    for other in (other_seed, other_audio):
        assert np.abs(motion.pose[:, 1] - other.pose[:, 1]).max() > 0.02


def test_blinks_have_a_natural_rate_and_irregular_gaps(speech):
    for seed in range(4):
        starts = find_blink_starts(generate_nonverbal_motion(*speech, seed).expression)
        blinks_per_minute = np.bincount(starts // (60 * RATE), minlength=5)
        assert (blinks_per_minute >= 9).all() and (blinks_per_minute <= 25).all(), blinks_per_minute
        assert 10 <= len(starts) / 5 <= 25
        assert np.diff(starts).std() > 0.25 * np.diff(starts).mean()


def test_head_motion_is_moderate_and_neither_drifts_nor_repeats(speech):
    angles = generate_nonverbal_motion(*speech, 0).pose[:, :3]
    assert np.abs(angles).max() < np.radians(14)
    assert np.abs(np.diff(angles, axis=0)).max() * RATE < np.radians(70)
    assert 0.01 < angles[:, 1].std() < 0.06
    minute_means = angles.reshape(5, -1, 3).mean(1)
    assert np.abs(minute_means).max() < 0.025
    for column in angles.T:
        centered = column - column.mean()
        spectrum = np.fft.rfft(centered, 2 * len(centered))
        autocorrelation = np.fft.irfft(np.abs(spectrum) ** 2)[: len(centered)]
        assert (autocorrelation[10 * RATE : len(centered) // 2] / autocorrelation[0]).max() < 0.5


def test_head_moves_more_while_speaking(speech):
    mouth, loudness = speech
    silent_pose = generate_nonverbal_motion(np.zeros_like(mouth), loudness, 0).pose
    speaking_pose = generate_nonverbal_motion(mouth, loudness, 0).pose
    assert speaking_pose[:, 1].std() > 1.4 * silent_pose[:, 1].std() > 0


def test_find_stresses_returns_none_without_lip_motion(speech):
    mouth, loudness = speech
    assert find_stresses(loudness, measure_activity(mouth))
    assert not find_stresses(loudness, measure_activity(np.zeros_like(mouth)))


def test_still_motion_keeps_the_head_at_rest_but_blinks(speech):
    motion = generate_nonverbal_motion(*speech, 0, is_still=True)
    assert not motion.pose.any() and len(find_blink_starts(motion.expression)) > 40


def test_motion_changes_no_lip_coefficient(speech):
    expression = generate_nonverbal_motion(*speech, 0).expression
    moving_columns = {k for k in range(EXPRESSION_DIM) if expression[:, k].any()}
    names = "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "eyeBlinkLeft", "eyeBlinkRight"
    assert moving_columns == {blendshape_index(name) for name in names}
    assert expression.min() >= 0 and expression.max() <= 1


def test_gaze_compensates_the_head_rotation(speech):
    motion = generate_nonverbal_motion(*speech, 0)
    assert np.corrcoef(motion.gaze[:, 0], motion.pose[:, 1])[0, 1] < -0.3
    assert np.corrcoef(motion.gaze[:, 1], motion.pose[:, 0])[0, 1] > 0.3
    assert np.array_equal(motion.gaze[:, :2], motion.gaze[:, 2:])


@pytest.mark.parametrize("hertz", [0.12, 0.45])
def test_generate_sway_has_standard_deviation_one(hertz):
    deviation = generate_sway(60_000, hertz, np.random.default_rng(0)).std(0)
    assert np.abs(deviation - 1).max() < 0.12


def test_rotate_about_neck_moves_the_head_in_its_direction():
    pose = rotate_about_neck(np.array([[0.0, 0.2, 0.0], [0.1, 0.0, 0.0]]))
    assert pose[0, 3] > 0.05 and pose[1, 4] < 0  # sideways with a turn, down with a nod


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_motion_of_very_short_audio_is_finite(frames):
    motion = generate_nonverbal_motion(np.zeros((frames, EXPRESSION_DIM)), np.full(frames, -1.0), 0)
    assert motion.pose.shape == (frames, 6) and np.isfinite(motion.gaze).all()
