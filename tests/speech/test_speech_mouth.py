"""The lip network as it ships: rest in silence and noise, windows without seams, sounds that look like themselves."""

import numpy as np
import pytest

from mimaface_cli.errors import WeightsError
from mimaface_cli.media.waveform import SAMPLE_RATE
from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.speech import lip_model_file, lip_network
from mimaface_cli.speech.audio_features import FeatureExtractor
from mimaface_cli.speech.lip_model_file import load_lip_model, save_lip_model
from mimaface_cli.speech.lip_network import count_video_frames, lip_gap_gradient, predict_mouth
from mimaface_cli.speech.phones import count_feature_frames
from tests.speech.synthetic_speech import as_waveform, synthesize_speech

BABBLE = [("", 0.4), ("ah", 0.3), ("m", 0.2), ("ee", 0.3), ("s", 0.2), ("oo", 0.3), ("m", 0.2), ("eh", 0.3), ("", 0.4)]


def moved(sound: np.ndarray) -> np.ndarray:
    return np.concatenate([part for part, _ in predict_mouth(as_waveform(sound), load_lip_model())])


def shape(expression: np.ndarray, name: str) -> np.ndarray:
    return expression[:, blendshape_index(name)]


@pytest.mark.parametrize("count", [1, 639, 640, 641, 16_000, 161_234])
def test_frames_last_at_least_as_long_as_the_sound(count):
    assert len(moved(synthesize_speech(("ah", 11.0))[:count])) == count_video_frames(count) == -(-count // 640)


@pytest.mark.parametrize("level", [0.3, 0.01, 0.0003])
@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0])
def test_noise_leaves_the_mouth_at_rest(level, slope):
    spectrum = np.fft.rfft(np.random.default_rng(5).standard_normal(6 * SAMPLE_RATE))
    spectrum *= np.maximum(np.arange(len(spectrum)), 30.0) ** -slope
    noise = np.fft.irfft(spectrum)
    expression = moved((noise / noise.std() * level).astype(np.float32))
    assert np.abs(shape(expression, "jawOpen")).mean() < 0.03
    assert (expression @ lip_gap_gradient()).max() < 0.03


def test_silence_is_rest():
    assert not moved(np.zeros(5 * SAMPLE_RATE, np.float32)).any()


def test_a_voice_opens_the_mouth_and_pauses_close_it():
    expression = moved(synthesize_speech(*(BABBLE + [("", 1.0)]) * 2))
    gap = expression @ lip_gap_gradient()
    jaw = shape(expression, "jawOpen")
    talking, quiet = gap[12:55], gap[75:92]
    assert talking.max() > 0.03 and jaw[12:55].mean() > 2 * np.abs(jaw[75:92]).mean()
    assert quiet.mean() < 0.3 * talking.max()


@pytest.mark.parametrize("pitch", [110, 190])
def test_sounds_look_like_themselves(pitch):
    """Ah opens widest, ee and oo little, eh between them, m not at all."""
    expression = moved(synthesize_speech(*BABBLE, pitch=pitch))
    gap = expression @ lip_gap_gradient()
    at = lambda start, stop: gap[round(start * 25) : round(stop * 25)]  # noqa: E731
    ah, first_m, ee, oo, second_m, eh = (
        at(*t) for t in ((0.45, 0.68), (0.72, 0.9), (0.95, 1.15), (1.45, 1.65), (1.72, 1.9), (1.95, 2.15))
    )
    assert ah.max() > 0.1 and eh.max() > 0.05
    assert ah.max() > 1.5 * max(ee.max(), oo.max(), eh.max())
    assert eh.max() > max(np.median(ee), np.median(oo)) > 0.01
    assert max(first_m.min(), second_m.min()) < 0.005


def test_a_hum_is_not_a_voice():
    time = np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
    hum = sum(np.sin(2 * np.pi * 120 * n * time) / n for n in range(1, 6))
    assert (moved(0.1 * hum.astype(np.float32)) @ lip_gap_gradient()).max() < 0.03


