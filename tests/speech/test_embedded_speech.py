"""Speech to face478 tracks: timing, determinism, head and eyes from other tracks."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.speech.embedded_speech import generate_embedded_track, resample_ping_pong
from mimaface_cli.speech.lip_model_file import load_lip_model
from mimaface_cli.speech.speech_options import SpeechOptions
from tests.speech.synthetic_speech import as_waveform, synthesize_speech

SENTENCE = [("", 0.3), ("ah", 0.4), ("m", 0.2), ("ee", 0.4), ("s", 0.2), ("oo", 0.4), ("", 0.5)] * 2
JAW, BLINK = blendshape_index("jawOpen"), blendshape_index("eyeBlinkLeft")


@pytest.fixture(scope="module")
def waveform():
    return as_waveform(synthesize_speech(*SENTENCE))


@pytest.fixture(scope="module")
def plain_track(waveform):
    return generate(waveform)


def generate(waveform, options: SpeechOptions | None = None, **arguments) -> MotionTrack:
    return generate_embedded_track(waveform, load_lip_model(), options or SpeechOptions(), "ab", **arguments)


def nodding_track(frames: int = 50) -> MotionTrack:
    """Return a track with a pitch from -0.1 to 0.1 rad, and eyes and jaw from 0 to 1."""
    track = MotionTrack.neutral(frames, "face478", Fraction(25))
    pose, expression = track.pose.copy(), track.expression.copy()
    pose[:, 0] = np.linspace(-0.1, 0.1, frames)
    expression[:, BLINK] = expression[:, JAW] = np.linspace(0, 1, frames)
    return replace(track, pose=pose, expression=expression)


def test_track_covers_the_whole_audio_at_25_frames_per_second(plain_track):
    assert plain_track.meta.space == "face478" and plain_track.frame_rate == 25
    assert len(plain_track) == 120 and plain_track.duration == pytest.approx(4.8) and plain_track.valid.all()
    assert np.array_equal(plain_track.pts, np.arange(120) / 25)
    assert np.abs(plain_track.pose).max() > 0.005 and not plain_track.identity.any()


def test_progress_ends_with_the_number_of_frames(waveform):
    steps = []
    generate(waveform, progress=lambda *step: steps.append(step))
    assert steps[-1] == ("synthesizing motion", 120, 120)


def test_same_options_give_the_same_track(waveform, plain_track):
    again = generate(waveform)
    assert np.array_equal(again.expression, plain_track.expression) and np.array_equal(again.pose, plain_track.pose)


def test_seeds_change_the_head_but_not_the_mouth(waveform, plain_track):
    other = generate(waveform, SpeechOptions(seed=4))
    assert not np.array_equal(other.pose, plain_track.pose)
    assert np.array_equal(other.expression[:, JAW], plain_track.expression[:, JAW])


def test_expression_scale_multiplies_the_mouth_motion(waveform, plain_track):
    half = generate(waveform, SpeechOptions(expression_scale=0.5))
    assert np.allclose(half.expression[:, JAW], 0.5 * plain_track.expression[:, JAW], atol=1e-6)


def test_pose_from_replaces_the_head_motion_and_plays_backward_at_its_end(waveform, plain_track):
    track = generate(waveform, pose_from=nodding_track())
    assert np.allclose(track.pose[:50, 0], np.linspace(-0.1, 0.1, 50), atol=1e-5)
    assert np.abs(np.diff(track.pose[:, 0])).max() < 0.005  # no jump
    assert np.array_equal(track.expression, plain_track.expression)


def test_blinks_from_replaces_the_eyes_but_not_the_mouth(waveform, plain_track):
    track = generate(waveform, blinks_from=nodding_track())
    assert np.allclose(track.expression[:50, BLINK], np.linspace(0, 1, 50), atol=1e-5)
    assert np.array_equal(track.expression[:, JAW], plain_track.expression[:, JAW])


def test_still_keeps_the_head_at_rest(waveform):
    track = generate(waveform, SpeechOptions(still=True))
    assert not track.pose.any() and track.expression.any()


def test_resample_ping_pong_plays_forward_and_backward():
    values = resample_ping_pong(np.arange(3.0)[:, None], nodding_track(3), 9)[:, 0]
    assert np.allclose(values, [0, 1, 2, 1, 0, 1, 2, 1, 0])


def test_resample_ping_pong_repeats_a_single_frame():
    assert resample_ping_pong(np.ones((1, 2)), nodding_track(1), 4).tolist() == [[1, 1]] * 4
