"""Mouth motion of the shipped network: rest in silence, no seams, distinct vowels."""

import numpy as np
import pytest

from mimaface_cli.media.waveform import SAMPLE_RATE
from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.speech import mouth_motion
from mimaface_cli.speech.lip_model_file import load_lip_model
from mimaface_cli.speech.mouth_motion import lip_gap_gradient, predict_mouth
from tests.speech.synthetic_speech import as_waveform, synthesize_speech

SENTENCE = [
    ("", 0.4),
    ("ah", 0.3),
    ("m", 0.2),
    ("ee", 0.3),
    ("s", 0.2),
    ("oo", 0.3),
    ("m", 0.2),
    ("eh", 0.3),
    ("", 0.4),
]


def predict_expression(samples: np.ndarray) -> np.ndarray:
    return np.concatenate([block.expression for block in predict_mouth(as_waveform(samples), load_lip_model())])


@pytest.mark.parametrize("count", [1, 639, 640, 641, 16_000, 161_234])
def test_predict_mouth_returns_frames_for_the_whole_audio(count):
    samples = synthesize_speech(("ah", count / SAMPLE_RATE + 0.1))[:count]
    assert len(predict_expression(samples)) == -(-count // 640)


@pytest.mark.parametrize("level", [0.3, 0.01, 0.0003])
@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0])
def test_predict_mouth_leaves_the_mouth_at_rest_in_noise(level, slope):
    spectrum = np.fft.rfft(np.random.default_rng(5).standard_normal(3 * SAMPLE_RATE))
    spectrum *= np.maximum(np.arange(len(spectrum)), 30.0) ** -slope
    noise = np.fft.irfft(spectrum)
    expression = predict_expression((noise / noise.std() * level).astype(np.float32))
    assert np.abs(expression[:, blendshape_index("jawOpen")]).mean() < 0.03
    assert (expression @ lip_gap_gradient()).max() < 0.03


def test_predict_mouth_is_zero_in_silence():
    assert not predict_expression(np.zeros(5 * SAMPLE_RATE, np.float32)).any()


def test_predict_mouth_opens_the_mouth_for_a_voice_and_closes_it_in_pauses():
    expression = predict_expression(synthesize_speech(*[*SENTENCE, ("", 1.0)] * 2))
    gap = expression @ lip_gap_gradient()
    jaw = expression[:, blendshape_index("jawOpen")]
    talking_gap, pause_gap = gap[12:55], gap[75:92]
    assert talking_gap.max() > 0.03 and jaw[12:55].mean() > 2 * np.abs(jaw[75:92]).mean()
    assert pause_gap.mean() < 0.3 * talking_gap.max()


@pytest.mark.parametrize("pitch", [110, 190])
def test_predict_mouth_opens_by_the_spoken_sound(pitch):
    """Ah opens widest, ee and oo little, eh in between, m not at all."""
    gap = predict_expression(synthesize_speech(*SENTENCE, pitch=pitch)) @ lip_gap_gradient()
    seconds = {
        "ah": (0.45, 0.68),
        "m": (0.72, 0.9),
        "ee": (0.95, 1.15),
        "oo": (1.45, 1.65),
        "second m": (1.72, 1.9),
        "eh": (1.95, 2.15),
    }
    gaps = {name: gap[round(start * 25) : round(stop * 25)] for name, (start, stop) in seconds.items()}
    assert gaps["ah"].max() > 0.1 and gaps["eh"].max() > 0.05
    assert gaps["ah"].max() > 1.5 * max(gaps["ee"].max(), gaps["oo"].max(), gaps["eh"].max())
    assert gaps["eh"].max() > max(np.median(gaps["ee"]), np.median(gaps["oo"])) > 0.01
    assert max(gaps["m"].min(), gaps["second m"].min()) < 0.005


def test_predict_mouth_ignores_a_hum():
    time = np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
    hum = sum(np.sin(2 * np.pi * 120 * n * time) / n for n in range(1, 6))
    assert (predict_expression(0.1 * hum.astype(np.float32)) @ lip_gap_gradient()).max() < 0.03


def test_predict_mouth_does_not_depend_on_the_volume():
    samples = synthesize_speech(*SENTENCE * 2)
    loud, quiet = predict_expression(samples), predict_expression(samples * np.float32(0.02))
    assert np.abs(loud - quiet).max() < 0.1


def test_predict_mouth_blocks_join_without_a_seam(monkeypatch):
    samples = synthesize_speech(*SENTENCE * 3)
    whole = predict_expression(samples)
    monkeypatch.setattr(mouth_motion, "_BLOCK", 37)
    assert np.abs(predict_expression(samples) - whole).max() < 1e-4
