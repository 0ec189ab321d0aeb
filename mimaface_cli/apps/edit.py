"""`edit` from end to end: a track, a photo or a video in, its motion changed by name, a track or pictures out."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mimaface_cli.apps.drivers import is_track, load_driver
from mimaface_cli.apps.edit_options import EditOptions
from mimaface_cli.apps.edit_rendering import (
    from_photo,
    from_video,
    mixed,
    over_time,
    photo_grid,
    photo_track,
    read_source,
    retimed,
    still_length,
)
from mimaface_cli.apps.edit_terms import read_edits
from mimaface_cli.apps.grid import Axis, grid_size, parse_axes
from mimaface_cli.apps.outputs import check_target, is_video, keeps_alpha
from mimaface_cli.apps.sources import Moving, picture_size, read_portrait
from mimaface_cli.cache import Cache
from mimaface_cli.engines.mesh import renderer
from mimaface_cli.engines.mesh.edit_gain import EditGain
from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.files import check_output
from mimaface_cli.media.attachments import Attachments
from mimaface_cli.media.audio import AudioTrack
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.encoding import IMAGE_OUTPUT_SUFFIXES
from mimaface_cli.media.reader import probe
from mimaface_cli.media.video import MediaInfo
from mimaface_cli.media.writer import VideoWriter, open_writer
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_meta import TrackMeta
from mimaface_cli.progress import ProgressCallback
from mimaface_cli.provenance.stamp import Stamp, stamp


@dataclass(frozen=True)
class EditResult:
    """What was made: kind (track, picture, grid or video), frames, size and engine (None for a track), seconds of
    result and of work, how edits of a photo were scaled to be seen as asked, notes for the user, what was
    written of its provenance (None for a track).
    """

    output: Path
    kind: str
    space: str
    frames: int
    width: int | None
    height: int | None
    duration: float
    engine: str | None
    gains: list[EditGain]
    notes: list[str]
    provenance: dict[str, Any] | None
    seconds: float


def edit(
    source: Path,
    output: Path,
    options: EditOptions = EditOptions(),
    *,
    overwrite: bool = False,
    cache: Cache | None = None,
    report: ProgressCallback | None = None,
) -> EditResult:
    """Change the motion of `source` (track, photo or video) and write `output`: .npz, or pictures where the source has
    any. cache, report: as for animate. Raises InputError, OutputError or WeightsError, leaving nothing behind.
    """
    began = time.monotonic()
    tell = report or (lambda stage, done, total: None)
    notes: list[str] = []
    given = load_driver(source, ExtractOptions(options.face)).track if is_track(source) else None
    info = None if given else probe(source)
    kind = _kind(source, output, info, options)
    edits = read_edits(options, given.meta.space if given else "face478", notes)
    axes = parse_axes(options.grid)
    size = _check_output(output, kind, info, axes, options, overwrite, source)
    other = _load_other(options, cache, tell)
    if kind == "video" and info.kind == "image":
        options = still_length(edits, other, options)

    gains: list[EditGain] = []
    made: Stamp | None = None
    if info is not None and info.kind == "image":
        keep_alpha = kind != "grid" and keeps_alpha(output)
        portrait = read_portrait(source, options.animate, keep_alpha, notes)
    if kind == "track":
        if given is None and info.kind == "image":
            track = over_time(photo_track(portrait, info), edits, options, notes)
            track = track if other is None else mixed(track, other, options, notes)
        else:
            track = given or read_source(info, options, cache, tell).track
            track = edits.apply(retimed(track, other, options, notes), notes)
        replace(track, meta=_marked(track.meta)).save(output, overwrite)
        frames, seconds = len(track), track.duration
    else:
        sound = None
        if kind == "grid":
            moving, gains = photo_grid(portrait, info, edits, axes, options.cell, notes)
        elif info.kind == "image":
            moving, gains = from_photo(portrait, info, edits, other, options, notes)
        else:
            moving, gains = from_video(info, edits, other, options, cache, tell, notes)
            sound = AudioTrack(source) if info.has_audio and is_video(output) else None
        given_files = {"source": source, "mix": options.mix, "keys": options.keys_file}
        made = stamp(
            output,
            size,
            options.provenance,
            notes,
            command="edit",
            engine=renderer.NAME,
            inputs={part: path for part, path in given_files.items() if path is not None},
            weights=["face_landmarker", "face478"],
            asked=options,
            whole=False,
        )
        frames = len(moving.pts)
        seconds = write_frames(output, moving, size, options.encode, sound, made, tell, notes)
    space = given.meta.space if given else "face478"
    engine = None if kind == "track" else renderer.NAME
    took = time.monotonic() - began
    told = None if made is None else made.told
    return EditResult(output, kind, space, frames, *(size or (None, None)), seconds, engine, gains, notes, told, took)


def _check_output(
    output: Path,
    kind: str,
    info: MediaInfo | None,
    axes: list[Axis],
    options: EditOptions,
    overwrite: bool,
    source: Path,
) -> tuple[int, int] | None:
    """Width and height of what is drawn, None for a track. Raises OutputError where it cannot be written."""
    inputs = tuple(path for path in (source, options.mix, options.keys_file, options.bfm) if path is not None)
    if kind == "track":
        check_output(output, overwrite, inputs)
        return None
    size = grid_size(axes, options.cell) if kind == "grid" else picture_size(info, options.animate)
    frames = 1 if kind in ("picture", "grid") else None
    check_target(
        output, size, options.encode, frames=frames, overwrite=overwrite, inputs=inputs, provenance=options.provenance
    )
    return size


def _kind(source: Path, output: Path, info: MediaInfo | None, options: EditOptions) -> str:
    """What is to be made. Raises InputError or OutputError where the input cannot become that."""
    if info is not None and info.kind == "folder":
        raise InputError(f"{source}: is a folder; name a track, a photo or a video")
    moves = info is None or info.kind == "video"
    if moves and options.seconds is not None:
        raise InputError("--seconds: is for photos; --speed, --start and --duration change the length of a track")
    if not moves and (options.changes_time or options.strength != 1 or options.smooth):
        raise InputError(f"{source}: is a photo; --strength, --smooth, --speed, --start and --duration need motion")
    if options.grid:
        if is_track(output) or is_video(output) or moves:
            raise InputError("--grid: draws a photo into one picture; give a photo and -o grid.png")
        if options.keys or options.keys_file or options.mix:
            raise InputError("--grid: is a still; leave --key, --keys and --mix out")
        return "grid"
    if is_track(output):
        return "track"
    if info is None:
        raise OutputError(
            f"{output}: a track has no picture; write .npz, or use mimaface animate PHOTO {source} -o {output}"
        )
    if moves and options.changes_time:
        raise InputError("--speed, --start, --duration: a video keeps its own times; they are for tracks (-o .npz)")
    if moves:
        return "video"
    still = not output.is_dir() and output.suffix.lower() in IMAGE_OUTPUT_SUFFIXES and "%" not in output.name
    if still and (options.keys or options.keys_file or options.mix):
        raise InputError(f"{output}: keyframes and --mix move over time; write a video (.mp4) or a track (.npz)")
    if still and options.seconds is not None:
        raise InputError(f"--seconds: {output} is one picture; name a video (.mp4)")
    return "picture" if still else "video"


def _load_other(options: EditOptions, cache: Cache | None, tell: ProgressCallback) -> MotionTrack | None:
    if options.mix is None:
        return None
    report = lambda done, total: tell("reading the other", done, total)  # noqa: E731
    return load_driver(options.mix, ExtractOptions(), cache, report).track


def write_frames(
    output: Path,
    moving: Moving,
    size: tuple[int, int],
    encode: EncodeOptions,
    sound: AudioTrack | None,
    made: Stamp,
    tell: ProgressCallback,
    notes: list[str],
) -> float:
    """Draw and write all frames; the seconds they last."""
    pts = moving.pts - moving.pts[0]
    seconds = float(pts[-1]) + float(1 / moving.frame_rate)
    attachments = Attachments(made.tags, made.xmp, made.seal)
    writer = open_writer(
        output, *size, moving.frame_rate, options=encode, audio=sound, duration=seconds, attachments=attachments
    )
    frames = made.frames(moving.frames)
    try:
        with made, writer:
            for k, frame in enumerate(frames):
                writer.write(frame, float(pts[k]))
                tell("drawing", k + 1, len(pts))
    finally:
        frames.close()
        moving.frames.close()
    if isinstance(writer, VideoWriter) and writer.audio_damaged:
        notes.append("parts of the sound could not be read and are silent or missing")
    return seconds


def _marked(meta: TrackMeta) -> TrackMeta:
    """Marked as edited: the track no longer is what its extractor read."""
    return replace(meta, options={**meta.options, "edited": True})
