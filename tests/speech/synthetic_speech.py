"""Formant synthesis of speech, so that the tests need no recorded voice.

Pulses of varying pitch pass through resonances that glide from one sound to the next. The lip network would take a
constant pitch with abrupt changes for machine noise.
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
BANDWIDTHS = (70, 100, 150, 200)  # Hz
VOICE_LEVEL = {"": 0.0, "s": 0.0, "m": 0.25}  # 1 in vowels
BLOCK = 80  # samples with constant resonances


def synthesize_speech(*parts: tuple[str, float], pitch: float = 120.0, seed: int = 0) -> np.ndarray:
    """Synthesize a sequence of sounds.

    Args:
        parts: Name and duration (s) of each sound: "m", "s", a vowel of FORMANTS, or "" for silence.
        pitch: Mean pitch in Hz.
        seed: Random seed of the noise.

    Returns:
        Float32 samples at SAMPLE_RATE.
    """
    rng = np.random.default_rng(seed)
    counts = [round(seconds * SAMPLE_RATE) for _, seconds in parts]
    total = sum(counts)
    time = np.arange(total) / SAMPLE_RATE
    formants, last = [], FORMANTS["eh"]
    for name, _ in parts:
        last = FORMANTS.get(name, last)
        formants.append(last)
    formant_tracks = np.stack([smooth(track, 1280) for track in np.repeat(formants, counts, 0).astype(float).T], 1)
    voice = smooth(np.repeat([VOICE_LEVEL.get(name, 1.0) for name, _ in parts], counts), 480)
    hiss = smooth(np.repeat([float(name == "s") for name, _ in parts], counts), 480)
    intonation = 1.15 - 0.25 * time / max(time[-1], 1e-9) + 0.06 * np.sin(2 * np.pi * 2.3 * time)
    pulses = np.diff(np.floor(np.cumsum(pitch * intonation / SAMPLE_RATE)), prepend=0.0)
    audio = voice * (lfilter([1], [1, -0.96], pulses) + 0.02 * rng.standard_normal(total))
    for hertz, bandwidth in zip(formant_tracks.T, BANDWIDTHS, strict=True):
        audio = resonate(audio, hertz, bandwidth)
    noise = lfilter([1, -1.6, 0.8], [1, 0.3, 0.5], rng.standard_normal(total))
    return (0.5 * audio / max(np.abs(audio).max(), 1e-9) + 0.0125 * hiss * noise).astype(np.float32)


def smooth(values: np.ndarray, length: int) -> np.ndarray:
    """Smooth values by a Hann window of a number of samples."""
    window = np.hanning(length + 2)[1:-1]
    padded = np.pad(values, (length // 2, length - length // 2 - 1), mode="edge")
    return np.convolve(padded, window / window.sum(), "valid")


def resonate(audio: np.ndarray, hertz: np.ndarray, bandwidth: float) -> np.ndarray:
    """Filter audio by a resonance of variable frequency (hertz per sample, read every BLOCK samples)."""
    pieces, state = [], np.zeros(2)
    radius = np.exp(-np.pi * bandwidth / SAMPLE_RATE)
    for start in range(0, len(audio), BLOCK):
        feedback = 2 * radius * np.cos(2 * np.pi * hertz[start] / SAMPLE_RATE)
        denominator = [1, -feedback, radius * radius]
        piece, state = lfilter([sum(denominator)], denominator, audio[start : start + BLOCK], zi=state)
        pieces.append(piece)
    return np.concatenate(pieces)


def as_waveform(samples: np.ndarray) -> Waveform:
    """Return samples as a Waveform in memory."""
    return Waveform(io.BytesIO(np.asarray(samples, np.float32).tobytes()), len(samples))


def write_wav(path: Path, samples: np.ndarray, rate: int = SAMPLE_RATE) -> Path:
    """Write samples as a 16-bit mono WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path
