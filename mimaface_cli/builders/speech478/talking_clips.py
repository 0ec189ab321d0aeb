"""Training data of the lip network: speech features in several versions, and mouth channels over time."""

import io
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from scipy.ndimage import maximum_filter1d

from mimaface_cli.builders.clip_tracks import list_videos, load_track, read_people
from mimaface_cli.builders.speech478.audio_augmentation import augment_speech
from mimaface_cli.builders.speech478.build_cache import Arrays, get_or_compute, hash_parts
from mimaface_cli.builders.speech478.lip_build_options import LipBuildOptions
from mimaface_cli.builders.speech478.nonspeech_audio import synthesize_nonspeech
from mimaface_cli.errors import InputError
from mimaface_cli.media.audio import has_audio
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
from mimaface_cli.speech.phones import BANDS, count_feature_frames, measure_waveform

MARGIN = CONTEXT * FEATURES_PER_FRAME  # feature frames of silence before and after the audio
_MIN_DURATION = 0.9  # seconds
_MIN_GAP_DEVIATION = 0.008  # standard deviation of the lip gap in model units
_CLOSED_SHARE = 0.12  # share of a clip's range of the gap below which the lips count as closed
_LONG_DURATION = 4.0  # seconds
_LONG_ALTERED, _SHORT_ALTERED = 3, 1  # altered versions of long and of short recordings; the encoder is slow on these
_NOISES, _NOISE_DURATION = 128, 6.0  # number of recordings without speech, seconds
_MIN_LOUDNESS = -0.6  # of speech; 1 is 35 dB above the mean of the recording's active frames
_PAUSE_MARGIN = 10  # video frames between speech and what counts as a pause
UNKNOWN = 0.5
"""Target of "speech" in frames that are neither surely speech nor surely a pause."""


@dataclass(frozen=True, eq=False)
class SpeechFeatures:
    """Features of one version of a recording.

    Attributes:
        features: F×D float16, with MARGIN frames of silence on both sides.
        stretch: Duration relative to the original.
    """

    features: np.ndarray
    stretch: float


@dataclass(frozen=True, eq=False)
class TalkingClip:
    """A clip of a person who talks.

    Attributes:
        name: File name without suffix.
        person: Name of the person.
        times: N times in seconds of the frames that show a face.
        channels: N×17 as in `lip_network.CHANNELS` without `speech`, with `closed` as 0 or 1.
        versions: Versions of the audio; the first is the original.
        shift: Seconds by which the video lags behind the audio.
        language: Language, or "" if it is not known.
    """

    name: str
    person: str
    times: np.ndarray
    channels: np.ndarray
    versions: list[SpeechFeatures]
    shift: float = 0.0
    language: str = ""

    @property
    def frame_count(self) -> int:
        """Number of frames at FRAME_RATE that have both audio and video."""
        audio_frames = (len(self.versions[0].features) - 2 * MARGIN) // FEATURES_PER_FRAME
        return max(min(audio_frames, int(self.times[-1] * FRAME_RATE)), 1)

    def channels_at(self, times: np.ndarray, shift: float | None = None) -> np.ndarray:
        """Interpolate the channels.

        Args:
            times: T times of the audio in seconds.
            shift: Used in place of the clip's shift.

        Returns:
            T×17.
        """
        shift = self.shift if shift is None else shift
        position = np.interp(times + shift, self.times, np.arange(len(self.times)))
        low = np.minimum(position.astype(int), len(self.times) - 2)
        part = (position - low)[:, None]
        return self.channels[low] * (1 - part) + self.channels[low + 1] * part

    @cached_property
    def speech(self) -> np.ndarray:
        """1 for each video frame of the original audio with speech, 0 in pauses, UNKNOWN between both."""
        loudness = self.versions[0].features[MARGIN:, -BANDS:].astype(np.float64).mean(1)
        count = len(loudness) // FEATURES_PER_FRAME
        is_loud = loudness[: count * FEATURES_PER_FRAME].reshape(count, -1).max(1) > _MIN_LOUDNESS
        is_near = maximum_filter1d(is_loud, 2 * _PAUSE_MARGIN + 1)
        return np.where(is_loud, 1.0, np.where(is_near, UNKNOWN, 0.0))

    def targets_at(self, times: np.ndarray, shift: float | None = None) -> np.ndarray:
        """Return the network's targets, T×18: the channels (see `channels_at`) and `speech`."""
        frames = np.clip(np.round(times * FRAME_RATE).astype(int), 0, len(self.speech) - 1)
        return np.concatenate([self.channels_at(times, shift), self.speech[frames, None]], 1)


