"""Animate a source: plan the run, load source and driver, render, and write the result with its provenance."""

import time
from collections.abc import Generator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mimaface_cli.apps.animate_options import CHANGED, AnimateOptions
from mimaface_cli.apps.animation_plan import (
    MATTE_ENCODING,
    NO_AUDIO,
    AnimationPlan,
    check_animation_outputs,
    plan_animation,
    plan_output,
)
from mimaface_cli.apps.animation_setup import Animation, prepare_animation
from mimaface_cli.apps.deep_source import finish_frames
from mimaface_cli.apps.matte import write_mattes
from mimaface_cli.apps.output_checks import is_video_output, keeps_alpha, playback_notes, timing_notes
from mimaface_cli.apps.result_audio import choose_audio
from mimaface_cli.apps.side_by_side import join_panels
from mimaface_cli.cache import Cache
from mimaface_cli.engines.base import FrameStream
from mimaface_cli.errors import InputError
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.media.attachments import Attachments
from mimaface_cli.media.audio import AudioTrack
from mimaface_cli.media.timecode import advance_timecode
from mimaface_cli.media.timecode_tag import read_timecode
from mimaface_cli.media.writer import FrameWriter, VideoWriter, open_writer
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.progress import ProgressCallback, ignore_progress
from mimaface_cli.provenance.record import Generation
from mimaface_cli.provenance.stamp import Stamp, prepare_stamp

_ENGINE_OPTION_FIELDS = ("diffusion", "mouth", "eyes")  # fields of AnimateOptions that belong to one engine


@dataclass(frozen=True)
class AnimateResult:
    """A finished animation.

    Attributes:
        output: The video, the image, or the pattern of numbered images.
        engine: Name of the engine that ran.
        engine_reason: Why it ran.
        engine_settings: Settings that it ran with, as JSON values.
        frames: Number of frames.
        width: Width in pixels.
        height: Height in pixels.
        frame_rate: Frames per second.
        duration: Duration in seconds.
        audio: "driver", "source", "none" or the path of the audio file.
        audio_copied: Whether the audio stream was copied rather than encoded; None without audio.
        background: "keep", "transparent", a color, or the path of an image or a video.
        matte: The matte, or None.
        driver_cached: Whether the driver's track was in the cache.
        missing_frames: Indices of driver frames without a face; their motion is interpolated.
        source_frames_without_face: Indices of the frames of a source video that show no face and stay as they are.
        truncated: Whether an input was cut short, so that frames are missing at its end.
        notes: Messages for the user.
        provenance: The provenance marks that were written, as JSON values.
        seconds: Run time.
    """

    output: Path
    engine: str
    engine_reason: str
    engine_settings: dict[str, Any]
    frames: int
    width: int
    height: int
    frame_rate: Fraction
    duration: float
    audio: str
    audio_copied: bool | None
    background: str
    matte: Path | None
    driver_cached: bool
    missing_frames: list[int]
    source_frames_without_face: list[int]
    truncated: bool
    notes: list[str]
    provenance: dict[str, Any]
    seconds: float


def animate(
    source: Path | str | Portrait,
    driver: Path | str | MotionTrack,
    output: Path | str,
    options: AnimateOptions = AnimateOptions(),
    *,
    overwrite: bool = False,
    cache: Cache | None = None,
    progress: ProgressCallback = ignore_progress,
) -> AnimateResult:
    """Make the face of a source move like a driver, and write the result.

    Args:
        source: A photo, a video, or a portrait from `load_portrait`.
        driver: A video, photo, folder of frames, track or audio file, or a track in memory.
        output: A video, an image, or numbered images such as frames/%05d.png.
        options: Options of the run.
        overwrite: Whether existing outputs may be replaced.
        cache: Where tracks and unfinished work are looked up and stored, or None.
        progress: Called with the stage, the units done and the total.

    Returns:
        A description of the written result.

    Raises:
        InputError: An input or an option cannot be used.
        OutputError: The result cannot be written.
        WeightsError: The engine cannot run here.

    No file is left behind by a run that fails.
    """
    start_time = time.monotonic()
    output = Path(output)
    plan = plan_output(plan_animation(source, driver, options), output)
    check_animation_outputs(plan, output, overwrite)
    animation = prepare_animation(plan, keeps_alpha(output, options.encode) and not options.compare, cache, progress)
    audio, audio_name = _choose_audio(animation, output)
    provenance = _create_stamp(animation, output)
    _add_panels(animation)
    timecode = _source_timecode(animation) if is_video_output(output) else {}
    duration, audio_copied = _write(animation, output, audio, provenance, timecode, progress)
    animation.stream.finish()
    result = _describe(animation, output, duration, provenance)
    return replace(result, audio=audio_name, audio_copied=audio_copied, seconds=time.monotonic() - start_time)


def _describe(animation: Animation, output: Path, duration: float, provenance: Stamp) -> AnimateResult:
    """Return the description of a written result, without its audio and the run time."""
    plan, stream = animation.plan, animation.stream
    return AnimateResult(
        output=output,
        engine=plan.selection.engine.name,
        engine_reason=plan.selection.reason,
        engine_settings=stream.describe(),
        frames=len(stream.pts),
        width=plan.size[0],
        height=plan.size[1],
        frame_rate=stream.frame_rate,
        duration=duration,
        audio=NO_AUDIO,
        audio_copied=None,
        background=plan.options.background,
        matte=plan.options.matte,
        driver_cached=animation.driver.was_cached,
        missing_frames=animation.driver.missing_frames,
        source_frames_without_face=stream.source_frames_without_face,
        truncated=any(info.is_truncated for info in plan.media()),
        notes=animation.notes + stream.notes,
        provenance=provenance.summary,
        seconds=0.0,
    )


