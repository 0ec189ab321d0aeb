"""Speech to tracks: timing, determinism, borrowed heads and eyes, what the cache keeps."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from mimaface_cli.apps.speak import is_speech, load_speech
from mimaface_cli.cache import Cache, content_hash
from mimaface_cli.errors import InputError, WeightsError
from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.motion.retarget import reference_coefficients
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.speech.embedded_speech import resample_ping_pong
from mimaface_cli.speech.speech_options import SpeechOptions
from tests.speech.synthetic_speech import synthesize_speech, write_wav

SOUND = [("", 0.3), ("ah", 0.4), ("m", 0.2), ("ee", 0.4), ("s", 0.2), ("oo", 0.4), ("", 0.5)] * 2


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    return write_wav(tmp_path_factory.mktemp("speech") / "speech.wav", synthesize_speech(*SOUND))


def nodding(frames: int = 50, space: str = "face478") -> MotionTrack:
    track = MotionTrack.neutral(frames, space, Fraction(25))
    pose, expression = track.pose.copy(), track.expression.copy()
    pose[:, 0] = np.linspace(-0.1, 0.1, frames)
    expression[:, blendshape_index("eyeBlinkLeft")] = expression[:, blendshape_index("jawOpen")] = np.linspace(
        0, 1, frames
    )
    return replace(track, pose=pose, expression=expression)


def test_a_track_of_the_whole_sound(speech):
    track = load_speech(speech).track
    assert track.meta.space == "face478" and track.frame_rate == 25 and track.meta.audio_hash == content_hash(speech)
    assert len(track) == 120 and track.duration == pytest.approx(4.8) and track.valid.all()
    assert np.array_equal(track.pts, np.arange(120) / 25)
    assert np.abs(track.pose).max() > 0.005 and not track.identity.any()


def test_equal_requests_give_equal_tracks_and_seeds_differ_in_the_head_alone(speech):
    one, same, other = (load_speech(speech, SpeechOptions(seed=seed)).track for seed in (3, 3, 4))
    assert np.array_equal(one.expression, same.expression) and np.array_equal(one.pose, same.pose)
    assert not np.array_equal(one.pose, other.pose)
    jaw = blendshape_index("jawOpen")
    assert np.array_equal(one.expression[:, jaw], other.expression[:, jaw])


def test_the_cache_keeps_it(speech, tmp_path):
    cache = Cache(tmp_path)
    first = load_speech(speech, SpeechOptions(), cache)
    again = load_speech(speech, SpeechOptions(), cache)
    other = load_speech(speech, SpeechOptions(expression_scale=0.5), cache)
    assert first.kept and not first.cached and again.cached and not other.cached
    assert np.array_equal(first.track.expression, again.track.expression)
    jaw = blendshape_index("jawOpen")
    assert np.allclose(other.track.expression[:, jaw], 0.5 * first.track.expression[:, jaw], atol=1e-6)


def test_a_head_and_eyes_from_elsewhere(speech, tmp_path):
    nodding().save(tmp_path / "nod.npz")
    plain = load_speech(speech).track
    lent = load_speech(speech, SpeechOptions(pose_from=tmp_path / "nod.npz")).track
    assert np.allclose(lent.pose[:50, 0], np.linspace(-0.1, 0.1, 50), atol=1e-5)
    assert np.abs(np.diff(lent.pose[:, 0])).max() < 0.005  # runs back, never jumps
    assert np.array_equal(lent.expression, plain.expression)
    eyes = load_speech(speech, SpeechOptions(blinks_from=tmp_path / "nod.npz")).track
    jaw, blink = blendshape_index("jawOpen"), blendshape_index("eyeBlinkLeft")
    assert np.allclose(eyes.expression[:50, blink], np.linspace(0, 1, 50), atol=1e-5)
    assert np.array_equal(eyes.expression[:, jaw], plain.expression[:, jaw])
    still = load_speech(speech, SpeechOptions(still=True)).track
    assert not still.pose.any() and still.expression.any()


def test_eyes_of_another_space_are_refused(speech, tmp_path):
    nodding(space="bfm09").save(tmp_path / "other.npz")
    with pytest.raises(InputError, match="bfm09 space"):
        load_speech(speech, SpeechOptions(blinks_from=tmp_path / "other.npz"))
    load_speech(speech, SpeechOptions(pose_from=tmp_path / "other.npz"))  # poses mean the same in both


def test_over_runs_back_and_forth():
    track = nodding(3)
    values = resample_ping_pong(np.arange(3.0)[:, None], track, 9)[:, 0]
    assert np.allclose(values, [0, 1, 2, 1, 0, 1, 2, 1, 0])
    assert resample_ping_pong(np.ones((1, 2)), nodding(1), 4).tolist() == [[1, 1]] * 4


def test_speech_knows_its_rest(speech):
    start = reference_coefficients(load_speech(speech).track, RetargetOptions())
    assert not start.expression.any()


def test_what_is_speech(speech, tmp_path, sample):
    assert is_speech(speech) and not is_speech(sample.driver) and not is_speech(sample.portrait)
    assert not is_speech(tmp_path) and not is_speech(sample.track)
    assert load_speech(sample.driver).track.meta.audio_hash == content_hash(sample.driver)


def test_missing_weights_name_both_ways(speech, monkeypatch, tmp_path):
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(WeightsError, match="mimaface weights pull.*face478 needs no weights"):
        load_speech(speech, SpeechOptions(space="bfm09"))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"space": "flame"}, "^space: unknown value .flame."),
        ({"seed": -1}, "^seed: -1 is out of range"),
        ({"pose_style": 46, "space": "bfm09"}, "^pose_style: 46 is out of range. Give a number from 0 to 45"),
        ({"pose_style": 3}, "^pose_style: .* Set `space=bfm09`"),
        ({"expression_scale": 4.0}, "^expression_scale: 4 is out of range"),
        ({"still": True, "pose_from": "a.npz"}, "^still: cannot be combined with `pose_from`"),
    ],
)
def test_options_that_cannot_be(given, says):
    with pytest.raises(InputError, match=says):
        SpeechOptions(**given)


def test_sadtalker_speaks_by_a_checkpoint(speech, tmp_path):
    import torch
    from safetensors.torch import save_file

    from mimaface_cli.speech.audio2exp import Audio2Exp
    from mimaface_cli.speech.audio2pose import Audio2Pose

    torch.manual_seed(0)
    networks = {"audio2exp": Audio2Exp(), "audio2pose": Audio2Pose()}
    state = {f"{name}.{key}": value for name, net in networks.items() for key, value in net.state_dict().items()}
    save_file(state, tmp_path / "sadtalker.safetensors")
    nodding(space="bfm09").save(tmp_path / "first.npz")
    given = SpeechOptions("bfm09", seed=3, checkpoint=tmp_path / "sadtalker.safetensors", source=tmp_path / "first.npz")
    track = load_speech(speech, given).track
    assert track.meta.space == "bfm09" and len(track) == 120 and track.meta.audio_hash == content_hash(speech)
    assert np.array_equal(load_speech(speech, given).track.pose, track.pose)
    assert not np.array_equal(load_speech(speech, replace(given, seed=4)).track.pose, track.pose)
    still = load_speech(speech, replace(given, still=True)).track
    assert np.allclose(still.pose, nodding().pose[0]) and np.array_equal(still.expression, track.expression)
    moved = load_speech(speech, replace(given, pose_from=tmp_path / "first.npz")).track
    assert np.allclose(moved.pose[:50, 0] - track.pose[:50, 0], np.linspace(0, 0.2, 50), atol=1e-4)
    short = write_wav(tmp_path / "short.wav", synthesize_speech(("ah", 0.01)))
    assert len(load_speech(short, given).track) == 1
