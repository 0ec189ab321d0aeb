"""A driver and a source video of different durations: which of them decides, and what fills the rest."""

from dataclasses import replace

import numpy as np

from mimaface_cli.apps.animate_options import AUDIO, AUTO_FIT, DRIVER, LOOP, SHORTER, VIDEO, AnimateOptions
from mimaface_cli.drivers.base import Driver
from mimaface_cli.engines.sources import PhotoSource, VideoSource
from mimaface_cli.motion.coefficients import BLENDSHAPES
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.transforms import extend_track, loop_track

_CLOSING_SECONDS = 0.12  # in which a mouth comes to rest after the end of the audio
_MOUTH = np.array([name.startswith(("jaw", "mouth")) for name in BLENDSHAPES])


def choose_fit(options: AnimateOptions, is_speech: bool) -> str:
    """Return which duration decides: that of the video if audio drives it, else the shorter one."""
    if options.loop == DRIVER:
        return VIDEO
    if options.fit != AUTO_FIT:
        return options.fit
    return VIDEO if is_speech else SHORTER


def fit_source(source: PhotoSource | VideoSource, driver: Driver, fit: str) -> PhotoSource | VideoSource:
    """Return a source video that lasts as long as a longer driver, if this was requested.

    Args:
        source: The source; photos have no duration.
        driver: The driver.
        fit: As from `choose_fit`: "audio" holds the last frame, "loop" repeats the video.
    """
    if not isinstance(source, VideoSource) or fit not in (AUDIO, LOOP) or not is_shorter(source.track, driver.track):
        return source
    count, duration = len(source.track), driver.track.duration
    extend = loop_track if fit == LOOP else extend_track
    return replace(source, track=extend(source.track, duration), file_frames=count, is_repeated=fit == LOOP)


def fit_driver(track: MotionTrack, source: PhotoSource | VideoSource, options: AnimateOptions) -> MotionTrack:
    """Return the driver's motion, repeated or held to the end of a source video if this was requested.

    Args:
        track: Motion of the driver.
        source: The source.
        options: Options of the run.
    """
    is_speech = track.meta.audio_hash is not None
    fit = choose_fit(options, is_speech)
    if not isinstance(source, VideoSource) or not is_shorter(track, source.track) or len(track) == 1 or fit != VIDEO:
        return track
    if options.loop == DRIVER:
        return loop_track(track, source.track.duration)
    extended = extend_track(track, source.track.duration)
    return _close_mouth(extended, len(track)) if is_speech else extended


def _close_mouth(track: MotionTrack, start: int) -> MotionTrack:
    """Return a track of speech whose mouth comes to rest from a frame on."""
    expression = np.array(track.expression)
    share = np.exp(-(track.pts[start:] - track.pts[start - 1]) / _CLOSING_SECONDS)
    columns = np.flatnonzero(_MOUTH)
    expression[start:, columns] *= share[:, None].astype(expression.dtype)
    return replace(track, expression=expression)


def fit_notes(driver: Driver, source: PhotoSource | VideoSource, options: AnimateOptions) -> list[str]:
    """Return notes about frames without a face, and about the durations of driver and source video.

    Args:
        driver: The driver.
        source: The source before `fit_source`.
        options: Options of the run.
    """
    notes = []
    if driver.missing_frames:
        notes.append(f"{len(driver.missing_frames)} driver frames show no face; their motion is interpolated")
    if not isinstance(source, VideoSource) or len(driver.track) == 1:
        return notes
    is_speech = driver.track.meta.audio_hash is not None
    plays_audio = driver.has_audio and options.audio == DRIVER
    fit, name = choose_fit(options, is_speech), "audio" if is_speech else "driver"
    durations = f"the {name} lasts {driver.track.duration:.2f} s, the source {source.track.duration:.2f} s"
    if is_shorter(driver.track, source.track):
        if options.loop == DRIVER:
            notes += [f"{durations}; the driver is repeated, its audio plays once"] if plays_audio else []
        elif fit == VIDEO:
            rest = "the mouth stays closed" if is_speech else "its last frame is held"
            notes.append(f"{durations}; after the {name} {rest}; `fit=audio` ends the result with the {name}")
        else:
            others = "" if is_speech else "`loop=driver` repeats the driver, "
            notes.append(f"{durations}; the result ends with the {name}; {others}`fit=video` keeps the whole source")
    elif is_shorter(source.track, driver.track):
        if fit == LOOP:
            notes.append(f"{durations}; the source is repeated from its start")
        elif fit == AUDIO:
            notes.append(f"{durations}; the last frame of the source is held")
        else:
            notes.append(
                f"{durations}; the result ends with the source; `fit=loop` repeats the source, "
                "`fit=audio` holds its last frame"
            )
    return notes


def is_shorter(track: MotionTrack, other: MotionTrack) -> bool:
    """Return whether a track ends at least a frame of a source video before another."""
    return track.duration < other.duration - float(1 / min(track.frame_rate, other.frame_rate)) + 1e-6
