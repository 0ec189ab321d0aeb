"""Anything that drives becomes a MotionTrack, made once and kept in the cache."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mimaface_cli.cache import Cache, cache_key, content_hash, source_stamp
from mimaface_cli.errors import InputError
from mimaface_cli.face import face478
from mimaface_cli.face.extract_face478 import EXTRACTOR, extract_video, extraction_settings, extractor_version
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.media.reader import probe, read_frames
from mimaface_cli.media.trim import Trim
from mimaface_cli.media.video import MediaInfo
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.transforms import trim_track

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Driver:
    """track; path it came from; kind: image, video, folder or track; cached: whether the track was there already;
    kept: whether it is in the cache now; has_audio: whether the driver carries sound; start: seconds of it that were
    trimmed off; missing: frames without the face, filled in the track.
    """

    track: MotionTrack
    path: Path
    kind: str
    cached: bool
    kept: bool
    has_audio: bool
    start: float = 0.0

    @property
    def missing(self) -> list[int]:
        return np.flatnonzero(~self.track.valid).tolist()


def is_track(path: Path) -> bool:
    """Whether a name is that of a track file."""
    return path.suffix.lower() == ".npz"


def load_driver(
    path: Path,
    options: ExtractOptions,
    cache: Cache | None = None,
    progress: Progress | None = None,
    info: MediaInfo | None = None,
    space: str = "face478",
    trim: Trim = Trim(),
) -> Driver:
    """The motion of a video, photo, folder of frames or .npz track. cache: None keeps and looks up nothing; info: what
    `probe` says of the path, where the caller has asked already; space: of the coefficients, where they are read from
    pictures (a track has its own). trim: what is taken of it; the track's times stay those of the whole.

    Raises InputError when nothing can be read from it or no frame shows the face, WeightsError when the space's
    networks are not installed.
    """
    if is_track(path):
        return trimmed(Driver(MotionTrack.load(path), path, "track", True, False, False), trim)
    info = info or probe(path)
    if trim and info.kind == "image":
        raise InputError(f"{path}: is one picture; --start and --duration go with what has a length")
    start, duration = trim.seconds(info.frame_rate)
    if info.duration is not None and start >= info.duration:
        raise InputError(f"{path}: ends before --start {start:g} s; it is {info.duration:.2f} s long")
    part = {"start": start, "duration": duration} if trim else {}
    driver = lambda track, cached, kept: Driver(  # noqa: E731
        track, path, info.kind, cached, kept, info.has_audio, float(track.pts[0]) if trim else 0.0
    )
    reader = _READERS[space]()
    if space != "face478" or info.kind == "image":
        options = replace(options, skin=False)
    before = source_stamp(path)
    content = content_hash(path)
    key = cache_key(content, space, reader.extractor, extraction_settings(options) | part)
    track = cache.load_track(key) if cache is not None else None
    if track is not None:
        return driver(track, True, True)
    report = (lambda done, total: None) if progress is None else progress
    with nullcontext() if cache is None else cache.making(key, lambda: report(0, info.frame_count)):
        track = cache.load_track(key) if cache is not None else None  # made by another run meanwhile?
        if track is not None:
            return driver(track, True, True)
        frames = read_frames(path, **part)
        try:
            told = lambda stage, done, total: report(done, info.frame_count)  # noqa: E731
            track = reader.read(frames, info.frame_rate, options, str(path), told, content)
        finally:
            frames.close()
        kept = cache is not None and source_stamp(path) == before and cache.store_track(key, track, path.name)
    return driver(track, False, kept)


def trimmed(driver: Driver, trim: Trim) -> Driver:
    """The part of a driver, counted from its first frame. Raises InputError where it holds none."""
    if not trim:
        return driver
    track = driver.track
    kept = trim_track(track, *trim.seconds(track.frame_rate))
    return replace(driver, track=kept, start=float(kept.pts[0] - track.pts[0]))


class _Face478:
    """MediaPipe's landmarks fitted by the embedded model."""

    def __init__(self) -> None:
        self._model = face478.load()
        self.extractor = f"{EXTRACTOR} {extractor_version(self._model)}"

    def read(self, frames, rate, options, name, progress, content) -> MotionTrack:
        return extract_video(frames, rate, self._model, options, name, progress, source_hash=content)


class _Bfm09:
    """The release's network; loaded only where a track has to be made."""

    def __init__(self) -> None:
        from mimaface_cli.engines.diffusion import checkpoint
        from mimaface_cli.face import extract_bfm09

        self._version = checkpoint.fingerprint_weights("mimaface/d3dfr.safetensors")
        self.extractor = f"{extract_bfm09.EXTRACTOR} {extract_bfm09.REVISION}+{self._version}"

    def read(self, frames, rate, options, name, progress, content) -> MotionTrack:
        import torch

        from mimaface_cli.engines.diffusion import checkpoint
        from mimaface_cli.face import extract_bfm09

        net, version = checkpoint.load_coefficient_net()
        net.to("cuda" if torch.cuda.is_available() else "cpu")
        return extract_bfm09.extract_video(frames, rate, net, version, options, name, progress, source_hash=content)


_READERS = {"face478": _Face478, "bfm09": _Bfm09}
