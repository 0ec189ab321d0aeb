"""`animate` from end to end: source and driver in, a finished file out."""

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.apps.drivers import Driver, is_track, load_driver, trimmed
from mimaface_cli.apps.matte import changed
from mimaface_cli.apps.outputs import check_target, is_video, keeps_alpha
from mimaface_cli.apps.side_by_side import panels, side_by_side
from mimaface_cli.apps.sources import Moving, from_photo, from_video, picture_size, read_portrait
from mimaface_cli.apps.speak import is_speech, load_speech, speech_options, speech_weights
from mimaface_cli.cache import Cache
from mimaface_cli.engines.selection import ASSETS, DIFFUSION, MESH, SPACES, Engine, choose_engine
from mimaface_cli.errors import InputError
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.media.attachments import Attachments
from mimaface_cli.media.audio import AudioTrack, has_audio
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.reader import probe
from mimaface_cli.media.timecode import advance_timecode
from mimaface_cli.media.timecode_tag import read_timecode
from mimaface_cli.media.trim import Trim
from mimaface_cli.media.video import MediaInfo
from mimaface_cli.media.writer import FrameWriter, VideoWriter, open_writer
from mimaface_cli.progress import ProgressCallback
from mimaface_cli.provenance.stamp import Stamp, stamp

if TYPE_CHECKING:
    from mimaface_cli.engines.diffusion.released import Diffused

MATTE = EncodeOptions()  # of a matte: the usual for its file's name


