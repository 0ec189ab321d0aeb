"""Audio files as drivers: speech becomes a motion track, which is synthesized once and cached."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from mimaface_cli.cache import Cache, get_or_create
from mimaface_cli.drivers.base import Driver, DriverInfo, DriverRequest
from mimaface_cli.drivers.media_driver import load_driver
from mimaface_cli.drivers.track_driver import is_track
from mimaface_cli.errors import InputError
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.files import check_input_file, is_image_folder
from mimaface_cli.fingerprint import content_hash, source_stamp
from mimaface_cli.media.audio import read_sample_rate
from mimaface_cli.media.audio_streams import audio_stream
from mimaface_cli.media.image import image_kind
from mimaface_cli.media.libav import has_video, open_input
from mimaface_cli.media.waveform import Waveform, open_waveform
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_cache import TRACKS, track_key
from mimaface_cli.motion.track_meta import BFM09
from mimaface_cli.progress import ProgressCallback, ignore_progress
from mimaface_cli.speech.speech_options import SpeechOptions

_FIRST_FRAME_DIM = 70  # expression (64) and pose (6) of the first frame, an input of SadTalker's networks
_SYNTHESIS = "synthesizing motion"
_SPEECH_RATE = 12_000  # hertz: a lower sample rate loses the sounds above 6 kHz, such as s and f
_MIN_NONSPEECH = 1.0  # seconds of audio without speech that are worth a note


class SpeechDriver:
    """An audio file, or a video file without frames."""

    def accepts(self, path: Path) -> bool:
        """Return whether the file has audio and no frames. Raises InputError if it cannot be read."""
        return is_speech(path)

    def inspect(self, path: Path) -> DriverInfo:
        """Describe the audio file."""
        return DriverInfo(path, "speech", has_head_motion=False)

    def load(self, request: DriverRequest) -> Driver:
        """Synthesize the motion, or load it from the cache. Raises InputError or WeightsError."""
        speaker = request.speaker if request.space == BFM09 else None  # only SadTalker's networks use the face
        options = replace(request.speech, space=request.space, source=request.speech.source or speaker)
        return load_speech(request.path, options, request.cache, request.progress).trimmed(request.trim)


def is_speech(path: Path) -> bool:
    """Return whether a file has audio and no frames. Raises InputError if it cannot be read."""
    if is_image_folder(path) or is_track(path):
        return False
    check_input_file(path)
    if image_kind(path) is not None:
        return False
    with open_input(path) as container:
        return audio_stream(container) is not None and not has_video(container)


def load_speech(
    path: Path,
    options: SpeechOptions = SpeechOptions(),
    cache: Cache | None = None,
    progress: ProgressCallback = ignore_progress,
) -> Driver:
    """Return the motion of a person who speaks the audio of a file.

    Args:
        path: Audio file, or video file with audio.
        options: Options of the synthesis.
        cache: Where the track is looked up and stored, or None.
        progress: Called with the stage and the frames that are done.

    Raises:
        InputError: The file has no audio.
        WeightsError: The networks of the space are not installed.
    """
    if is_track(path):
        raise InputError(f"{path}: is already a track. Name an audio file or a video with audio.")
    if is_image_folder(path) or (path.is_file() and image_kind(path) is not None):
        raise InputError(f"{path}: has no audio. Name an audio file or a video with audio.")
    check_input_file(path)
    head_motion = _load_reference(options.pose_from, cache, progress)
    eye_motion = _load_reference(options.blinks_from, cache, progress)
    if eye_motion is not None:
        eye_motion.require_space(options.space, "speech", str(options.blinks_from))
    synthesizer = _Synthesizer(options, cache, progress, head_motion, eye_motion)
    settings = _cache_settings(options)

    def create(content: str) -> MotionTrack:
        def on_audio(seconds: float) -> None:
            progress("reading the audio", round(seconds), None)

        with open_waveform(path, on_audio, options.audio_stream) as samples:
            track = synthesizer.synthesize(samples, content)
        meta = replace(track.meta, audio_hash=content, source_hash=content, options=settings | track.meta.options)
        return replace(track, meta=meta)

    result = get_or_create(
        cache,
        TRACKS,
        path,
        make_key=lambda content: track_key(content, options.space, synthesizer.name, settings),
        create=create,
        on_wait=lambda: progress(_SYNTHESIS, 0, None),
    )
    notes = _audio_notes(path, result.value)
    return Driver(result.value, path, "speech", result.was_cached, result.is_cached, has_audio=True, notes=notes)


class _Synthesizer:
    """The networks of a coefficient space: the embedded lip network, or SadTalker's."""

    def __init__(
        self,
        options: SpeechOptions,
        cache: Cache | None,
        progress: ProgressCallback,
        head_motion: MotionTrack | None,
        eye_motion: MotionTrack | None,
    ) -> None:
        self._options, self._cache, self._progress = options, cache, progress
        self._references = {"pose_from": head_motion, "blinks_from": eye_motion}
        if options.space == BFM09:
            from mimaface_cli.speech import sadtalker

            weights = source_stamp(sadtalker.find_sadtalker_weights(options))
            self.name = f"{sadtalker.EXTRACTOR} {sadtalker.REVISION} {weights}"
        else:
            from mimaface_cli.speech import embedded_speech
            from mimaface_cli.speech.lip_model_file import load_lip_model

            self._lip_model = load_lip_model()
            self.name = f"{embedded_speech.EXTRACTOR} {embedded_speech.REVISION}+{self._lip_model.version}"

    def synthesize(self, samples: Waveform, content: str) -> MotionTrack:
        """Return the track of an audio signal; `content` is the hash of its file."""
        if self._options.space == BFM09:
            from mimaface_cli.speech.sadtalker import generate_sadtalker_track

            first = first_coefficients(self._options.source, self._cache, self._progress)
            return generate_sadtalker_track(samples, self._options, first, progress=self._progress, **self._references)
        from mimaface_cli.speech.embedded_speech import generate_embedded_track

        return generate_embedded_track(
            samples, self._lip_model, self._options, content, progress=self._progress, **self._references
        )


