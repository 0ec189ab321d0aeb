"""Audio without speech for training: noise, hum, tones, clicks, breath, music."""

from collections.abc import Callable

import numpy as np
from scipy.signal import butter, lfilter, sosfilt

from mimaface_cli.media.waveform import SAMPLE_RATE

_FIRST_NOTE = 110.0  # Hz
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 7, 10))  # semitones
_CHORD = (0, 2, 4)  # degrees of a scale
_FORMANTS = ((400, 800), (1000, 2000), (2200, 3200))  # Hz, ranges of the resonances of a breath


def generate_colored_noise(length: int, rng: np.random.Generator) -> np.ndarray:
    """Return noise of power 1 with a spectrum that falls by a random slope."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    spectrum *= np.maximum(np.arange(len(spectrum)), 20.0) ** -rng.uniform(0, 1.4)
    return _normalize(np.fft.irfft(spectrum, length))


def generate_modulated_noise(length: int, rng: np.random.Generator) -> np.ndarray:
    """Return noise of a random band, such as wind, rain or traffic, that swells periodically."""
    low = rng.uniform(40, 2000)
    band = butter(1, (low, min(low * rng.uniform(1.5, 12), 7800)), "bandpass", fs=SAMPLE_RATE, output="sos")
    noise = _normalize(sosfilt(band, generate_colored_noise(length, rng)))
    return noise * (1 + rng.uniform(0, 1) * np.sin(2 * np.pi * rng.uniform(0.1, 8) * _time(length) + rng.uniform(0, 6)))


def generate_hum(length: int, rng: np.random.Generator) -> np.ndarray:
    """Return a hum: harmonics of the mains' 50 or 60 Hz, or of a motor, with a little noise."""
    base = rng.choice([50.0, 60.0, 100.0, 120.0]) if rng.random() < 0.6 else rng.uniform(40, 420)
    slope, drift = rng.uniform(0.3, 2.5), rng.uniform(0, 0.01)
    phase = 2 * np.pi * np.cumsum(base * (1 + drift * np.sin(2 * np.pi * rng.uniform(0.05, 2) * _time(length))))
    samples = np.zeros(length)
    spread = rng.choice([0.0, 1.0])  # of the harmonics' strengths
    for harmonic in range(1, min(int(7800 / base), int(rng.integers(1, 41))) + 1):
        strength = (1 - spread * rng.uniform(0, 0.9)) * harmonic**-slope
        samples += strength * np.sin(harmonic * phase / SAMPLE_RATE + spread * rng.uniform(0, 6))
    return _normalize(samples) + 10 ** rng.uniform(-6, -1) * generate_colored_noise(length, rng)


def generate_tones(length: int, rng: np.random.Generator) -> np.ndarray:
    """Return beeps, dial tones, alarms and sweeps."""
    time = _time(length)
    samples = np.zeros(length)
    for _ in range(int(rng.integers(1, 4))):
        sweep = rng.uniform(0, 0.5) * np.sin(2 * np.pi * rng.uniform(0.1, 4) * time) * (rng.random() < 0.4)
        phase = 2 * np.pi * np.cumsum(rng.uniform(100, 3500) * (1 + sweep)) / SAMPLE_RATE
        tone = np.sin(phase) if rng.random() < 0.7 else np.sign(np.sin(phase))
        is_on = np.sin(2 * np.pi * rng.uniform(0.3, 6) * time + rng.uniform(0, 6)) > rng.uniform(-1.2, 0.6)
        samples += tone * lfilter([0.02], [1, -0.98], is_on.astype(float))
    return samples + 10 ** rng.uniform(-3.5, -1) * generate_colored_noise(length, rng)


def generate_clicks(length: int, rng: np.random.Generator) -> np.ndarray:
    """Return clicks, knocks and keys: short sounds that ring."""
    samples = 10 ** rng.uniform(-4, -2) * generate_colored_noise(length, rng)
    for _ in range(int(rng.integers(4, 60))):
        count = int(SAMPLE_RATE * 10 ** rng.uniform(-3, -0.7))
        ringing = rng.standard_normal(count) if rng.random() < 0.5 else np.sin(rng.uniform(0.03, 2) * np.arange(count))
        start = int(rng.integers(0, length))
        part = samples[start : start + count]
        part += rng.uniform(0.2, 1) * (ringing * np.exp(-6 * np.arange(count) / count))[: len(part)]
    return samples


def generate_breath(length: int, rng: np.random.Generator) -> np.ndarray:
    """Return breath: noise with weak resonances that swells and fades."""
    noise = generate_colored_noise(length, rng)
    samples = 0.3 * noise
    for low, high in _FORMANTS:
        middle = rng.uniform(low, high)
        band = butter(1, (0.8 * middle, 1.25 * middle), "bandpass", fs=SAMPLE_RATE, output="sos")
        samples += rng.uniform(0.2, 1) * _normalize(sosfilt(band, noise))
    swell = np.maximum(np.sin(2 * np.pi * rng.uniform(0.15, 0.9) * _time(length) + rng.uniform(0, 6)), 0)
    return samples * swell ** rng.uniform(0.5, 3) + 10 ** rng.uniform(-4, -2) * noise