def render_frames(
    source: Path | str | Portrait,
    driver: Path | str | MotionTrack,
    options: AnimateOptions = AnimateOptions(),
    *,
    cache: Cache | None = None,
    progress: ProgressCallback = ignore_progress,
) -> FrameStream:
    """Render an animation without writing a file.

    Args:
        source: As in `animate`.
        driver: As in `animate`.
        options: Options of the run; those about audio, matte, encoding, comparison and provenance have no effect.
        cache: As in `animate`.
        progress: As in `animate`.

    Returns:
        The frames, with their times. Close the stream if it is not read to its end.

    Raises:
        InputError: An input or an option cannot be used.
        WeightsError: The engine cannot run here.
    """
    plan = plan_animation(source, driver, replace(options, compare=False, matte=None, matte_kind=CHANGED))
    return prepare_animation(plan, True, cache, progress).stream


def _choose_audio(animation: Animation, output: Path) -> tuple[AudioTrack | None, str]:
    """Return the audio of the result and its name in reports."""
    plan = animation.plan
    if is_video_output(output):
        return choose_audio(plan, animation.driver, animation.start, animation.notes)
    if plan.audio is not None:
        animation.notes.append("images have no audio")
    return None, NO_AUDIO


def _create_stamp(animation: Animation, output: Path) -> Stamp:
    """Return the stamp that marks the result as generated."""
    plan = animation.plan
    engine, options = plan.selection.engine, plan.options
    unused: dict[str, Any] = {name: None for name in _ENGINE_OPTION_FIELDS if name != engine.options_field}
    generation = Generation(
        command="animate",
        engine=engine.name,
        inputs=plan.inputs(),
        weights=engine.assets(plan.query),
        options=replace(options, **unused),
        is_fully_generated=engine.is_generative() and plan.panels is None and "background" not in plan.inputs(),
    )
    return prepare_stamp(output, plan.size, options.provenance, generation, animation.notes)


def _add_panels(animation: Animation) -> None:
    """Put the inputs beside the frames if a comparison was requested."""
    layout, stream = animation.plan.panels, animation.stream
    if layout is not None:
        driver_media = animation.plan.driver.info.media
        starts = [animation.driver.start if info is driver_media else animation.start for info in layout.inputs]
        stream.frames = join_panels(stream.frames, layout, stream.pts, starts)


def _source_timecode(animation: Animation) -> dict[str, str]:
    """Return the timecode tag of the first frame, if the input that sets the frame times has a timecode."""
    plan = animation.plan
    path = plan.source.path if plan.source.is_video else plan.driver.media_path
    timecode = None if path is None else read_timecode(path)
    if timecode is None:
        return {}
    rate = animation.stream.frame_rate
    try:
        return {"timecode": advance_timecode(timecode, round(animation.start * rate), rate)}
    except InputError as error:
        animation.notes.append(f"no timecode was written ({error})")
        return {}


def _write(
    animation: Animation,
    output: Path,
    audio: AudioTrack | None,
    provenance: Stamp,
    timecode: dict[str, str],
    progress: ProgressCallback,
) -> tuple[float, bool | None]:
    """Render and encode all frames and their matte; return the duration and whether the audio was copied."""
    plan, stream = animation.plan, animation.stream
    pts = stream.pts - stream.pts[0]
    duration = stream.duration
    encode = replace(plan.options.encode, alpha=animation.has_alpha)
    animation.notes += playback_notes(output, plan.size, encode) + timing_notes(output, stream)
    writer = open_writer(
        output,
        *plan.size,
        stream.frame_rate,
        options=encode,
        audio=audio,
        duration=duration,
        attachments=Attachments({**provenance.tags, **timecode}, provenance.xmp, provenance.seal),
    )
    matte, rendered = _open_matte(plan, stream, pts, duration, provenance)
    frames = finish_frames(rendered, animation.source, plan.options.max_size or 0, provenance)
    try:
        # Leaving the block publishes the matte, then the record, then the result: if the result exists, all exist.
        with provenance, writer, matte or nullcontext():
            for k, frame in enumerate(frames):
                writer.write(frame, float(pts[k]))
                progress("animating", k + 1, len(pts))
    finally:
        frames.close()
        stream.close()
    if not isinstance(writer, VideoWriter):
        return duration, None
    animation.notes.extend(writer.audio_notes)
    if writer.audio_damaged:
        animation.notes.append("parts of the audio could not be read and are silent or missing")
    return duration, writer.audio_copied


def _open_matte(
    plan: AnimationPlan, stream: FrameStream, pts: np.ndarray, duration: float, provenance: Stamp
) -> tuple[FrameWriter | None, Generator[np.ndarray, None, None]]:
    """Return the writer of the matte, if one was requested, and the frames that feed it before they are marked."""
    if plan.options.matte is None:
        return None, stream.frames
    writer = open_writer(
        plan.options.matte,
        *plan.size,
        stream.frame_rate,
        options=MATTE_ENCODING,
        duration=duration,
        attachments=Attachments(provenance.tags),
    )
    return writer, write_mattes(stream, pts, writer, plan.options.matte_kind)
