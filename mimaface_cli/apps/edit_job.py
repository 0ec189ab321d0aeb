"""Preparation of an edit: read the input and check everything before long work starts."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from mimaface_cli.apps.backdrop import Backdrop, inspect_backdrop
from mimaface_cli.apps.background_option import KEEP, TRANSPARENT, background_path
from mimaface_cli.apps.depth_plan import plan_depth
from mimaface_cli.apps.edit_options import LONGEST, SHORTEST, EditOptions
from mimaface_cli.apps.edit_terms import Edits, parse_edits
from mimaface_cli.apps.grid import Axis, grid_size, parse_axes
from mimaface_cli.apps.output_checks import check_media_output, is_video_output
from mimaface_cli.apps.source_loading import result_size, size_limit
from mimaface_cli.cache import Cache
from mimaface_cli.drivers.base import Driver
from mimaface_cli.drivers.media_driver import load_driver
from mimaface_cli.drivers.track_driver import is_track
from mimaface_cli.engines.mesh.face_networks import PAINTED_FACE, FaceNetworks, open_networks
from mimaface_cli.engines.mesh.part_option import part_model_path
from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.files import check_output
from mimaface_cli.media.encoding import IMAGE_OUTPUT_SUFFIXES
from mimaface_cli.media.reader import probe
from mimaface_cli.media.video import MediaInfo
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.progress import ProgressCallback

EditKind = Literal["track", "image", "grid", "video"]
DEFAULT_DURATION = 3.0  # seconds of a video made from a photo


@dataclass(frozen=True)
class TrackInput:
    """A track to edit."""

    path: Path
    track: MotionTrack


@dataclass(frozen=True)
class PhotoInput:
    """A photo to edit."""

    path: Path
    info: MediaInfo


@dataclass(frozen=True)
class VideoInput:
    """A video to edit."""

    path: Path
    info: MediaInfo


EditInput = TrackInput | PhotoInput | VideoInput


@dataclass(frozen=True)
class EditJob:
    """An edit that has been checked and can run.

    Args:
        input: The input to edit.
        output: File to write.
        kind: Kind of the result: a track, one image, a grid of images or a video.
        options: Options of edit; the duration of a video made from a photo and `max_size` are filled in.
        edits: Edits by name.
        axes: Axes of a grid, or none.
        size: Width and height of the rendered frames, or None for a track.
        backdrop: What replaces the background, or None if it stays or becomes transparent.
        is_truncated: Whether an input was cut short.
        mixed_track: Track that regions are taken from, or None.
        networks: Networks that correct the face; none of them for a track.
        cache: Cache of extracted tracks, or None.
        progress: Progress callback.
        notes: Notes for the user, appended to while the job runs.
    """

    input: EditInput
    output: Path
    kind: EditKind
    options: EditOptions
    edits: Edits
    axes: list[Axis]
    size: tuple[int, int] | None
    backdrop: Backdrop | None
    is_truncated: bool
    mixed_track: MotionTrack | None
    networks: FaceNetworks
    cache: Cache | None
    progress: ProgressCallback
    notes: list[str]

    @property
    def is_deep(self) -> bool:
        """Whether the result has more than 8 bits per channel."""
        return self.options.encode.source_format is not None


def prepare_edit(
    source: Path,
    output: Path,
    options: EditOptions,
    *,
    overwrite: bool,
    cache: Cache | None,
    progress: ProgressCallback,
) -> EditJob:
    """Read the input and check that the edit can run.

    Args:
        source: Track, photo or video.
        output: File to write.
        options: Options of edit.
        overwrite: Whether to replace an existing output.
        cache: Cache of extracted tracks, or None.
        progress: Progress callback.

    Raises:
        InputError: If the input, an option or a term cannot be used.
        OutputError: If the output cannot be written.
        WeightsError: If model files are missing.
    """
    notes: list[str] = []
    edit_input = _read_input(source, options)
    if not isinstance(edit_input, TrackInput):
        notes += edit_input.info.notes
    kind = _choose_kind(edit_input, output, options)
    space = edit_input.track.meta.space if isinstance(edit_input, TrackInput) else "face478"
    edits = parse_edits(options, space, notes)
    axes = parse_axes(options.grid)
    is_video_of_photo = kind == "video" and isinstance(edit_input, PhotoInput)
    options = replace(options, max_size=size_limit(options.max_size, is_video_of_photo=is_video_of_photo))
    size = _check_size(edit_input, kind, axes, options)
    backdrop = _inspect_background(kind, options)
    options = _plan_depth(edit_input, output, size, kind, options, notes)
    _check_output(source, output, size, kind, options, overwrite)
    networks = PAINTED_FACE if size is None else open_networks(options.mouth, options.eyes)
    mixed = _load_mixed_motion(options, cache, progress)
    mixed_track = None if mixed is None else mixed.track
    notes += () if mixed is None else mixed.notes
    if is_video_of_photo:
        options = _fill_in_duration(options, edits, mixed_track)
    return EditJob(
        edit_input,
        output,
        kind,
        options,
        edits,
        axes,
        size,
        backdrop,
        _is_truncated(edit_input) or (mixed is not None and mixed.is_truncated),
        mixed_track,
        networks,
        cache,
        progress,
        notes,
    )


def _plan_depth(
    edit_input: EditInput,
    output: Path,
    size: tuple[int, int] | None,
    kind: EditKind,
    options: EditOptions,
    notes: list[str],
) -> EditOptions:
    """Return the options with the depth of the result; append notes on it."""
    if size is None or isinstance(edit_input, TrackInput):
        return options
    obstacle = "background" if options.background != KEEP else "grid" if kind == "grid" else ""
    depth = plan_depth(edit_input.info, output, options.encode, size, obstacle)
    notes += depth.notes
    return replace(options, encode=depth.encode)


def _read_input(source: Path, options: EditOptions) -> EditInput:
    if is_track(source):
        return TrackInput(source, load_driver(source, ExtractOptions(options.face)).track)
    info = probe(source).check_strict(options.strict)
    return PhotoInput(source, info) if info.kind == "image" else VideoInput(source, info)


def _choose_kind(edit_input: EditInput, output: Path, options: EditOptions) -> EditKind:
    """Choose the kind of the result by input and output; check that input, output and options match."""
    is_photo = isinstance(edit_input, PhotoInput)
    _check_time_options(edit_input, options)
    if options.grid:
        _check_grid_options(is_photo, output, options)
        return "grid"
    if is_track(output):
        return "track"
    if isinstance(edit_input, TrackInput):
        raise OutputError(
            f"{output}: a track has no image to render. Write .npz, or run mimaface animate with a photo and "
            f"{edit_input.path}."
        )
    if not is_photo:
        if options.changes_time:
            field = _first_changed(options, ("speed", "start", "duration"))
            raise InputError("the frame times of a video cannot change. Write a track (.npz) instead.", field=field)
        return "video"
    is_single_image = not output.is_dir() and output.suffix.lower() in IMAGE_OUTPUT_SUFFIXES and "%" not in output.name
    if not is_single_image:
        return "video"
    if options.keys or options.keys_file or options.mix:
        raise InputError(
            f"{output}: is one image, but keyframes and `mix` change over time. Write a video (.mp4) or a track (.npz)."
        )
    if options.seconds is not None:
        raise InputError(f"{output} is one image. Write a video (.mp4).", field="seconds")
    return "image"


def _check_time_options(edit_input: EditInput, options: EditOptions) -> None:
    """Check that options about time fit the input: a photo has no motion, other inputs have a duration already."""
    if not isinstance(edit_input, PhotoInput):
        if options.seconds is not None:
            raise InputError(
                "applies to photos only. Set `speed`, `start` or `duration` to change the duration of a track.",
                field="seconds",
            )
        return
    field = _first_changed(options, ("strength", "smooth", "speed", "start", "duration"))
    if field is not None:
        raise InputError(f"{edit_input.path} is a photo, which has no motion. Leave the option out.", field=field)


def _first_changed(options: EditOptions, fields: Iterable[str]) -> str | None:
    """Return the first of the fields whose value is not the default."""
    defaults = EditOptions()
    return next((field for field in fields if getattr(options, field) != getattr(defaults, field)), None)


def _check_grid_options(is_photo: bool, output: Path, options: EditOptions) -> None:
    if not is_photo or is_track(output) or is_video_output(output):
        raise InputError("renders a photo into one image. Give a photo, and an output such as grid.png.", field="grid")
    if options.keys or options.keys_file or options.mix:
        raise InputError("is one image, without motion. Leave keyframes and `mix` out.", field="grid")


def _check_size(
    edit_input: EditInput, kind: EditKind, axes: list[Axis], options: EditOptions
) -> tuple[int, int] | None:
    """Return width and height of the rendered frames, or None for a track."""
    if kind == "track" or isinstance(edit_input, TrackInput):
        return None
    return (
        grid_size(axes, options.cell)
        if kind == "grid"
        else result_size(edit_input.info.width, edit_input.info.height, options.animate)
    )


def _inspect_background(kind: EditKind, options: EditOptions) -> Backdrop | None:
    """Return the backdrop of the rendered frames; check that the kind of result can have it."""
    if options.background != KEEP and kind in ("track", "grid"):
        raise InputError(f"applies to images and videos, not to a {kind}. Leave it out.", field="background")
    return inspect_backdrop(options.background)


def _check_output(
    source: Path,
    output: Path,
    size: tuple[int, int] | None,
    kind: EditKind,
    options: EditOptions,
    overwrite: bool,
) -> None:
    """Check that the output can be written and is none of the inputs."""
    paths = (
        source,
        options.mix,
        options.keys_file,
        options.bfm,
        background_path(options.background),
        part_model_path(options.mouth),
        part_model_path(options.eyes),
    )
    inputs = tuple(path for path in paths if path is not None)
    if size is None:
        check_output(output, overwrite, inputs)
        return
    check_media_output(
        output,
        size,
        replace(options.encode, alpha=options.background == TRANSPARENT),
        frames=1 if kind in ("image", "grid") else None,
        overwrite=overwrite,
        inputs=inputs,
        provenance=options.provenance,
    )


def _is_truncated(edit_input: EditInput) -> bool:
    return not isinstance(edit_input, TrackInput) and edit_input.info.is_truncated


def _load_mixed_motion(options: EditOptions, cache: Cache | None, progress: ProgressCallback) -> Driver | None:
    path = options.mix
    if path is None:
        return None
    info = None if is_track(path) else probe(path).check_strict(options.strict)
    return load_driver(path, ExtractOptions(), cache, partial(progress, "extracting motion to mix"), info)


def _fill_in_duration(options: EditOptions, edits: Edits, mixed_track: MotionTrack | None) -> EditOptions:
    """Set the duration of a video made from a photo if neither the options nor keyframes determine it."""
    if options.seconds is not None or edits.keyframes:
        return options
    duration = DEFAULT_DURATION if mixed_track is None else mixed_track.duration
    return replace(options, seconds=min(max(duration, SHORTEST), LONGEST))