def load_talking_clips(
    options: LipBuildOptions, front_end: SpeechFrontEnd, log: Callable[[str], None]
) -> list[TalkingClip]:
    """Load all clips of a folder that have audio and a face.

    Args:
        options: Folder of the clips, cache of their motion tracks and features, and table of the people; every clip
            that is not in the table counts as another person.
        front_end: Computes the features.
        log: Receives a message for each clip.
    """
    people, languages = read_people(options.people), read_people(options.people, "language", is_optional=True)
    options.track_folder.mkdir(parents=True, exist_ok=True)
    encoder = hash_parts(front_end.encoder.basis, front_end.encoder.mean)
    clips = []
    for number, path in enumerate(list_videos(options.folder)):
        cached = options.cache_folder / f"features-{path.stem}-{encoder}.npz"
        try:
            if not cached.exists() and not has_speech(path):
                continue
            clip = _make_clip(path.stem, people.get(path.stem, path.stem), load_track(path, options.track_folder))
            if clip is not None:
                features = get_or_compute(cached, partial(_compute_versions, path, front_end, number))
                clip = replace(clip, versions=_read_versions(features), language=languages.get(path.stem, ""))
        except InputError as error:
            log(f"skipped: {error}")
            continue
        if clip is not None:
            clips.append(clip)
        log(f"{path.name}: {'used' if clip else 'too short or without mouth movement'}")
    return clips


def iterate_audio(folder: Path) -> Iterator[Waveform]:
    """Yield the audio of a folder's videos that have some."""
    for path in list_videos(folder):
        try:
            with _open_audio(path) as waveform:
                if waveform is not None:
                    yield waveform
        except InputError:
            continue  # `load_talking_clips` logs it


@contextmanager
def _open_audio(path: Path) -> Generator[Waveform | None, None, None]:
    """Open a video's audio; None if it has none or is silent."""
    if not has_audio(path):
        yield None
        return
    with open_waveform(path) as waveform:
        yield None if measure_waveform(waveform).is_silent else waveform


def has_speech(path: Path) -> bool:
    """Return whether a video has audio that is not silent or too short."""
    with _open_audio(path) as waveform:
        return waveform is not None and waveform.seconds >= _MIN_DURATION


def _make_clip(name: str, person: str, track: MotionTrack) -> TalkingClip | None:
    """Compute the channels of a clip; None if it is too short or the mouth does not move."""
    times, channels = track.pts[track.valid] - track.pts[0], compute_mouth_channels(track)[track.valid]
    if len(times) < _MIN_DURATION * FRAME_RATE or channels[:, GAP].std() < _MIN_GAP_DEVIATION:
        return None
    return TalkingClip(name, person, times, channels, [])


def _compute_versions(path: Path, front_end: SpeechFrontEnd, seed: int) -> Arrays:
    """Compute the features of a video's audio in several versions."""
    with open_waveform(path) as waveform:
        samples = waveform.read(0, len(waveform)).astype(np.float64)
    count = _LONG_ALTERED if len(samples) >= _LONG_DURATION * SAMPLE_RATE else _SHORT_ALTERED
    versions = [(samples, 1.0), *augment_speech(samples, np.random.default_rng(seed), count)]
    features = [compute_features(version, front_end, stretch) for version, stretch in versions]
    arrays = {f"version{k}": version.features for k, version in enumerate(features)}
    return arrays | {"stretch": np.array([version.stretch for version in features])}


def _read_versions(arrays: Arrays) -> list[SpeechFeatures]:
    return [SpeechFeatures(arrays[f"version{k}"], float(stretch)) for k, stretch in enumerate(arrays["stretch"])]


def compute_mouth_channels(track: MotionTrack) -> np.ndarray:
    """Return the network's target channels for each frame of a track, N×17."""
    expression = track.expression.astype(np.float64)
    columns = [expression[:, blendshape_index(name)] for name in UNPAIRED_BLENDSHAPES]
    columns += [
        (expression[:, blendshape_index(f"{name}Left")] + expression[:, blendshape_index(f"{name}Right")]) / 2
        for name in PAIRED_BLENDSHAPES
    ]
    gap = expression @ lip_gap_gradient()
    low, high = np.percentile(gap, [3, 95])
    return np.stack([*columns, gap, gap < low + _CLOSED_SHARE * (high - low)], 1)


def compute_features(samples: np.ndarray, front_end: SpeechFrontEnd, stretch: float = 1.0) -> SpeechFeatures:
    """Compute the features of mono samples with MARGIN frames of silence on both sides."""
    waveform = Waveform(io.BytesIO(np.asarray(samples, np.float32).tobytes()), len(samples))
    stop = count_feature_frames(len(samples)) + MARGIN
    features = FeatureExtractor(waveform, front_end).extract_network_input(-MARGIN, stop)
    return SpeechFeatures(features.astype(np.float16), stretch)


def make_noise_features(
    front_end: SpeechFrontEnd, rng: np.random.Generator, count: int = _NOISES, duration: float = _NOISE_DURATION
) -> list[SpeechFeatures]:
    """Compute the features of noise without speech. duration: seconds of each recording."""
    length = int(duration * SAMPLE_RATE)
    return [compute_features(synthesize_nonspeech(k, length, rng), front_end) for k in range(count)]
