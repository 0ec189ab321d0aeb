"""`edit`: change the motion of a track, a photo or a video by name, and write a track, an image or a video."""

import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mimaface_cli.apps.background_option import KEEP
from mimaface_cli.apps.deep_source import finish_frames
from mimaface_cli.apps.edit_job import EditJob, PhotoInput, TrackInput, VideoInput, prepare_edit
from mimaface_cli.apps.edit_motion import edit_photo_motion, edit_recorded_motion, extract_video_motion
from mimaface_cli.apps.edit_options import EditOptions
from mimaface_cli.apps.edit_rendering import RenderedEdit, render_grid_edit, render_photo_edit, render_video_edit
from mimaface_cli.apps.output_checks import is_video_output, keeps_alpha, playback_notes, timing_notes
from mimaface_cli.apps.source_loading import fit_portrait, load_deep_photo, load_portrait
from mimaface_cli.cache import Cache
from mimaface_cli.engines.mesh import renderer
from mimaface_cli.engines.mesh.edit_gain import EditGain
from mimaface_cli.engines.mesh.engine import network_assets
from mimaface_cli.engines.sources import PhotoSource
from mimaface_cli.face.track_turns import turn_track
from mimaface_cli.media.attachments import Attachments
from mimaface_cli.media.audio import AudioTrack
from mimaface_cli.media.writer import VideoWriter, open_writer
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.progress import ProgressCallback, ignore_progress
from mimaface_cli.provenance.record import Generation
from mimaface_cli.provenance.stamp import Stamp, prepare_stamp


@dataclass(frozen=True)
class EditResult:
    """Result of an edit.

    Args:
        output: The written file.
        kind: Kind of the result: "track", "image", "grid" or "video".
        space: Space of the coefficients.
        frames: Number of frames.
        width: Width in pixels, or None for a track.
        height: Height in pixels, or None for a track.
        duration: Duration of the result in seconds.
        engine: Name of the engine, or None for a track.
        background: "keep", "transparent", a color, or the path of an image or a video.
        engine_settings: Settings that the engine ran with, as JSON values.
        source_frames_without_face: Indices of the frames of a video that show no face and stay as they are.
        truncated: Whether an input was cut short, so that frames are missing at its end.
        gains: Factors on the edits of a photo that make the detected motion match the requested values.
        notes: Notes for the user.
        provenance: The provenance that was written, or None for a track.
        seconds: Run time in seconds.
    """

    output: Path
    kind: str
    space: str
    frames: int
    width: int | None
    height: int | None
    duration: float
    engine: str | None
    background: str
    engine_settings: dict[str, Any]
    source_frames_without_face: list[int]
    truncated: bool
    gains: list[EditGain]
    notes: list[str]
    provenance: dict[str, Any] | None
    seconds: float


def edit(
    source: Path | str,
    output: Path | str,
    options: EditOptions = EditOptions(),
    *,
    overwrite: bool = False,
    cache: Cache | None = None,
    progress: ProgressCallback | None = None,
) -> EditResult:
    """Change the motion of a track, a photo or a video by name.

    Args:
        source: Track (.npz), photo or video.
        output: Track (.npz); for a photo also an image or a video; for a video also a video.
        options: What to change and how to write the result.
        overwrite: Whether to replace an existing output.
        cache: Cache of extracted tracks, or None.
        progress: Called with stage, frames done and total.

    Returns:
        The result; on any error nothing is left behind.

    Raises:
        InputError: If the input, an option or a term cannot be used.
        OutputError: If the output cannot be written.
        WeightsError: If model files are missing.
    """
    start_time = time.monotonic()
    progress = progress or ignore_progress
    job = prepare_edit(Path(source), Path(output), options, overwrite=overwrite, cache=cache, progress=progress)
    result = _write_track(job, overwrite) if job.size is None else _write_frames(job, job.size)
    return replace(result, seconds=time.monotonic() - start_time)


def _write_track(job: EditJob, overwrite: bool) -> EditResult:
    track = _edit_track(job)
    # Mark the track, because it differs from the output of its extractor.
    meta = replace(track.meta, options={**track.meta.options, "edited": True})
    replace(track, meta=meta).save(job.output, overwrite)
    return EditResult(
        output=job.output,
        kind=job.kind,
        space=track.meta.space,
        frames=len(track),
        width=None,
        height=None,
        duration=track.duration,
        engine=None,
        background=KEEP,
        engine_settings={},
        source_frames_without_face=[],
        truncated=job.is_truncated,
        gains=[],
        notes=job.notes,
        provenance=None,
        seconds=0.0,
    )


