"""Speech made by rule, so that tests need nobody's voice: pulses of a pitch that rises and falls, through resonances
that glide from sound to sound. Even pitch and abrupt changes would be a humming machine, and are heard as one.
"""

import io
import wave
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from mimaface_cli.media.waveform import SAMPLE_RATE, Waveform

FORMANTS = {  # Hz
    "ah": (750, 1200, 2500, 3500),
    "ee": (280, 2300, 3000, 3600),
    "oo": (310, 800, 2300, 3300),
    "eh": (550, 1800, 2500, 3500),
    "m": (250, 1000, 2200, 3300),
}
WIDTHS = (70, 100, 150, 200)
VOICE = {"": 0.0, "s": 0.0, "m": 0.25}  # loudness of the voice; 1 in vowels
STEP = 80  # samples for which the resonances stay


def smooth(values: np.ndarray, length: int) -> np.ndarray:
    window = np.hanning(length + 2)[1:-1]
    padded = np.pad(values, (length // 2, length - length // 2 - 1), mode="edge")
    return np.convolve(padded, window / window.sum(), "valid")


def synthesize_speech(*parts: tuple[str, float], pitch: float = 120.0, seed: int = 0) -> np.ndarray:
    """(sound, seconds)... -> float32 at SAMPLE_RATE. "m", "s", a vowel of FORMANTS, or "" for silence."""
    rng = np.random.default_rng(seed)
    counts = [round(seconds * SAMPLE_RATE) for _, seconds in parts]
    total = sum(counts)
    time = np.arange(total) / SAMPLE_RATE
    formants, last = [], FORMANTS["eh"]
    for name, _ in parts:
        last = FORMANTS.get(name, last)
        formants.append(last)
    formants = np.stack([smooth(track, 1280) for track in np.repeat(formants, counts, 0).astype(float).T], 1)
    voice = smooth(np.repeat([VOICE.get(name, 1.0) for name, _ in parts], counts), 480)
    hiss = smooth(np.repeat([float(name == "s") for name, _ in parts], counts), 480)
    tune = 1.15 - 0.25 * time / max(time[-1], 1e-9) + 0.06 * np.sin(2 * np.pi * 2.3 * time)
    pulses = np.diff(np.floor(np.cumsum(pitch * tune / SAMPLE_RATE)), prepend=0.0)
    sound = voice * (lfilter([1], [1, -0.96], pulses) + 0.02 * rng.standard_normal(total))
    for hertz, width in zip(formants.T, WIDTHS):
        sound = resonated(sound, hertz, width)
    noise = lfilter([1, -1.6, 0.8], [1, 0.3, 0.5], rng.standard_normal(total))
    return (0.5 * sound / max(np.abs(sound).max(), 1e-9) + 0.0125 * hiss * noise).astype(np.float32)


def resonated(sound: np.ndarray, hertz: np.ndarray, width: float) -> np.ndarray:
    """A resonance whose frequency changes every STEP samples."""
    pieces, state = [], np.zeros(2)
    r = np.exp(-np.pi * width / SAMPLE_RATE)
    for start in range(0, len(sound), STEP):
        turn = 2 * r * np.cos(2 * np.pi * hertz[start] / SAMPLE_RATE)
        made, state = lfilter([1 - turn + r * r], [1, -turn, r * r], sound[start : start + STEP], zi=state)
        pieces.append(made)
    return np.concatenate(pieces)


def as_waveform(sound: np.ndarray) -> Waveform:
    return Waveform(io.BytesIO(np.asarray(sound, np.float32).tobytes()), len(sound))


def write_wav(path: Path, sound: np.ndarray, rate: int = SAMPLE_RATE) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
    return path
