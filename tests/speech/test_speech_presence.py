"""Audio without speech: the lips ease closed in music, hum, tones and clicks, and stay in motion in speech."""

import numpy as np
import pytest

from mimaface_cli.media.waveform import SAMPLE_RATE
from mimaface_cli.speech.lip_model_file import load_lip_model
from mimaface_cli.speech.mouth_motion import MouthBlock, _speech_presence, lip_gap_gradient, predict_mouth
from tests.speech.synthetic_speech import as_waveform, synthesize_speech

SENTENCE = [("ah", 0.3), ("m", 0.15), ("ee", 0.3), ("s", 0.2), ("oo", 0.3), ("m", 0.15), ("eh", 0.3), ("", 0.3)] * 2
TIME = np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE


def predict(samples: np.ndarray) -> MouthBlock:
    blocks = list(predict_mouth(as_waveform(samples.astype(np.float32)), load_lip_model()))
    return MouthBlock(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))


def tone(hertz: float, harmonics: int = 1) -> np.ndarray:
    return sum(np.sin(2 * np.pi * hertz * n * TIME) / n for n in range(1, harmonics + 1))


def strike_chords() -> np.ndarray:
    """Return plucked chords of three notes, two each second."""
    decay = np.exp(-4 * (TIME % 0.5))
    roots = 220 * 2 ** (np.array([0, 5, 7, 3, 0, 8, 5, 7])[(TIME * 2).astype(int)] / 12)
    phase = 2 * np.pi * np.cumsum(roots) / SAMPLE_RATE
    return decay * sum(np.sin(ratio * n * phase) / n for ratio in (1, 1.26, 1.5) for n in range(1, 6))


def click() -> np.ndarray:
    samples = 1e-3 * np.random.default_rng(0).standard_normal(len(TIME))
    for start in range(2000, len(TIME) - 200, 5000):
        samples[start : start + 160] += np.exp(-np.arange(160) / 30)
    return samples


NONSPEECH = {
    "mains hum, 50 Hz": lambda: tone(50, 20),
    "mains hum, 60 Hz": lambda: tone(60, 20),
    "hum, 100 Hz": lambda: tone(100, 10),
    "hum, 180 Hz": lambda: tone(180, 8),
    "tone, 440 Hz": lambda: tone(440),
    "tone, 1 kHz": lambda: tone(1000),
    "beeps": lambda: tone(900) * (TIME % 0.4 < 0.2),
    "chords": strike_chords,
    "clicks": click,
    "breath": lambda: np.random.default_rng(3).standard_normal(len(TIME)) * np.maximum(np.sin(3 * TIME), 0) ** 2,
}


@pytest.mark.parametrize("name", NONSPEECH)
def test_lips_stay_closed_in_audio_without_speech(name):
    samples = NONSPEECH[name]()
    motion = predict(0.2 * samples / np.abs(samples).max())
    assert (motion.expression @ lip_gap_gradient()).max() < 0.03
    assert motion.is_nonspeech.mean() > 0.4


def test_speech_moves_the_lips_fully():
    motion = predict(synthesize_speech(*SENTENCE))
    assert motion.is_nonspeech.mean() < 0.05
    assert (motion.expression @ lip_gap_gradient()).max() > 0.1


def test_lips_stay_closed_in_music_before_speech():
    music, speech = strike_chords(), synthesize_speech(*SENTENCE)
    motion = predict(np.concatenate([0.15 * music / np.abs(music).max(), speech]))
    gap = motion.expression @ lip_gap_gradient()
    assert gap[:85].max() < 0.03
    assert gap[105:].max() > 0.1
    assert motion.is_nonspeech[:85].mean() > 0.8 and motion.is_nonspeech[110:].mean() < 0.1


def test_presence_is_smooth_and_holds_across_doubtful_frames():
    odds = np.full(100, -6.0)
    odds[30:60] = 4.0
    odds[44:47] = -6.0
    presence = _speech_presence(odds)
    assert (presence[32:58] == 1).all() and not presence[:18].any() and not presence[72:].any()
    assert np.abs(np.diff(presence)).max() < 0.5
