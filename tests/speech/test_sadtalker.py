"""Speech to bfm09 tracks by SadTalker's networks, with random weights."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mimaface_cli.errors import WeightsError
from mimaface_cli.media.waveform import Waveform, open_waveform
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.speech.audio2exp import Audio2Exp
from mimaface_cli.speech.audio2pose import Audio2Pose
from mimaface_cli.speech.sadtalker import find_sadtalker_weights, generate_sadtalker_track
from mimaface_cli.speech.speech_options import SpeechOptions
from tests.speech.synthetic_speech import synthesize_speech, write_wav

SENTENCE = [("", 0.3), ("ah", 0.4), ("m", 0.2), ("ee", 0.4), ("", 0.7)]
FRAMES = 50
REFERENCE = np.linspace(-0.2, 0.2, 70).astype(np.float32)


@pytest.fixture(scope="module")
def waveform(tmp_path_factory):
    path = write_wav(tmp_path_factory.mktemp("speech") / "speech.wav", synthesize_speech(*SENTENCE))
    with open_waveform(path) as waveform:
        yield waveform


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    networks = {"audio2exp": Audio2Exp(), "audio2pose": Audio2Pose()}
    state = {f"{name}.{key}": value for name, net in networks.items() for key, value in net.state_dict().items()}
    path = tmp_path_factory.mktemp("sadtalker") / "sadtalker.safetensors"
    save_file(state, path)
    return path


@pytest.fixture(scope="module")
def options(checkpoint) -> SpeechOptions:
    return SpeechOptions("bfm09", seed=3, checkpoint=checkpoint)


@pytest.fixture(scope="module")
def track(waveform, options) -> MotionTrack:
    return generate_sadtalker_track(waveform, options, REFERENCE)


def test_track_covers_the_whole_audio_and_starts_at_the_reference_pose(waveform, options, track):
    assert track.meta.space == "bfm09" and len(track) == FRAMES and track.frame_rate == 25
    assert np.array_equal(generate_sadtalker_track(waveform, options, REFERENCE).pose, track.pose)


def test_seeds_change_the_head_pose(waveform, options, track):
    other = generate_sadtalker_track(waveform, replace(options, seed=4), REFERENCE)
    assert not np.array_equal(other.pose, track.pose)


def test_still_keeps_the_reference_pose_and_the_expression(waveform, options, track):
    still = generate_sadtalker_track(waveform, replace(options, still=True), REFERENCE)
    assert np.allclose(still.pose, REFERENCE[64:]) and np.array_equal(still.expression, track.expression)


def test_pose_from_adds_its_change_to_the_pose(waveform, options, track):
    nod = MotionTrack.neutral(FRAMES, "bfm09", Fraction(25))
    pose = nod.pose.copy()
    pose[:, 0] = np.linspace(-0.1, 0.1, FRAMES)
    moving = generate_sadtalker_track(waveform, options, REFERENCE, pose_from=replace(nod, pose=pose))
    assert np.allclose(moving.pose[:, 0] - track.pose[:, 0], np.linspace(0, 0.2, FRAMES), atol=1e-4)


def test_audio_shorter_than_a_frame_yields_one_frame(tmp_path, options):
    path = write_wav(tmp_path / "short.wav", synthesize_speech(("ah", 0.01)))
    with open_waveform(path) as short:
        assert isinstance(short, Waveform) and len(generate_sadtalker_track(short, options, REFERENCE)) == 1


def test_find_sadtalker_weights_suggests_pulling_them_or_the_embedded_space(monkeypatch, tmp_path):
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(WeightsError, match=r"mimaface weights pull.*`space=face478`, which needs no weights"):
        find_sadtalker_weights(SpeechOptions(space="bfm09"))


def test_find_sadtalker_weights_reports_a_missing_checkpoint(tmp_path):
    with pytest.raises(WeightsError, match=r"absent\.safetensors: no such file.*leave `checkpoint` unset"):
        find_sadtalker_weights(SpeechOptions(space="bfm09", checkpoint=tmp_path / "absent.safetensors"))
