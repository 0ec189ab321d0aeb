"""Speech becomes a MotionTrack like any other driver, made once and kept in the cache."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from mimaface_cli.apps.drivers import Driver, is_track, load_driver
from mimaface_cli.cache import Cache, cache_key, content_hash, source_stamp
from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.files import check_input_file, check_output
from mimaface_cli.media.image import image_kind
from mimaface_cli.media.libav import audio_stream, has_video, open_input
from mimaface_cli.media.video import MediaInfo
from mimaface_cli.media.waveform import open_waveform
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.progress import ProgressCallback
from mimaface_cli.speech.speech_options import SpeechOptions

_FIRST = 70  # coefficients of the first frame that SadTalker's networks look at: expression, pose


def is_speech(path: Path) -> bool:
    """Whether a file holds sound and no moving picture. Raises InputError where it cannot be read."""
    if path.is_dir() or is_track(path):
        return False
    check_input_file(path)
    if image_kind(path) is not None:
        return False
    with open_input(path) as container:
        return audio_stream(container) is not None and not has_video(container)


def speech_options(space: str, source: MediaInfo, seed: int, pose_from: Path | None) -> SpeechOptions:
    """What `animate` asks for: SadTalker's networks look at the photo that will speak."""
    photo = source.path if space == "bfm09" and source.kind == "image" else None
    return SpeechOptions(space, seed, pose_from=pose_from, source=photo)


def speak(
    sound: Path,
    output: Path,
    options: SpeechOptions = SpeechOptions(),
    *,
    overwrite: bool = False,
    cache: Cache | None = None,
    report: ProgressCallback | None = None,
) -> Driver:
    """`audio` from end to end: the track of a speech, written to `output`. Raises InputError, OutputError,
    WeightsError.
    """
    if not is_track(output):
        raise OutputError(f"{output}: a track is written as .npz; change the suffix")
    inputs = (sound, *filter(None, (options.pose_from, options.blinks_from, options.source)))
    check_output(output, overwrite, inputs)
    result = load_speech(sound, options, cache, report)
    result.track.save(output, overwrite)
    return result


def load_speech(
    path: Path,
    options: SpeechOptions = SpeechOptions(),
    cache: Cache | None = None,
    report: ProgressCallback | None = None,
) -> Driver:
    """The motion of somebody who says what a file or video sounds like. cache: None keeps and looks up nothing.

    Raises InputError when there is no sound in it, WeightsError when the space's networks are not installed.
    """
    tell = report or (lambda stage, done, total: None)
    if is_track(path):
        raise InputError(f"{path}: is a track already; name a sound file or a video with sound")
    if path.is_dir() or (path.is_file() and image_kind(path) is not None):
        raise InputError(f"{path}: holds no sound; name a sound file or a video with sound")
    check_input_file(path)
    before = source_stamp(path)
    content = content_hash(path)
    lent = {name: _lent(getattr(options, name), cache, tell) for name in ("pose_from", "blinks_from")}
    if lent["blinks_from"] is not None:
        lent["blinks_from"].require_space(options.space, "speech", f"--blinks-from {options.blinks_from}")
    if options.space == "bfm09":
        from mimaface_cli.speech.sadtalker import EXTRACTOR, REVISION, find_sadtalker_weights, generate_sadtalker_track

        extractor = f"{EXTRACTOR} {REVISION} {source_stamp(find_sadtalker_weights(options))}"
    else:
        from mimaface_cli.speech.embedded_speech import EXTRACTOR, REVISION, generate_embedded_track
        from mimaface_cli.speech.lip_model_file import load_lip_model

        model = load_lip_model()
        extractor = f"{EXTRACTOR} {REVISION}+{model.version}"
    used = _plain(options)
    key = cache_key(content, options.space, extractor, used)
    track = cache.load_track(key) if cache is not None else None
    if track is not None:
        return Driver(track, path, "speech", True, True, True)
    with nullcontext() if cache is None else cache.making(key, lambda: tell("speaking", 0, None)):
        track = cache.load_track(key) if cache is not None else None  # made by another run meanwhile?
        if track is not None:
            return Driver(track, path, "speech", True, True, True)
        with open_waveform(path, lambda seconds: tell("reading the sound", round(seconds), None)) as samples:
            if options.space == "bfm09":
                track = generate_sadtalker_track(
                    samples, options, first_coefficients(options.source, cache, tell), progress=tell, **lent
                )
            else:
                track = generate_embedded_track(samples, model, options, content, progress=tell, **lent)
        track = replace(track, meta=replace(track.meta, audio_hash=content, source_hash=content, options=used))
        kept = cache is not None and source_stamp(path) == before and cache.store_track(key, track, path.name)
    return Driver(track, path, "speech", False, kept, True)


def speech_weights() -> Path:
    """The file of the networks that speak in bfm09. Raises WeightsError."""
    from mimaface_cli.speech.sadtalker import find_sadtalker_weights

    return find_sadtalker_weights(SpeechOptions(space="bfm09"))


def first_coefficients(source: Path | None, cache: Cache | None, tell: Callable) -> np.ndarray:
    """Expression and pose (70) of the face that will speak: zeros for none, else the first frame of a photo, video or
    track in bfm09. Raises InputError, or WeightsError where pictures cannot be read into that space.
    """
    if source is None:
        return np.zeros(_FIRST, np.float32)
    progress = lambda done, total: tell("reading the source", done, total)  # noqa: E731
    track = load_driver(source, ExtractOptions(), cache, progress, None, "bfm09").track
    track.require_space("bfm09", "SadTalker", f"--source {source}")
    return np.concatenate([track.expression[0], track.pose[0]])


def _lent(path: Path | None, cache: Cache | None, tell: Callable) -> MotionTrack | None:
    """A track, or what a video shows, whose head or eyes are taken."""
    if path is None:
        return None
    return load_driver(
        path, ExtractOptions(), cache, lambda done, total: tell(f"reading {path.name}", done, total)
    ).track


def _plain(options: SpeechOptions) -> dict:
    """The options as JSON values, files by their content: what the result depends on besides the sound."""
    files = "pose_from", "blinks_from", "source"
    values = {name: value for name, value in asdict(options).items() if name not in (*files, "space", "checkpoint")}
    return values | {name: content_hash(getattr(options, name)) for name in files if getattr(options, name) is not None}
