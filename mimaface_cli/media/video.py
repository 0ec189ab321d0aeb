"""Decoding one video file: its shown frames in order, its rate, and where it is damaged."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from mimaface_cli.errors import InputError
from mimaface_cli.media.color import RgbReader
from mimaface_cli.media.libav import DAMAGE, MAX_PIXELS, audio_stream, open_input, packets, too_large, video_stream

FALLBACK_RATE = Fraction(25)
"""Frames per second of a video whose header has no believable rate."""

_BELIEVABLE = (Fraction(1, 10), Fraction(1000))
_SEEKS_FROM = 2.0  # seconds; what comes before is decoded as fast as a key frame is found
_TIMED_PACKETS = 512  # how much of a video is looked at to tell constant from variable rate
_REORDER = 32  # the last of those packets may lack earlier-shown neighbors that come later in the file
_FULL_COUNT = 0.98  # some headers count frames that were dropped in recording
_MISSING_SECONDS = 0.5  # a Matroska file that ends this much before its header says so was cut short


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What a driver or source is, known without decoding it all.

    `width` and `height` are those of the frames that come out: upright, square pixels. `frame_rate` is exact
    (30000/1001 stays that) and nominal where `variable_rate`, which is judged by the first seconds and None where
    the file has no times. `frame_count` is an estimate, None when the header has no word of it.
    """

    path: Path
    kind: Literal["image", "video", "folder"]
    width: int
    height: int
    frame_rate: Fraction
    frame_count: int | None
    duration: float | None
    variable_rate: bool | None
    has_audio: bool
    codec: str
    pixel_format: str