def _audio_notes(path: Path, track: MotionTrack) -> tuple[str, ...]:
    """Return notes about audio that lips cannot follow, or not exactly."""
    from mimaface_cli.speech.embedded_speech import NONSPEECH_SECONDS

    notes = []
    rate = read_sample_rate(path)
    if 0 < rate < _SPEECH_RATE:
        notes.append(
            f"{path.name}: has a sample rate of {rate / 1000:g} kHz, like a telephone; lips follow it less exactly"
        )
    seconds = track.meta.options.get(NONSPEECH_SECONDS, 0.0)
    if seconds >= _MIN_NONSPEECH:
        notes.append(f"{path.name}: {seconds:.1f} s sound like music or noise; the lips stay closed there")
    return tuple(notes)


def first_coefficients(
    source: Path | None, cache: Cache | None = None, progress: ProgressCallback = ignore_progress
) -> np.ndarray:
    """Return the coefficients of the face that will speak.

    Args:
        source: Photo, video or bfm09 track; its first frame counts. None for a neutral face.
        cache: Where the source's track is looked up and stored, or None.
        progress: Called with the stage and the frames that are done.

    Returns:
        Expression and pose, (70,) float32.

    Raises:
        InputError: The source is a track of another space.
        WeightsError: The source is not a track, and the network that extracts its coefficients is not installed.
    """
    if source is None:
        return np.zeros(_FIRST_FRAME_DIM, np.float32)
    on_frame = _stage_progress(progress, "extracting the source's motion")
    track = load_driver(source, ExtractOptions(), cache, on_frame, None, BFM09).track
    track.require_space(BFM09, "SadTalker", str(source))
    return np.concatenate([track.expression[0], track.pose[0]])


def _load_reference(path: Path | None, cache: Cache | None, progress: ProgressCallback) -> MotionTrack | None:
    """Return the track that provides head or eye motion."""
    if path is None:
        return None
    on_frame = _stage_progress(progress, f"extracting the motion of {path.name}")
    return load_driver(path, ExtractOptions(), cache, on_frame).track


def _stage_progress(progress: ProgressCallback, stage: str) -> Callable[[int, int | None], None]:
    return lambda done, total: progress(stage, done, total)


def _cache_settings(options: SpeechOptions) -> dict[str, Any]:
    """Return the settings that the result depends on besides the audio, as JSON values; files by content hash."""
    files = "pose_from", "blinks_from", "source"
    values = {name: value for name, value in asdict(options).items() if name not in (*files, "space", "checkpoint")}
    if options.audio_stream is None:
        del values["audio_stream"]
    return values | {name: content_hash(getattr(options, name)) for name in files if getattr(options, name) is not None}
