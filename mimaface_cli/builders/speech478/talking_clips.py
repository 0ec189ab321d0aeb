"""Talking clips -> what is heard and what the mouth does: features under several disturbances, channels over time."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter

from mimaface_cli.errors import InputError
from mimaface_cli.face import face478
from mimaface_cli.face.extract_face478 import extract_video
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.media.audio import has_audio
from mimaface_cli.media.reader import probe, read_frames
from mimaface_cli.media.waveform import SAMPLE_RATE, Waveform, open_waveform
from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.speech.audio_features import FeatureExtractor, SpeechFrontEnd
from mimaface_cli.speech.lip_network import (
    CONTEXT,
    FEATURES_PER_FRAME,
    FRAME_RATE,
    GAP,
    PAIRED_BLENDSHAPES,
    UNPAIRED_BLENDSHAPES,
)
from mimaface_cli.speech.mouth_motion import lip_gap_gradient
from mimaface_cli.speech.phones import count_feature_frames, measure_waveform

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".mpg")
MARGIN = CONTEXT * FEATURES_PER_FRAME  # frames of features before and after the sound
_PIECE, _ORDER = 512, 16  # samples and coefficients of linear prediction
_SHORTEST = 0.9  # seconds
_NEAR = 0.12  # share of a clip's range of the gap below which the lips count as met


@dataclass(eq=False)
class Heard:
    """features F × width, MARGIN of them before the sound; stretch: how much longer than the original it is."""

    features: np.ndarray
    stretch: float


@dataclass(eq=False)
class Clip:
    """name, person; times (s) and channels (N × 17, as `mouth.CHANNELS`; closed as 0 or 1) where the face is seen;
    versions of its sound, the first as it is. shift: seconds by which the picture is late behind the sound.
    """

    name: str
    person: str
    times: np.ndarray
    channels: np.ndarray
    versions: list[Heard]
    shift: float = 0.0

    @property
    def frames(self) -> int:
        """Frames at FRAME_RATE for which there are both sound and picture."""
        heard = (len(self.versions[0].features) - 2 * MARGIN) // FEATURES_PER_FRAME
        return max(min(heard, int(self.times[-1] * FRAME_RATE)), 1)

    def at(self, times: np.ndarray) -> np.ndarray:
        """Channels at times of the sound, interpolated."""
        place = np.interp(times + self.shift, self.times, np.arange(len(self.times)))
        low = np.minimum(place.astype(int), len(self.times) - 2)
        part = (place - low)[:, None]
        return self.channels[low] * (1 - part) + self.channels[low + 1] * part


def gather(
    folder: Path, tracks: Path, people: dict[str, str], hearing: SpeechFrontEnd, tell: Callable[[str], None]
) -> list[Clip]:
    """All clips of a folder with sound and a face. tracks: where their tracks are kept, so that a stopped run goes on;
    people: name of a file without suffix -> who it shows (default: somebody else).
    """
    tracks.mkdir(parents=True, exist_ok=True)
    clips = []
    for number, path in enumerate(films(folder)):
        try:
            with _sound_of(path) as samples:
                if samples is None:
                    continue
                track = _track(path, tracks)
                clip = _clip(
                    path, track, samples, people.get(path.stem, path.stem), hearing, np.random.default_rng(number)
                )
        except InputError as error:
            tell(f"left aside: {error}")
            continue
        if clip is not None:
            clips.append(clip)
        tell(f"{path.name}: {'taken' if clip else 'too short or without movement'}")
    return clips


def films(folder: Path) -> list[Path]:
    """The videos in a folder and below it."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def sounds(folder: Path) -> Iterator[Waveform]:
    """The sounds of a folder's videos, of those that have one."""
    for path in films(folder):
        try:
            with _sound_of(path) as samples:
                if samples is not None:
                    yield samples
        except InputError:
            continue  # `gather` says so


@contextmanager
def _sound_of(path: Path) -> Iterator[Waveform | None]:
    """A video's sound, None where it has none to hear."""
    if not has_audio(path):
        yield None
        return
    with open_waveform(path) as samples:
        yield None if measure_waveform(samples).is_silent else samples


def _track(path: Path, tracks: Path) -> MotionTrack:
    kept = tracks / f"{path.stem}.npz"
    if kept.exists():
        return MotionTrack.load(kept)
    frames = read_frames(path)
    try:
        track = extract_video(frames, probe(path).frame_rate, face478.load(), ExtractOptions(smooth=0), str(path))
    finally:
        frames.close()
    track.save(kept)
    return track


def _clip(path, track, samples, person, hearing, rng) -> Clip | None:
    times, channels = track.pts[track.valid] - track.pts[0], channels_of(track)[track.valid]
    if len(times) < _SHORTEST * FRAME_RATE or samples.seconds < _SHORTEST or channels[:, GAP].std() < 0.008:
        return None
    sound = samples.read(0, len(samples))
    versions = [heard(sound, hearing)]
    versions += [heard(disturbed, hearing, stretch) for disturbed, stretch in disturb(sound, rng)]
    return Clip(path.stem, person, times, channels, versions)