def shown_frames(
    container: InputContainer, stream: VideoStream, path: Path, whole: bool = True
) -> Iterator[VideoFrame]:
    """Decode every shown frame of `stream`, in presentation order. whole: from its beginning, not after seeking.

    What comes before the first clean frame is passed over, as players do with a recording that starts between two
    key frames. From there on a frame that cannot be decoded cleanly, or an early end, raises InputError.
    """
    stream.thread_type = "AUTO"
    _check_index(container, stream, path)
    count = coded = 0
    seconds = 0.0
    for packet in _packets(container, path):
        if packet.pts is not None:
            seconds = max(seconds, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream.index != stream.index:  # the empty last packets have no `stream_index` of their own
            continue
        coded += packet.size > 0
        try:
            frames = packet.decode()
        except DAMAGE as error:
            if count:
                raise _damaged(path, count, packet) from error
            continue
        for frame in frames:
            if frame.is_corrupt:
                if count:
                    raise _damaged(path, count, packet)
                continue
            if frame.width * frame.height > MAX_PIXELS:
                raise InputError(f"{path}: {too_large(frame.width, frame.height)}")
            count += 1
            yield frame
    if not count:
        raise InputError(f"{path}: no picture in it can be decoded; re-encode it or choose another")
    _check_index(container, stream, path)
    _check_length(container, stream, path, coded if whole else stream.frames, seconds)


def timed_images(path: Path, start: float = 0.0) -> Iterator[tuple[np.ndarray, float]]:
    """Yield (HxWx3 uint8 RGB upright contiguous, seconds since the first shown frame, strictly growing), of the frames
    from `start` seconds on.
    """
    with open_input(path) as container:
        stream = video_stream(container, path)
        reader: RgbReader | None = None
        step = float(1 / _header_rates(stream)[0])
        origin = _seek(container, stream, path, start) if start > _SEEKS_FROM else None
        last = -step
        for frame in shown_frames(container, stream, path, whole=origin is None):
            seconds = last + step  # for a frame without a time of its own, or out of order
            if frame.pts is not None:
                stamp = float(frame.pts * stream.time_base)
                if origin is None:
                    origin = stamp - seconds
                if stamp - origin > last:
                    seconds = stamp - origin
            if seconds < start:
                last = seconds
                continue
            if reader is None:
                reader = _rgb_reader(frame, stream, path)
            try:
                image = reader.convert(frame)
            except DAMAGE as error:
                raise InputError(
                    f"{path}: pixel format {frame.format.name} cannot be converted; re-encode it as yuv420p"
                ) from error
            yield image, seconds
            last = seconds


def _seek(container: InputContainer, stream: VideoStream, path: Path, start: float) -> float | None:
    """Move to the last key frame at or before `start` seconds. Returns the first shown frame's time on the file's own
    clock; None where the file gives no way to be sure of the frame, and nothing was moved.
    """
    with open_input(path) as other:
        origin = next(shown_frames(other, video_stream(other, path), path)).pts
    if origin is None:
        return None
    target = origin + int(start / stream.time_base)
    with open_input(path) as other:
        trial = video_stream(other, path)
        try:
            other.seek(target, stream=trial, backward=True)
            found = next(shown_frames(other, trial, path, whole=False)).pts
        except (*DAMAGE, InputError):
            return None
    if found is None or not origin <= found <= target:
        return None
    container.seek(target, stream=stream, backward=True)
    return float(origin * stream.time_base)


def describe(path: Path) -> MediaInfo:
    """`mimaface_cli.media.reader.probe` for a video file. Raises InputError."""
    with open_input(path) as container:
        stream = video_stream(container, path)
        rate, variable = _rate(stream, _shown_times(container, stream, path))
        duration = None
        if stream.duration:
            duration = float(stream.duration * stream.time_base)
        elif container.duration:
            duration = container.duration / 1e6
        count = stream.frames or None
        if count:
            count -= sum(entry.is_discard for entry in stream.index_entries)
        elif duration:
            count = round(duration * rate)
        has_audio = audio_stream(container) is not None
    # Opened anew: not every format can be wound back.
    with open_input(path) as container:
        stream = video_stream(container, path)
        first = next(shown_frames(container, stream, path))
        width, height = _rgb_reader(first, stream, path).size
        codec = stream.codec_context.codec.canonical_name
        return MediaInfo(
            path, "video", width, height, rate, count, duration, variable, has_audio, codec, first.format.name
        )


def _packets(container: InputContainer, path: Path) -> Iterator[Packet]:
    try:
        yield from packets(container)
    except DAMAGE as error:
        raise InputError(f"{path}: is damaged and cannot be read to its end; get the whole file") from error


def _rgb_reader(first: VideoFrame, stream: VideoStream, path: Path) -> RgbReader:
    reader = RgbReader(first, stream.sample_aspect_ratio)
    width, height = reader.size
    if width * height > MAX_PIXELS:
        raise InputError(f"{path}: {too_large(width, height)}")
    return reader


def _check_index(container: InputContainer, stream: VideoStream, path: Path) -> None:
    """Raise InputError when an MP4's own index, which grows while a fragmented one is read, points behind its end."""
    if "mov" in container.format.name:
        size = path.stat().st_size
        end = max((entry.pos + entry.size for entry in stream.index_entries), default=0)
        if end > size:
            raise InputError(f"{path}: is cut short, {size} of at least {end} bytes are there; get the whole file")


def _check_length(container: InputContainer, stream: VideoStream, path: Path, coded: int, seconds: float) -> None:
    """Raise InputError when a video that was read to its end is clearly shorter than its header says."""
    if coded < _FULL_COUNT * stream.frames:
        raise InputError(f"{path}: is cut short, {coded} of {stream.frames} frames are there; get the whole file")
    declared = (container.duration or 0) / 1e6
    if "matroska" in container.format.name and seconds < declared - _MISSING_SECONDS:
        raise InputError(f"{path}: is cut short, {seconds:.1f} of {declared:.1f} s are there; get the whole file")


def _damaged(path: Path, count: int, packet: Packet) -> InputError:
    where = "" if packet.pts is None else f" near {float(packet.pts * packet.time_base):.2f} s"
    return InputError(f"{path}: is damaged{where} (frame {count} cannot be decoded); re-encode it, or cut it there")


def _shown_times(container: InputContainer, stream: VideoStream, path: Path) -> list[int]:
    """The first presentation times, in order, in ticks of the stream."""
    times: list[int] = []
    cut = 0
    for packet in _packets(container, path):
        if packet.stream.index == stream.index and packet.pts is not None and not packet.is_discard:
            times.append(packet.pts)
            if len(times) == _TIMED_PACKETS:
                cut = _REORDER
                break
    return sorted(times)[: len(times) - cut]


def _header_rates(stream: VideoStream) -> list[Fraction]:
    """Believable rates from the header, never empty; whole and NTSC rates first, as the others may be estimates."""
    rates = [stream.average_rate, stream.guessed_rate, stream.base_rate]
    rates = [rate for rate in rates if rate and _BELIEVABLE[0] <= rate <= _BELIEVABLE[1]]
    return sorted(rates, key=lambda rate: rate.denominator not in (1, 1001)) or [FALLBACK_RATE]


def _rate(stream: VideoStream, times: list[int]) -> tuple[Fraction, bool | None]:
    """(nominal rate, is it variable), the latter None without times. Constant: all times on the grid i / rate."""
    rates = _header_rates(stream)
    if not times:
        return rates[0], None
    tolerance = max(stream.time_base, Fraction(1, 1000))  # coarse time bases round
    seconds = [(time - times[0]) * stream.time_base for time in times]
    for rate in rates:
        if all(abs(second - index / rate) <= tolerance for index, second in enumerate(seconds)):
            return rate, False
    average = stream.average_rate
    return average if average in rates else rates[0], True
