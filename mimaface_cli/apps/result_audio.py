"""The audio of an animation: that of the driver, of the source, or of a named file, trimmed with the video."""

from pathlib import Path

from mimaface_cli.apps.animation_plan import DRIVER_AUDIO, NO_AUDIO, SOURCE_AUDIO, AnimationPlan
from mimaface_cli.drivers.base import Driver
from mimaface_cli.media.audio import AudioTrack


def choose_audio(
    plan: AnimationPlan, driver: Driver, source_start: float, notes: list[str]
) -> tuple[AudioTrack | None, str]:
    """Return the audio of a video result and its name in reports.

    Args:
        plan: The run.
        driver: The loaded driver.
        source_start: Seconds that were trimmed off the start of a source video.
        notes: List to which notes for the user are appended.
    """
    requested, number = plan.options.audio, plan.options.audio_stream
    if plan.audio is not None:
        start = _start_of(plan, plan.audio, driver, source_start)
        return AudioTrack(plan.audio, start, stream=number), requested
    if requested == NO_AUDIO:
        return None, NO_AUDIO
    if driver.has_audio:
        return AudioTrack(driver.path, driver.start, stream=number), DRIVER_AUDIO
    if driver.kind == "track":
        notes.append("a track has no audio; name an audio file with `audio`")
    elif plan.source.has_audio:
        notes.append("the driver has no audio; `audio=source` uses that of the source")
    return None, NO_AUDIO


def _start_of(plan: AnimationPlan, audio: Path, driver: Driver, source_start: float) -> float:
    """Return the start of the audio in its file: a file that is also an input is trimmed like that input."""
    if plan.options.audio == SOURCE_AUDIO or (plan.source.is_video and _is_same_file(audio, plan.source.path)):
        return source_start
    # An audio file for a track covers the whole track; any other file is new audio, which starts with the result.
    return driver.start if driver.kind == "track" or _is_same_file(audio, plan.driver.media_path) else 0.0


def _is_same_file(path: Path, other: Path | None) -> bool:
    return other is not None and path.samefile(other)