@dataclass(frozen=True)
class AnimateResult:
    """What was made and how: engine, why it was taken and what it ran with, frames, size, seconds of video and of work,
    where the sound is from and whether it went over untouched (None: no sound), driver frames without a face, notes for
    the user, what was written of its provenance.
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
    driver_cached: bool
    missing_frames: list[int]
    notes: list[str]
    provenance: dict[str, Any]
    seconds: float


def animate(
    source: Path,
    driver: Path,
    output: Path,
    options: AnimateOptions = AnimateOptions(),
    *,
    overwrite: bool = False,
    cache: Cache | None = None,
    report: ProgressCallback | None = None,
) -> AnimateResult:
    """Make the face of `source` (photo or video) move like `driver` (video, photo, folder, .npz), or speak it where it
    is a sound file, and write `output`.

    cache: where the driver's track is looked up and kept, None for nowhere. report: called with a stage's name, what
    is done and how much there is. Raises InputError, OutputError or WeightsError, leaving nothing behind.
    """
    began = time.monotonic()
    tell = report or (lambda stage, done, total: None)
    # All that can be told without long work comes first.
    sound = None if options.audio in ("driver", "none") else Path(options.audio)
    source_info = _probe_source(source)
    extract = ExtractOptions(options.driver_face, options.smooth, options.follow_skin)
    driven = load_driver(driver, extract, trim=options.trim) if is_track(driver) else None
    spoken = is_speech(driver)
    engine = choose_engine(
        options.engine,
        options.diffusion.device,
        moving=source_info.kind != "image",
        space=driven.track.meta.space if driven else None,
        name=str(driver),
        spoken=spoken,
    )
    if options.pose_from is not None and not spoken:
        raise InputError(f"{driver}: has its own head motion; --pose-from goes with a sound file as the driver")
    if driven:
        driven.track.require_space(engine.space, engine.name, str(driver))
    # mimaface-mini speaks the mesh engine's space: a warm start needs no second track.
    warm = engine.name == DIFFUSION and engine.mini is None and options.diffusion.settings.warm_start > 0
    if warm and driven:
        raise InputError(f"{driver}: is a track, but --warm-start needs the driver's pictures; leave one of them out")
    driver_info = probe(driver) if driven is None and not spoken else None
    # A photo that drives a video has no length: only the video is trimmed.
    still = driver_info is not None and driver_info.kind == "image" and source_info.kind != "image"
    trim = Trim() if still else options.trim
    size = picture_size(source_info, options)
    beside = panels(size, source_info, driver_info) if options.compare else None
    size = beside.size if beside else size
    count = len(driven.track) if driven else None if spoken else driver_info.frame_count
    check_target(
        output,
        size,
        options.encode,
        frames=count if source_info.kind == "image" else source_info.frame_count,
        overwrite=overwrite,
        inputs=(source, driver) if sound is None else (source, driver, sound),
        provenance=options.provenance,
    )
    if options.matte is not None:
        if options.matte.absolute() in (output.absolute(), output.absolute().parent):
            raise InputError(f"--matte {options.matte}: is where the result goes; choose another place")
        check_target(options.matte, size, MATTE, frames=count, overwrite=overwrite, inputs=(source, driver))
    if sound is not None and not has_audio(sound):
        raise InputError(f"{sound}: holds no sound; name a file with sound, or --audio driver or none")
    notes: list[str] = []
    keep_alpha = keeps_alpha(output) and not options.compare
    portrait = read_portrait(source, options, keep_alpha, notes) if source_info.kind == "image" else None

    def drive(space: str) -> Driver:
        if spoken:
            seed = options.diffusion.settings.seed
            speech = load_speech(driver, speech_options(space, source_info, seed, options.pose_from), cache, report)
            return trimmed(speech, options.trim)
        progress = lambda done, total: tell("reading the driver", done, total)  # noqa: E731
        return load_driver(driver, extract, cache, progress, driver_info, space, trim)

    driven = driven or drive(engine.space)
    if driven.missing:
        notes.append(f"{len(driven.missing)} driver frames show no face and were filled in")
    diffused: Diffused | None = None
    if portrait is None:
        moving = from_video(source_info, driven.track, options, cache, tell)
    elif engine.mini is not None:
        from mimaface_cli.engines.diffusion import small as mini

        diffused = mini.from_photo(engine.mini, portrait, driven.track, options, cache, tell)
        moving = diffused.moving
    elif engine.name == DIFFUSION:
        from mimaface_cli.engines.diffusion import released as diffuse

        other = drive(SPACES[MESH]) if warm else None
        diffused = diffuse.from_photo(portrait, driven.track, options, cache, tell, other and other.track)
        moving = diffused.moving
    else:
        moving = from_photo(portrait, driven.track, options)
    begins = float(moving.pts[0]) if portrait is None else driven.start
    if beside is not None:
        starts = [driven.start if info is driver_info else begins for info in beside.inputs]
        moving = replace(moving, frames=side_by_side(moving.frames, beside, moving.pts, starts))
    track, said = _sound(driven, sound, options.audio, is_video(output), notes)
    given = {"source": source, "driver": driver, "audio": sound, "pose": options.pose_from}
    made = stamp(
        output,
        size,
        options.provenance,
        notes,
        command="animate",
        engine=engine.name,
        inputs={part: path for part, path in given.items() if path is not None},
        weights=_weights(engine, spoken, warm),
        asked=options if engine.name == DIFFUSION else replace(options, diffusion=None),
        whole=engine.name == DIFFUSION and beside is None,
    )
    code = (
        _timecode(source if portrait is None else driver, begins, moving.frame_rate, notes) if is_video(output) else {}
    )
    seconds, copied = _write(output, moving, size, options, track, made, code, notes, tell)
    if diffused:
        diffused.finished()
        notes += diffused.work.notes
    return AnimateResult(
        output=output,
        engine=engine.name,
        engine_reason=engine.reason,
        engine_settings=diffused.facts if diffused else {},
        frames=len(moving.pts),
        width=size[0],
        height=size[1],
        frame_rate=moving.frame_rate,
        duration=seconds,
        audio=said,
        audio_copied=copied,
        driver_cached=driven.cached,
        missing_frames=driven.missing,
        notes=notes,
        provenance=made.told,
        seconds=time.monotonic() - began,
    )


def _write(
    output: Path,
    moving: Moving,
    size: tuple[int, int],
    options: AnimateOptions,
    sound: AudioTrack | None,
    made: Stamp,
    timecode: dict[str, str],
    notes: list[str],
    tell: ProgressCallback,
) -> tuple[float, bool | None]:
    """Draw and encode all frames and their matte. Returns the seconds they last and whether the sound went over
    untouched.
    """
    pts, rate = moving.pts - moving.pts[0], moving.frame_rate
    seconds = float(pts[-1]) + float(1 / rate)
    attachments = Attachments({**(made.tags or {}), **timecode}, made.xmp, made.seal)
    writer = open_writer(
        output, *size, rate, options=options.encode, audio=sound, duration=seconds, attachments=attachments
    )
    matte, frames = None, moving.frames
    if options.matte is not None:
        tags = Attachments(made.tags)
        matte = open_writer(options.matte, *size, rate, options=MATTE, duration=seconds, attachments=tags)
        frames = _with_matte(moving, pts, matte)  # of the frames as drawn: the mark is everywhere
    frames = made.frames(frames)
    try:
        # The matte is put in its place first, then the record, then the result: where that is, all is.
        with made, writer, matte or nullcontext():
            for k, frame in enumerate(frames):
                writer.write(frame, float(pts[k]))
                tell("animating", k + 1, len(pts))
    finally:
        frames.close()
        moving.frames.close()
    if not isinstance(writer, VideoWriter):
        return seconds, None
    if writer.audio_damaged:
        notes.append("parts of the sound could not be read and are silent or missing")
    return seconds, writer.audio_copied


def _with_matte(moving: Moving, pts: np.ndarray, matte: FrameWriter) -> Iterator[np.ndarray]:
    """The frames, each after its matte is written."""
    for k, frame in enumerate(moving.frames):
        matte.write(np.repeat(changed(frame, next(moving.originals))[..., None], 3, axis=2), float(pts[k]))
        yield frame


def _weights(engine: Engine, spoken: bool, warm: bool) -> list[str | Path]:
    """All that has a part in the result: registry names, and files that have none."""
    if engine.mini is not None:
        speech = ["speech478"] if spoken else []
        return ["face_landmarker", "face478", *speech, *sorted(engine.mini.glob("*.safetensors"))]
    if engine.name == DIFFUSION:
        return ["face_landmarker", *ASSETS, *([speech_weights()] if spoken else []), *(["face478"] if warm else [])]
    return ["face_landmarker", "face478", *(["speech478"] if spoken else [])]


def _timecode(path: Path, start: float, rate: Fraction, notes: list[str]) -> dict[str, str]:
    """The timecode of the first frame made, where the video that is followed in time has one."""
    if is_track(path) or (found := read_timecode(path)) is None:
        return {}
    try:
        return {"timecode": advance_timecode(found, round(start * rate), rate)}
    except InputError as error:
        notes.append(f"the timecode was left out ({error})")
        return {}


def _probe_source(source: Path) -> MediaInfo:
    if is_track(source):
        raise InputError(f"{source}: is a track; the source is one photo or one video, the track its driver")
    if source.is_dir():
        raise InputError(f"{source}: is a folder; the source is one photo or one video")
    return probe(source)


def _sound(
    driven: Driver, given: Path | None, wanted: str, heard: bool, notes: list[str]
) -> tuple[AudioTrack | None, str]:
    """The result's sound and what to call it. heard: whether the output can carry any."""
    if not heard:
        if given is not None:
            notes.append("pictures carry no sound")
        return None, "none"
    if given is not None:
        # A track has no sound of its own: what is given is that of the whole track. Else it is other sound.
        return AudioTrack(given, driven.start if driven.kind == "track" else 0.0), str(given)
    if wanted == "driver" and driven.has_audio:
        return AudioTrack(driven.path, driven.start), "driver"
    if wanted == "driver" and driven.kind == "track":
        notes.append("a track carries no sound; add --audio FILE for it")
    return None, "none"
