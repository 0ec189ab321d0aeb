"""Rendering of an edit: the edited frames of a photo, a grid or a video, produced as they are consumed."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from mimaface_cli.apps.backdrop import replace_background
from mimaface_cli.apps.background_option import KEEP, TRANSPARENT
from mimaface_cli.apps.edit_job import EditJob, VideoInput
from mimaface_cli.apps.edit_motion import (
    create_photo_track,
    edit_photo_motion,
    edit_recorded_motion,
    extract_video_motion,
)
from mimaface_cli.apps.grid import Axis, assemble_grid, list_cells
from mimaface_cli.apps.output_checks import keeps_alpha
from mimaface_cli.apps.source_loading import keeps_video_alpha, open_video_source
from mimaface_cli.engines.base import FrameStream
from mimaface_cli.engines.mesh import renderer
from mimaface_cli.engines.mesh.edit_gain import EditGain, apply_gains, measure_gains
from mimaface_cli.engines.mesh.motion_plan import MeshMotion, plan_edited_motion
from mimaface_cli.engines.mesh.prepared_portrait import prepare_photo
from mimaface_cli.engines.mesh.video_rendering import render_video_motion
from mimaface_cli.engines.person_layer import ensure_person_layer
from mimaface_cli.engines.sources import PhotoSource, VideoSource
from mimaface_cli.face import face478
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.motion.channels import Channel
from mimaface_cli.motion.coefficients import Coefficients
from mimaface_cli.motion.retarget import track_coefficients
from mimaface_cli.motion.track import MotionArrays, MotionTrack

_LIMITED_PARTS = {"pose": "head", "expression": "expression", "gaze": "gaze"}


@dataclass(frozen=True)
class RenderedEdit:
    """Frames of an edit.

    Args:
        moving: The frames and their times.
        source: What they are rendered from.
        gains: Factors on the edits that make the detected motion match the requested values.
        has_alpha: Whether the frames have alpha.
    """

    moving: FrameStream
    source: PhotoSource | VideoSource
    gains: list[EditGain]
    has_alpha: bool = False


def render_photo_edit(source: PhotoSource, job: EditJob) -> RenderedEdit:
    """Render a photo with its edits: one frame, or as many as keyframes or the duration require."""
    portrait = source.portrait
    track = edit_photo_motion(portrait, job)
    edited = track_coefficients(track)
    is_cutout = job.options.background != KEEP
    frames, gains, settings = _render_portrait(portrait, edited, job.edits.channels, job, is_cutout)
    stream = FrameStream(frames, track.pts, track.frame_rate, is_cutout=is_cutout, describe=lambda: settings)
    stream.last_duration = track.meta.last_duration
    stream.turn_back(portrait.turns)
    _replace_background(stream, job)
    has_alpha = portrait.alpha is not None if job.options.background == KEEP else job.backdrop is None
    return RenderedEdit(stream, source, gains, has_alpha)


def render_grid_edit(source: PhotoSource, job: EditJob) -> RenderedEdit:
    """Render a photo, with its edits, for every combination of the axes' values, as one image."""
    square = source.portrait.square()
    track = job.edits.apply(create_photo_track(square), job.notes)
    edited = _expand_grid(track, job.axes)
    channels = job.edits.channels
    edited_names = {channel.name for channel in channels}
    channels += [axis.channel for axis in job.axes if axis.channel.name not in edited_names]
    frames, gains, settings = _render_portrait(square, edited, channels, job)
    image = _assemble_and_close(frames, job.axes, job.options.cell)
    return RenderedEdit(FrameStream(image, np.zeros(1), Fraction(25), describe=lambda: settings), source, gains)


def render_video_edit(source: VideoInput, job: EditJob) -> RenderedEdit:
    """Render the edited motion of a video on the frames of the video."""
    extracted = extract_video_motion(source, job).track
    is_kept = keeps_alpha(job.output, job.options.encode)
    has_alpha = keeps_video_alpha(source.info, job.options.background, is_kept, job.notes)
    video = open_video_source(source.info, extracted, job.options.animate, has_alpha, job.is_deep)
    track = video.track
    identity = track.identity.astype(np.float64)
    original = track_coefficients(track)
    edited = track_coefficients(edit_recorded_motion(track, job))
    gains = _measure_video_gains(video, original, edited, job)
    model = face478.load()
    motion = _plan_motion(model, identity, original, edited, gains, job.notes)
    stream = render_video_motion(video, track, model, motion, job.networks)
    stream.turn_back(video.turns)
    is_transparent = has_alpha or job.options.background == TRANSPARENT
    return RenderedEdit(_replace_background(stream, job), video, gains, is_transparent)


