"""Speech as a driver: detection of audio files, caching, and motion from other files."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mimaface_cli.cache import Cache, content_hash
from mimaface_cli.drivers.speech_driver import is_speech, load_speech
from mimaface_cli.errors import InputError
from mimaface_cli.motion.retarget import reference_coefficients
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.speech.speech_options import SpeechOptions
from tests.speech.synthetic_speech import synthesize_speech, write_wav

SENTENCE = [("", 0.3), ("ah", 0.4), ("m", 0.2), ("ee", 0.4), ("", 0.3)]


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> Path:
    return write_wav(tmp_path_factory.mktemp("speech") / "speech.wav", synthesize_speech(*SENTENCE))


def save_nodding_track(path: Path, space: str = "face478") -> Path:
    track = MotionTrack.neutral(50, space, Fraction(25))
    pose = track.pose.copy()
    pose[:, 0] = np.linspace(-0.1, 0.1, 50)
    replace(track, pose=pose).save(path)
    return path


def test_load_speech_records_the_hash_of_the_audio(speech):
    track = load_speech(speech).track
    assert track.meta.space == "face478" and track.meta.audio_hash == content_hash(speech) and len(track) == 40


def test_load_speech_uses_the_cache_for_equal_options_only(speech, tmp_path):
    cache = Cache(tmp_path)
    first = load_speech(speech, SpeechOptions(), cache)
    again = load_speech(speech, SpeechOptions(), cache)
    other = load_speech(speech, SpeechOptions(expression_scale=0.5), cache)
    assert first.is_cached and not first.was_cached and again.was_cached and not other.was_cached
    assert np.array_equal(first.track.expression, again.track.expression)


def test_load_speech_takes_the_head_motion_of_a_track_of_either_space(speech, tmp_path):
    for space in ("face478", "bfm09"):  # both have the same poses
        path = save_nodding_track(tmp_path / f"{space}.npz", space)
        track = load_speech(speech, SpeechOptions(pose_from=path)).track
        assert np.allclose(track.pose[:, 0], np.linspace(-0.1, 0.1, 50)[:40], atol=1e-5)


def test_load_speech_refuses_eyes_of_another_space(speech, tmp_path):
    path = save_nodding_track(tmp_path / "other.npz", "bfm09")
    with pytest.raises(InputError, match="bfm09"):
        load_speech(speech, SpeechOptions(blinks_from=path))


def test_speech_tracks_start_at_rest(speech):
    reference = reference_coefficients(load_speech(speech).track, RetargetOptions())
    assert not reference.expression.any()


def test_is_speech_is_true_for_audio_files_alone(speech, tmp_path, sample):
    assert is_speech(speech)
    for path in (sample.driver, sample.portrait, sample.track, tmp_path):
        assert not is_speech(path)


def test_load_speech_takes_the_audio_of_a_video(sample):
    assert load_speech(sample.driver).track.meta.audio_hash == content_hash(sample.driver)


def test_load_speech_notes_music_and_noise_also_from_the_cache(tmp_path):
    time = np.arange(3 * 16_000) / 16_000
    hum = sum(np.sin(2 * np.pi * 60 * n * time) / n for n in range(1, 12))
    path = write_wav(tmp_path / "hum.wav", 0.2 * hum)
    cache = Cache(tmp_path / "cache")
    for was_cached in (False, True):
        driver = load_speech(path, SpeechOptions(), cache)
        assert driver.was_cached is was_cached
        (note,) = driver.notes
        assert note.startswith("hum.wav: ") and note.endswith("s sound like music or noise; the lips stay closed there")
        assert 2 < float(note.split()[1]) <= 3


def test_load_speech_notes_telephone_audio(tmp_path):
    path = write_wav(tmp_path / "phone.wav", synthesize_speech(*SENTENCE)[::2], 8000)
    assert any("of 8 kHz" in note for note in load_speech(path).notes)


def test_load_speech_has_no_notes_on_clean_speech(speech):
    assert load_speech(speech).notes == ()
