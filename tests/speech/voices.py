"""Sounds made by rule: a buzzing source through three resonances, so that tests need nobody's voice."""

import io
import wave
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from mimaface_cli.media.samples import SAMPLE_RATE, Samples

# First three formants, Hz.
VOWELS = {"ah": (750, 1200, 2500), "ee": (280, 2300, 3000), "oo": (310, 800, 2300), "eh": (550, 1800, 2500)}
MURMUR = (250, 1000, 2200)


def resonated(source: np.ndarray, formants: tuple[float, ...], widths=(80, 110, 160)) -> np.ndarray:
    for hertz, width in zip(formants, widths):
        r, angle = np.exp(-np.pi * width / SAMPLE_RATE), 2 * np.pi * hertz / SAMPLE_RATE
        source = lfilter([1 - 2 * r * np.cos(angle) + r * r], [1, -2 * r * np.cos(angle), r * r], source)
    return source


def buzz(seconds: float, pitch: float = 120.0, seed: int = 0) -> np.ndarray:
    """Glottal pulses that waver a little."""
    rng = np.random.default_rng(seed)
    count = round(seconds * SAMPLE_RATE)
    phase = np.cumsum(pitch * (1 + 0.02 * np.sin(np.arange(count) / 3000)) / SAMPLE_RATE)
    pulses = np.diff(np.floor(phase), prepend=0.0)
    return lfilter([1], [1, -0.96], pulses) + 0.002 * rng.standard_normal(count)


def sound(name: str, seconds: float, pitch: float = 120.0) -> np.ndarray:
    """"m", "s", a vowel's name, or "" for silence."""
    count = round(seconds * SAMPLE_RATE)
    if not name:
        return np.zeros(count)
    if name == "s":
        return resonated(np.random.default_rng(1).standard_normal(count), (5200, 6500, 7200), (400, 500, 600)) * 0.02
    if name == "m":
        murmur = lfilter([0.1], [1, -0.9], resonated(buzz(seconds, pitch), MURMUR, (60, 300, 400)))
        return murmur / np.abs(murmur).max() * 0.12
    voice = resonated(buzz(seconds, pitch), VOWELS[name])
    return voice / np.abs(voice).max() * 0.5


def say(*parts: tuple[str, float], pitch: float = 120.0) -> np.ndarray:
    """Sounds one after the other, softly joined, float32."""
    pieces = []
    for name, seconds in parts:
        piece = sound(name, seconds, pitch)
        edge = min(240, len(piece) // 2)
        piece[:edge] *= np.linspace(0, 1, edge)
        piece[len(piece) - edge :] *= np.linspace(1, 0, edge)
        pieces.append(piece)
    return np.concatenate(pieces).astype(np.float32)


def samples(sound: np.ndarray) -> Samples:
    return Samples(io.BytesIO(np.asarray(sound, np.float32).tobytes()), len(sound))


def write(path: Path, sound: np.ndarray, rate: int = SAMPLE_RATE) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
    return path
