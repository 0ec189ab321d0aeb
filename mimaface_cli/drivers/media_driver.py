"""Videos, photos and folders of frames as drivers: their motion is extracted once and cached."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import astuple, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

from mimaface_cli.cache import Cache, Cached, get_or_create
from mimaface_cli.drivers.base import Driver, DriverInfo, DriverRequest
from mimaface_cli.drivers.track_driver import is_track, load_track_driver
from mimaface_cli.errors import InputError
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.media.reader import Frame, probe, read_frames
from mimaface_cli.media.size_changes import SizeChange, describe_size_changes, find_size_changes
from mimaface_cli.media.trim import Trim
from mimaface_cli.media.video import MediaInfo
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_cache import TRACKS, track_key
from mimaface_cli.motion.track_meta import BFM09, FACE478
from mimaface_cli.progress import ProgressCallback

_TIMING_REVISION = 2  # part of the cache key: increase it when the times of frames change
_SAME_DURATION = 0.05  # relative difference of a frame's duration from the nominal one
_SHORTEST_LAST = 0.25  # of a nominal duration; some writers give the last frame an instant

_SIZES = "size_changes"  # name of the changes of the frame size in the options of tracks

FrameProgress = Callable[[int, int | None], None]
"""Called with the frames that are done and their total, which is None if it is unknown."""


class MediaDriver:
    """A video, a photo or a folder of frames."""

    def accepts(self, path: Path) -> bool:
        """Return True: paths that no other kind accepts are read as frames."""
        return True

    def inspect(self, path: Path) -> DriverInfo:
        """Describe the frames. Raises InputError if none can be read."""
        info = probe(path)
        return DriverInfo(path, info.kind, frame_count=info.frame_count, media=info)

    def load(self, request: DriverRequest) -> Driver:
        """Extract the motion, or load it from the cache. Raises InputError or WeightsError."""

        def progress(done: int, total: int | None) -> None:
            request.progress("extracting the driver's motion", done, total)

        info = None if request.info is None else request.info.media
        return load_driver(
            request.path,
            request.extract,
            request.cache,
            progress,
            info,
            request.space,
            request.trim,
            device=request.device,
        )


def load_driver(
    path: Path,
    options: ExtractOptions,
    cache: Cache | None = None,
    progress: FrameProgress | None = None,
    info: MediaInfo | None = None,
    space: str = FACE478,
    trim: Trim = Trim(),
    *,
    device: str = "auto",
) -> Driver:
    """Return the motion of a video, a photo, a folder of frames or a track file.

    Args:
        path: File or folder.
        options: Options of the extraction; a track file ignores them.
        cache: Where the track is looked up and stored, or None.
        progress: Called after each frame.
        info: Description of the frames, if the caller has it already.
        space: Coefficient space to extract; a track file keeps its space.
        trim: Span to use; the times of the track stay those of the whole input.
        device: Device of the released coefficient network, as in `DriverRequest`.

    Raises:
        InputError: Nothing can be read, no frame shows the face, or the span is empty.
        WeightsError: The networks of the space are not installed.
    """
    if is_track(path):
        return load_track_driver(path).trimmed(trim)
    from mimaface_cli.face.extract_face478 import extraction_settings

    info = info or probe(path)
    span = _span(info, trim) | ({} if info.scan == "progressive" else {"deinterlace": info.deinterlace})
    extractor = _EXTRACTORS[space]()
    if space != FACE478 or info.kind == "image":
        options = replace(options, skin=False)
    settings = extraction_settings(options) | span | {"timing": _TIMING_REVISION}
    on_frame = _frame_progress(progress, _count_frames(info, span))

    def create(content: str) -> MotionTrack:
        with closing(read_frames(path, **span)) as frames:
            timed = _TimedFrames(frames)
            source = _InputFrames(timed, info.frame_rate, str(path), content, on_frame, device)
            track = extractor.extract(source, options)
        last_duration = timed.unusual_duration(info.frame_rate)
        changes = {_SIZES: [astuple(change) for change in find_size_changes(path)] if info.kind == "video" else []}
        settings = track.meta.options | {name: found for name, found in changes.items() if found}
        return replace(track, meta=replace(track.meta, options=settings, last_duration=last_duration))

    result = get_or_create(
        cache,
        TRACKS,
        path,
        make_key=lambda content: track_key(content, space, extractor.name, settings),
        create=create,
        on_wait=lambda: on_frame("", 0, None),
    )
    start = float(result.value.pts[0]) if trim else 0.0
    return _describe_driver(path, info, result, start)


def _describe_driver(path: Path, info: MediaInfo, result: Cached[MotionTrack], start: float) -> Driver:
    return Driver(
        track=result.value,
        path=path,
        kind=info.kind,
        was_cached=result.was_cached,
        is_cached=result.is_cached,
        has_audio=info.has_audio,
        start=start,
        notes=info.notes + describe_size_changes(path.name, _stored_changes(result.value)),
        is_truncated=info.is_truncated,
    )


def _stored_changes(track: MotionTrack) -> list[SizeChange]:
    """Return the changes of the frame size that `load_driver` found when it extracted a track."""
    return [SizeChange(*values) for values in track.meta.options.get(_SIZES, ())]


def _frame_progress(progress: FrameProgress | None, count: int | None) -> ProgressCallback:
    def on_frame(stage: str, done: int, total: int | None) -> None:
        if progress is not None:
            progress(done, count)

    return on_frame


def _count_frames(info: MediaInfo, span: dict[str, Any]) -> int | None:
    """Return the number of frames in a span, as far as it is known before they are read."""
    count, rate = info.frame_count, float(info.frame_rate)
    if count is None or "start" not in span:
        return count
    count = max(1, count - round(span["start"] * rate))
    return count if span["duration"] is None else max(1, min(count, round(span["duration"] * rate)))


def _span(info: MediaInfo, trim: Trim) -> dict[str, Any]:
    """Return the arguments of `read_frames` for a span. Raises InputError if the input does not cover it."""
    if trim and info.kind == "image":
        raise InputError(f"{info.path}: is a single image. Leave out `start` and `duration`.")
    start, duration = trim.seconds(info.frame_rate)
    if info.duration is not None and start >= info.duration:
        raise InputError(f"{info.path}: ends before `start` ({start:g} s). It lasts {info.duration:.2f} s.")
    return {"start": start, "duration": duration} if trim else {}


class _TimedFrames:
    """Frames that remember the duration of the last one."""

    def __init__(self, frames: Iterable[Frame]) -> None:
        self._frames = frames
        self._last_duration = 0.0  # seconds

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._frames:
            self._last_duration = frame.duration
            yield frame

    def unusual_duration(self, rate: Fraction) -> float | None:
        """Return the duration of the last frame in seconds, or None if it is nominal or too short to be meant."""
        share = self._last_duration * float(rate)
        return None if share < _SHORTEST_LAST or abs(share - 1) < _SAME_DURATION else self._last_duration


@dataclass(frozen=True)
class _InputFrames:
    """Frames to extract motion from, what is known of their input (rate, name for errors, content hash), the device."""

    frames: Iterable[Any]
    rate: Fraction
    name: str
    content: str
    progress: ProgressCallback
    device: str


class _Extractor(Protocol):
    name: str

    def extract(self, frames: _InputFrames, options: ExtractOptions) -> MotionTrack: ...


class _Face478Extractor:
    """MediaPipe's landmarks, fitted by the embedded face model."""

    def __init__(self) -> None:
        from mimaface_cli.face import extract_face478, face478

        self._model = face478.load()
        self.name = f"{extract_face478.EXTRACTOR} {extract_face478.extractor_version(self._model)}"

    def extract(self, frames: _InputFrames, options: ExtractOptions) -> MotionTrack:
        from mimaface_cli.face.extract_face478 import extract_video

        return extract_video(
            frames.frames,
            frames.rate,
            self._model,
            options,
            frames.name,
            frames.progress,
            source_hash=frames.content,
        )