def _replace_background(stream: FrameStream, job: EditJob) -> FrameStream:
    """Return a stream with the background that the options request."""
    if job.options.background != KEEP:
        ensure_person_layer(stream, cutout=True, needs_alpha=False, face=job.options.face)
        replace_background(stream, job.backdrop)
    return stream


def note_limits(requested: Coefficients, rendered: Coefficients) -> list[str]:
    """Return notes that count the frames in which rendering limited the requested coefficients."""
    notes = []
    for name, part in _LIMITED_PARTS.items():
        is_limited = np.abs(getattr(requested, name) - getattr(rendered, name)).max(1) > 1e-6
        if is_limited.any():
            count = int(is_limited.sum())
            notes.append(f"{part}: limited in {count} of {len(is_limited)} frames to what one photo can show")
    return notes


def _render_portrait(
    portrait: Portrait, edited: Coefficients, channels: list[Channel], job: EditJob, cutout: bool = False
) -> tuple[Generator[np.ndarray, None, None], list[EditGain], dict[str, Any]]:
    """Return the frames of a photo with edited coefficients, the gains that were applied, and the engine's settings."""
    model = face478.load()
    original = portrait.coefficients
    gains = measure_gains(portrait, model, edited, channels, job.cache)
    motion = _plan_motion(model, portrait.identity, original, edited, gains, job.notes)
    prepared = prepare_photo(portrait, model, networks=job.networks)
    job.notes.extend(prepared.layers.notes)
    settings = prepared.networks.describe()
    return renderer.render_photo(prepared, model, motion, cutout), gains, settings


def _plan_motion(
    model: Face478,
    identity: np.ndarray,
    original: Coefficients,
    edited: Coefficients,
    gains: list[EditGain],
    notes: list[str],
) -> MeshMotion:
    """Apply gains to edited coefficients and plan their rendering; append notes on limits."""
    scaled = apply_gains(original, edited, gains)
    # Only a requested expression or gaze deserves a note: a gain alone may exceed the limits.
    requested = replace(scaled, expression=edited.expression, gaze=edited.gaze)
    notes += note_limits(requested, plan_edited_motion(model, identity, original, requested).coefficients)
    return plan_edited_motion(model, identity, original, scaled)


def _expand_grid(track: MotionTrack, axes: list[Axis]) -> Coefficients:
    """Return the coefficients of all cells, in reading order, from a track of one frame."""
    cells = list_cells(axes)
    frame = track.motion_arrays()
    arrays: MotionArrays = {
        "expression": np.repeat(frame["expression"], len(cells), axis=0),
        "pose": np.repeat(frame["pose"], len(cells), axis=0),
        "gaze": np.repeat(frame["gaze"], len(cells), axis=0),
    }
    for axis, values in zip(axes, np.array(cells).T, strict=True):
        array = arrays[axis.channel.array]
        axis.channel.write(array, np.broadcast_to(values[:, None], axis.channel.read(array).shape))
    return Coefficients(**arrays)


def _assemble_and_close(
    frames: Generator[np.ndarray, None, None], axes: list[Axis], cell: int
) -> Generator[np.ndarray, None, None]:
    try:
        yield assemble_grid(frames, axes, cell)
    finally:
        frames.close()


def _measure_video_gains(
    source: VideoSource, original: Coefficients, edited: Coefficients, job: EditJob
) -> list[EditGain]:
    """Measure gains on the first frame that shows the face; they apply to the whole video."""
    channels = job.edits.channels
    if not channels:
        return []
    portrait = _read_first_portrait(source)
    on_portrait = Coefficients(
        portrait.expression + edited.expression - original.expression,
        portrait.pose + edited.pose - original.pose,
        portrait.gaze + edited.gaze - original.gaze,
    )
    return measure_gains(portrait, face478.load(), on_portrait, channels, job.cache)


def _read_first_portrait(source: VideoSource) -> Portrait:
    """Return the first frame that shows the face as a portrait."""
    first = int(np.argmax(source.track.valid))
    portraits = source.portraits(source.track.select_frames(slice(first + 1)))
    try:
        return next(portrait for index, portrait in enumerate(portraits) if index == first)
    finally:
        portraits.close()