def _edit_track(job: EditJob) -> MotionTrack:
    match job.input:
        case TrackInput(track=track):
            return edit_recorded_motion(track, job)
        case VideoInput() as video:
            return edit_recorded_motion(extract_video_motion(video, job).track, job)
        case PhotoInput() as photo:
            portrait = _read_photo(photo, job).portrait
            return turn_track(edit_photo_motion(portrait, job), -portrait.turns)


def _write_frames(job: EditJob, size: tuple[int, int]) -> EditResult:
    rendered, audio = _render(job)
    job = replace(job, options=replace(job.options, encode=replace(job.options.encode, alpha=rendered.has_alpha)))
    job.notes.extend(playback_notes(job.output, size, job.options.encode))
    job.notes.extend(timing_notes(job.output, rendered.moving))
    job_stamp = _create_stamp(job, size)
    duration = _encode(job, size, rendered, audio, job_stamp)
    return EditResult(
        output=job.output,
        kind=job.kind,
        space=job.edits.space,
        frames=len(rendered.moving.pts),
        width=size[0],
        height=size[1],
        duration=duration,
        engine=renderer.NAME,
        background=job.options.background,
        engine_settings=rendered.moving.describe(),
        source_frames_without_face=rendered.moving.source_frames_without_face,
        truncated=job.is_truncated,
        gains=rendered.gains,
        notes=job.notes + rendered.moving.notes,
        provenance=job_stamp.summary,
        seconds=0.0,
    )


def _render(job: EditJob) -> tuple[RenderedEdit, AudioTrack | None]:
    """Return the frames of the result, and its audio if the input has any."""
    match job.input:
        case PhotoInput() as photo:
            source = _read_photo(photo, job)
            render = render_grid_edit if job.kind == "grid" else render_photo_edit
            return render(source, job), None
        case VideoInput() as video:
            has_audio = video.info.has_audio and is_video_output(job.output)
            return render_video_edit(video, job), AudioTrack(video.path) if has_audio else None
        case TrackInput():
            raise TypeError("a track has no frames to render on")


def _read_photo(photo: PhotoInput, job: EditJob) -> PhotoSource:
    is_kept = keeps_alpha(job.output, job.options.encode) or job.options.background != KEEP
    keep_alpha = job.kind != "grid" and is_kept
    deep = load_deep_photo(photo.path) if job.is_deep else None
    portrait = load_portrait(photo.path, job.options.animate.face, deep)
    return PhotoSource(fit_portrait(portrait, job.options.animate, keep_alpha, job.notes), deep)


def _create_stamp(job: EditJob, size: tuple[int, int]) -> Stamp:
    inputs = {"source": job.input.path, "mix": job.options.mix, "keys": job.options.keys_file}
    inputs["background"] = None if job.backdrop is None else job.backdrop.path
    generation = Generation(
        command="edit",
        engine=renderer.NAME,
        inputs={role: path for role, path in inputs.items() if path is not None},
        weights=["face_landmarker", "face478", *network_assets(job.options.mouth, job.options.eyes)],
        options=job.options,
        is_fully_generated=False,
    )
    return prepare_stamp(job.output, size, job.options.provenance, generation, job.notes)


def _encode(
    job: EditJob, size: tuple[int, int], rendered: RenderedEdit, audio: AudioTrack | None, job_stamp: Stamp
) -> float:
    """Render and write all frames; return their duration in seconds."""
    moving = rendered.moving
    pts = moving.pts - moving.pts[0]
    duration = moving.duration
    writer = open_writer(
        job.output,
        *size,
        moving.frame_rate,
        options=job.options.encode,
        audio=audio,
        duration=duration,
        attachments=Attachments(job_stamp.tags, job_stamp.xmp, job_stamp.seal),
    )
    marked = finish_frames(moving.frames, rendered.source, job.options.max_size or 0, job_stamp)
    with closing(moving.frames), closing(marked) as frames, job_stamp, writer:
        for k, frame in enumerate(frames):
            writer.write(frame, float(pts[k]))
            job.progress("rendering", k + 1, len(pts))
    if isinstance(writer, VideoWriter):
        job.notes.extend(writer.audio_notes)
    if isinstance(writer, VideoWriter) and writer.audio_damaged:
        job.notes.append("parts of the audio could not be decoded and are silent or missing")
    return duration