def generate_music(length: int, rng: np.random.Generator) -> np.ndarray:
    """Return music without voices: chords, a melody and drums in a random tempo, scale and timbre."""
    beat = int(SAMPLE_RATE * 60 / rng.uniform(60, 170))
    scale = _SCALES[int(rng.integers(len(_SCALES)))]
    key, has_drums, has_melody = int(rng.integers(12)), rng.random() < 0.5, rng.random() < 0.7
    chord_timbre, melody_timbre = _choose_timbre(rng), _choose_timbre(rng)
    samples = 10 ** rng.uniform(-4, -2) * generate_colored_noise(length, rng)
    chord_level = rng.uniform(0.3, 1) if has_melody else 1.0
    for number, start in enumerate(range(0, length, beat)):
        degree = int(rng.integers(len(scale)))
        if number % 2 == 0:
            for step in _CHORD:
                _add_note(samples, start, 2 * beat, _note(scale, key, degree + step), chord_level, chord_timbre, rng)
        if has_melody:
            _add_note(samples, start, beat, 2 * _note(scale, key, degree), rng.uniform(0.5, 1), melody_timbre, rng)
        if has_drums:
            part = samples[start : start + beat]
            decay = np.exp(-rng.uniform(8, 40) * np.arange(len(part)) / SAMPLE_RATE)
            drum = rng.standard_normal(len(part)) if number % 2 else np.sin(2 * np.pi * 60 * _time(len(part)))
            part += rng.uniform(0.3, 2) * decay * drum
    return samples


def _choose_timbre(rng: np.random.Generator) -> tuple[float, float, float]:
    """Return slope of the harmonics, decay (1/s, 0 for bowed or blown) and depth of the vibrato."""
    return rng.uniform(0.6, 2.5), rng.choice([0.0, rng.uniform(1, 10)]), rng.uniform(0, 0.012)


def _note(scale: tuple[int, ...], key: int, degree: int) -> float:
    """Return the frequency (Hz) of a degree of a scale."""
    return _FIRST_NOTE * 2 ** ((key + scale[degree % len(scale)]) / 12 + degree // len(scale))


def _add_note(
    samples: np.ndarray,
    start: int,
    length: int,
    hertz: float,
    level: float,
    timbre: tuple[float, float, float],
    rng: np.random.Generator,
) -> None:
    """Add a note to the samples (in place)."""
    part = samples[start : start + length]
    slope, decay, vibrato = timbre
    time = _time(len(part))
    phase = 2 * np.pi * (hertz * time + hertz * vibrato * np.sin(2 * np.pi * 5.5 * time) / (2 * np.pi * 5.5))
    note = np.zeros(len(part))
    for harmonic in range(1, min(int(7800 / hertz), 16) + 1):
        note += harmonic**-slope * np.sin(harmonic * phase + rng.uniform(0, 6))
    part += level * note * np.minimum(time / 0.01, 1) * np.exp(-decay * time)


def _time(length: int) -> np.ndarray:
    return np.arange(length) / SAMPLE_RATE


def _normalize(samples: np.ndarray) -> np.ndarray:
    return samples / (samples.std() + 1e-9)


_GENERATORS: tuple[Callable[[int, np.random.Generator], np.ndarray], ...] = (
    generate_colored_noise,
    generate_hum,
    generate_music,
    generate_modulated_noise,
    generate_tones,
    generate_breath,
    generate_music,
    generate_clicks,
)


def synthesize_nonspeech(number: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Return audio without speech, with a peak of 0.3.

    Args:
        number: Selects the kind, which repeats after 16: each kind alone, then mixed with another one.
        length: Number of samples.
        rng: Source of randomness.
    """
    samples = _normalize(_GENERATORS[number % len(_GENERATORS)](length, rng))
    if number // len(_GENERATORS) % 2:
        other = _GENERATORS[int(rng.integers(len(_GENERATORS)))]
        samples += 10 ** rng.uniform(-1.5, 0) * _normalize(other(length, rng))
    return 0.3 * samples / (np.abs(samples).max() + 1e-9)


def choose_background(length: int, rng: np.random.Generator) -> np.ndarray:
    """Return audio of power 1 to mix with speech: mostly noise, otherwise any kind of audio without speech."""
    if rng.random() < 0.5:
        return generate_colored_noise(length, rng)
    return _normalize(_GENERATORS[int(rng.integers(len(_GENERATORS)))](length, rng))
