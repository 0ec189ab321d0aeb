"""Training of the lip network: it learns what can be learned, finds clips that are out of step, and runs as trained."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from mimaface_cli.builders.speech478.lip_evaluation import close_threshold, judge
from mimaface_cli.builders.speech478.lip_training import LipNet, align, predict, rest_of, train
from mimaface_cli.builders.speech478.moonshine import DIMENSIONS, fitted, load_encoder
from mimaface_cli.builders.speech478.sphinx import load_phones
from mimaface_cli.builders.speech478.talking_clips import MARGIN, Clip, Heard, colored, disturb, droned
from mimaface_cli.speech.audio_features import FeatureExtractor
from mimaface_cli.speech.lip_model_file import load_lip_model
from mimaface_cli.speech.lip_network import CHANNELS, CLOSED, CONTEXT, FEATURES_PER_FRAME, GAP, run_network
from mimaface_cli.speech.phones import count_feature_frames
from tests.speech.synthetic_speech import as_waveform, synthesize_speech

FEATURES = 30


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made_clip(seed: int, seconds: float = 8.0, shift: float = 0.0) -> Clip:
    """A speaker whose every channel follows the first feature."""
    rng = np.random.default_rng(seed)
    count = int(seconds * 100)
    wave = np.convolve(rng.standard_normal(count + 30), np.hanning(25) / 4, "same")[:count]
    features = rng.normal(0, 0.1, (count + 2 * MARGIN, FEATURES))
    features[MARGIN:-MARGIN, 0] = wave
    times = np.arange(int(seconds * 30)) / 30
    seen = np.interp(times - shift, np.arange(count) / 100, wave)
    channels = np.tile(0.1 * seen[:, None] + 0.2, (1, len(CHANNELS)))
    channels[:, CLOSED] = seen < -0.5
    return Clip(str(seed), str(seed), times, channels, [Heard(features.astype(np.float16), 1.0)])


def test_the_network_runs_in_numpy_as_in_torch():
    torch.manual_seed(0)
    network = LipNet(FEATURES).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    x = np.random.default_rng(0).standard_normal((96, FEATURES)).astype(np.float32)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(x).T[None])[0].T.numpy()
    found = run_network({name: value.numpy() for name, value in network.state_dict().items()}, x)
    assert found.shape == (24, len(CHANNELS)) and np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_nothing_farther_than_the_context_is_heard():
    network = {name: value.detach().numpy() for name, value in LipNet(FEATURES).state_dict().items()}
    x = np.random.default_rng(0).standard_normal((60 * FEATURES_PER_FRAME, FEATURES)).astype(np.float32)
    other = x.copy()
    other[: (30 - CONTEXT) * FEATURES_PER_FRAME] = 0
    other[(30 + CONTEXT + 1) * FEATURES_PER_FRAME :] = 0
    assert np.array_equal(run_network(network, x)[30], run_network(network, other)[30])


def test_it_learns_and_puts_clips_in_step():
    clips = [made_clip(seed) for seed in range(6)]
    noises = [Heard(np.random.default_rng(9).normal(0, 0.1, (1000, FEATURES)).astype(np.float16), 1.0)]
    network = train(clips, noises, seed=0, steps=120)
    late = made_clip(50, shift=0.12)
    said = predict([network], late)
    assert abs(align(late, said) - 0.12) < 0.03
    late.shift = 0.12
    judged = judge(late, said)
    assert judged.gap_in_step > 0.8 and judged.gap < judged.gap_in_step
    rest = rest_of(clips)
    assert rest[GAP] < -1 and rest[CLOSED] == 1
    assert np.isfinite(close_threshold([late], {late.name: said}))


def test_a_drone_has_the_sounds_of_the_voice_but_not_its_pitch():
    sound = synthesize_speech(("ah", 0.5), ("", 0.2), ("ee", 0.5), pitch=150)
    other = droned(sound, np.random.default_rng(3))
    power = lambda x, start: np.abs(np.fft.rfft(x[start : start + 4000] * np.hanning(4000))) ** 2  # noqa: E731
    shape = lambda x, start: np.log(np.convolve(power(x, start), np.ones(100), "same")[50:900] + 1e-6)  # noqa: E731
    for start in (2000, 13000):
        assert np.corrcoef(shape(sound, start), shape(other, start))[0, 1] > 0.8
    assert np.corrcoef(shape(sound, 2000), shape(other, 13000))[0, 1] < 0.6
    assert np.abs(other[9000:10500]).max() < 0.01 < np.abs(other[2000:6000]).max()
    assert abs(np.corrcoef(sound[2000:6000], other[2000:6000])[0, 1]) < 0.5


def test_disturbed_sounds_keep_their_length_but_for_stretches():
    rng = np.random.default_rng(0)
    sound = rng.standard_normal(16_000)
    for other, stretch in disturb(sound, rng):
        assert abs(len(other) - stretch * len(sound)) <= 1 and np.isfinite(other).all()
    assert abs(colored(4000, rng).std() - 1) < 1e-6


def test_the_acoustic_model_as_its_package_carries_it():
    pytest.importorskip("pocketsphinx", reason="needs pocketsphinx, which carries the acoustic model")
    phones, shipped = load_phones(), load_lip_model().front_end.phones
    assert phones.names == shipped.names and phones.means.shape == (3, 42, 128, 13)
    assert np.allclose(phones.weights.sum(2), 1, atol=1e-4)
    assert np.abs(phones.means - shipped.means).max() < 0.02 * np.abs(phones.means).max()


def test_the_encoder_as_its_package_carries_it():
    if find_spec("moonshine_voice") is None:
        pytest.skip("needs moonshine-voice, which carries the encoder")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime, which reads the encoder's file")
    encoder, shipped = load_encoder(), load_lip_model().front_end.encoder
    sound = synthesize_speech(("ah", 0.3), ("m", 0.2), ("ee", 0.3))
    found, wanted = shipped.hidden(sound), encoder.hidden(sound)
    assert encoder.arrays.keys() == shipped.arrays.keys()
    assert np.abs(found - wanted).mean() < 0.01 * np.abs(wanted).mean()


def test_a_projection_keeps_what_varies():
    hearing = load_lip_model().front_end
    encoder = hearing.encoder
    whole = replace(encoder, mean=np.zeros_like(encoder.mean), basis=np.eye(len(encoder.mean), dtype=np.float32))
    sounds = [
        as_waveform(
            synthesize_speech(("ah", 0.4), (sound, 0.3), ("eh", 0.2), ("", 0.2), ("ee", 0.3), pitch=90 + 30 * k)
        )
        for k, sound in enumerate("mms")
    ]
    fit = fitted(whole, hearing.phones, sounds)
    frames = np.concatenate(
        [FeatureExtractor(sound, fit).encode(0, count_feature_frames(len(sound))) for sound in sounds]
    )
    spread = np.cov(frames.T)
    assert frames.shape[1] == DIMENSIONS and np.abs(frames.mean(0)).max() < 0.01
    assert np.allclose(spread, 0.49 * np.eye(DIMENSIONS), atol=0.01)