def channels_of(track: MotionTrack) -> np.ndarray:
    """What the network shall say of each frame of a track, N × 17."""
    expression = track.expression.astype(np.float64)
    columns = [expression[:, blendshape_index(name)] for name in UNPAIRED_BLENDSHAPES]
    columns += [
        (expression[:, blendshape_index(f"{name}Left")] + expression[:, blendshape_index(f"{name}Right")]) / 2
        for name in PAIRED_BLENDSHAPES
    ]
    gap = expression @ lip_gap_gradient()
    low, high = np.percentile(gap, [3, 95])
    return np.stack([*columns, gap, gap < low + _NEAR * (high - low)], 1)


def heard(sound: np.ndarray, hearing: SpeechFrontEnd, stretch: float = 1.0) -> Heard:
    """Features of mono samples, with silence for MARGIN frames to both sides."""
    samples = Waveform(io.BytesIO(np.asarray(sound, np.float32).tobytes()), len(sound))
    features, _ = FeatureExtractor(samples, hearing).extract(-MARGIN, count_feature_frames(len(sound)) + MARGIN)
    return Heard(features.astype(np.float16), stretch)


def disturb(sound: np.ndarray, rng: np.random.Generator) -> list[tuple[np.ndarray, float]]:
    """The sound in noise, over a telephone, by a machine's voice, higher and faster, lower and slower; with how much longer
    it got.
    """
    level = np.sqrt(np.mean(sound**2)) + 1e-9
    noisy = [
        sound + colored(len(sound), rng) * level * 10 ** (-rng.uniform(*ratio) / 20) for ratio in ((3, 12), (12, 25))
    ]
    spectrum = np.fft.rfft(noisy[1])
    hertz = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)
    narrow = np.fft.irfft(spectrum * ((hertz > 300) & (hertz < 3400)), len(sound))
    other = []
    for low, high in ((0.86, 0.95), (1.05, 1.16)):
        stretch = rng.uniform(low, high)
        place = np.arange(int(len(sound) * stretch)) / stretch
        other.append((np.interp(place, np.arange(len(sound)), sound), stretch))
    return [(noisy[0], 1.0), (narrow, 1.0), (droned(sound, rng), 1.0), *other]


def droned(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same mouth with another voice box: what linear prediction leaves is replaced by pulses of an even pitch and a
    little noise, so that machines' voices and sung vowels are heard as speech too.
    """
    time = np.arange(len(sound)) / SAMPLE_RATE
    pitch = rng.uniform(70, 260) * (1 + rng.uniform(0, 0.1) * np.sin(2 * np.pi * rng.uniform(0.3, 5) * time))
    pulses = np.diff(np.floor(np.cumsum(pitch) / SAMPLE_RATE), prepend=0.0) * np.sqrt(SAMPLE_RATE / pitch)
    source = pulses + rng.uniform(0.05, 0.4) * rng.standard_normal(len(sound))
    source /= np.sqrt(np.mean(source**2)) + 1e-9
    window, made = np.hanning(_PIECE + 1)[:-1], np.zeros(len(sound) + _PIECE)
    padded, source = np.pad(sound, (0, _PIECE)), np.pad(source, (0, _PIECE))
    for start in range(0, len(sound), _PIECE // 2):
        piece = padded[start : start + _PIECE] * window
        alike = np.correlate(piece, piece, "full")[_PIECE - 1 : _PIECE + _ORDER]
        if alike[0] < 1e-6:
            continue
        filter_ = solve_toeplitz(alike[:-1] + 1e-3 * alike[0] * (np.arange(_ORDER) == 0), alike[1:])
        left = max(alike[0] - filter_ @ alike[1:], 0.0) / (window**2).sum()
        made[start : start + _PIECE] += window * lfilter(
            [np.sqrt(left)], [1, *-filter_], source[start : start + _PIECE]
        )
    return made[: len(sound)]


def colored(length: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of power 1 whose spectrum falls by a random slope."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    spectrum *= np.maximum(np.arange(len(spectrum)), 20.0) ** -rng.uniform(0, 1)
    noise = np.fft.irfft(spectrum, length)
    return noise / (noise.std() + 1e-9)


def noises(hearing: SpeechFrontEnd, rng: np.random.Generator, number: int = 16, seconds: float = 8.0) -> list[Heard]:
    """Sounds that nobody speaks: noise of several colors, swelling or steady, hum and clicks."""
    length = int(seconds * SAMPLE_RATE)
    time = np.arange(length) / SAMPLE_RATE
    made = []
    for k in range(number):
        sound = colored(length, rng) * 0.1
        if k % 4 == 1:
            sound *= 1 + 0.9 * np.sin(2 * np.pi * rng.uniform(0.2, 4) * time)
        if k % 4 == 2:
            hum = rng.uniform(45, 400)
            sound = sound * 0.02 + sum(np.sin(2 * np.pi * hum * n * time) / n for n in range(1, 6)) * 0.1
        if k % 4 == 3:
            sound *= 0.02
            sound[rng.integers(0, length, 12)] = rng.uniform(-1, 1, 12)
        made.append(heard(sound, hearing))
    return made