def test_the_voice_matters_not_its_loudness():
    sound = synthesize_speech(*BABBLE * 2)
    loud, soft = moved(sound), moved(sound * np.float32(0.02))
    assert np.abs(loud - soft).max() < 0.1


def test_windows_leave_no_seam(monkeypatch):
    sound = synthesize_speech(*BABBLE * 5)
    whole = moved(sound)
    monkeypatch.setattr(lip_network, "_BLOCK", 37)
    assert np.abs(moved(sound) - whole).max() < 1e-4


def test_features_do_not_depend_on_the_range_asked_for():
    sound, model = as_waveform(synthesize_speech(*BABBLE)), load_lip_model()
    total = count_feature_frames(len(sound))
    whole, phones = FeatureExtractor(sound, model.front_end).extract(-10, total + 10)
    listener = FeatureExtractor(sound, model.front_end)
    assert whole.shape == (total + 20, model.front_end.width)
    for start, stop in ((91, 143), (5, 60), (130, 131), (-10, 1)):
        features, likely = listener.extract(start, stop)
        assert np.abs(whole[10 + start : 10 + stop] - features).max() < 1e-4
        assert np.abs(phones[10 + start : 10 + stop] - likely).max() < 1e-4
    assert np.allclose(phones.sum(1), 1, atol=1e-3)


def test_phones_are_heard():
    model = load_lip_model()
    parts = [("", 0.3), ("oo", 0.4), ("ee", 0.4), ("m", 0.4), ("ah", 0.4)]
    sound = as_waveform(synthesize_speech(*parts, pitch=110))
    known = model.front_end.phones.names
    _, likely = FeatureExtractor(sound, model.front_end).extract(0, count_feature_frames(len(sound)))
    heard = lambda names, start: likely[start + 10 : start + 30, [known.index(n) for n in names]].sum(1).mean()  # noqa: E731
    assert heard(("IY", "IH", "EY", "Y"), 70) > 0.25
    assert heard(("AA", "AH", "AW", "AY", "AO", "AE"), 150) > 0.3


def test_a_damaged_model_is_one_line(tmp_path):
    for content in (b"", b"nothing", b"PK\3\4 torn"):
        (tmp_path / "lips.npz").write_bytes(content)
        with pytest.raises(WeightsError, match="not a lip model"):
            load_lip_model(tmp_path / "lips.npz")
        lip_model_file._read_lip_model.cache_clear()
    model = load_lip_model()
    save_lip_model(tmp_path / "good.npz", model)
    with np.load(tmp_path / "good.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "deaf.npz", **{name: array for name, array in arrays.items() if not name.startswith("encoder")})
    with pytest.raises(WeightsError, match="not a lip model"):  # as models were before they had an encoder
        load_lip_model(tmp_path / "deaf.npz")
    for name, value in (
        ("rest", arrays["rest"][:3]),
        ("net0/out.weight", arrays["net0/out.weight"][:, :5]),
        ("nets", np.array(0)),
        ("encoder_basis", arrays["encoder_basis"][:7]),
    ):
        np.savez(tmp_path / f"{name.replace('/', '_')}.npz", **(arrays | {name: value}))
        with pytest.raises(WeightsError, match="not a lip model"):
            load_lip_model(tmp_path / f"{name.replace('/', '_')}.npz")


def test_saving_and_loading_is_exact(tmp_path):
    model = load_lip_model()
    save_lip_model(tmp_path / "again.npz", model)
    again = load_lip_model(tmp_path / "again.npz")
    features = np.random.default_rng(0).standard_normal((80, model.front_end.width)).astype(np.float32)
    assert np.array_equal(again.predict(features), model.predict(features)) and again.version == model.version
    sound = features.ravel()[:4000]
    assert np.array_equal(again.front_end.encoder.hidden(sound), model.front_end.encoder.hidden(sound))