class _Bfm09Extractor:
    """The release's D3DFR network, loaded only if a track must be extracted."""

    def __init__(self) -> None:
        from mimaface_cli.engines.diffusion import checkpoint
        from mimaface_cli.face import extract_bfm09

        version = checkpoint.fingerprint_weights("mimaface/d3dfr.safetensors")
        self.name = f"{extract_bfm09.EXTRACTOR} {extract_bfm09.REVISION}+{version}"

    def extract(self, frames: _InputFrames, options: ExtractOptions) -> MotionTrack:
        from mimaface_cli.engines.diffusion import checkpoint
        from mimaface_cli.engines.diffusion.device import CPUFallback, find_accelerator, resolve_device
        from mimaface_cli.face import extract_bfm09

        net, version = checkpoint.load_coefficient_net()
        # "auto" without a GPU is the CPU here: the network is small.
        is_cpu = frames.device == "auto" and find_accelerator() is None
        device = resolve_device("cpu" if is_cpu else frames.device)
        return extract_bfm09.extract_video(
            frames.frames,
            frames.rate,
            CPUFallback(net, device),
            version,
            options,
            frames.name,
            frames.progress,
            source_hash=frames.content,
        )


_EXTRACTORS: dict[str, Callable[[], _Extractor]] = {FACE478: _Face478Extractor, BFM09: _Bfm09Extractor}
