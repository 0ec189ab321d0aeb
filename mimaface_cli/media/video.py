"""Decoding of video files: the frames shown, in order, their rate, and checks for damaged and truncated files."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Literal

import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from mimaface_cli.errors import InputError
from mimaface_cli.media.audio_streams import audio_stream
from mimaface_cli.media.clock import demux_continuous, may_jump, scan_clock, stated_end
from mimaface_cli.media.color import RgbConverter, is_hdr
from mimaface_cli.media.color_space import ColorSpace, color_space
from mimaface_cli.media.completeness import PacketSummary, check_last_frame, check_length, damage_error, is_cut_short
from mimaface_cli.media.deep_frame import DeepConverter, DeepFrame, format_depth, is_deep_format
from mimaface_cli.media.deinterlace_option import FRAME, OFF
from mimaface_cli.media.frame_rates import header_rates, measure_rate
from mimaface_cli.media.interlacing import (
    SCANNED_FRAMES,
    Deinterlacer,
    Scan,
    detect_scan,
    may_be_interlaced,
)
from mimaface_cli.media.libav import (
    DECODE_ERRORS,
    alpha_decoder,
    check_pixel_count,
    flush_decoder,
    open_input,
    time_base,
    video_stream,
)
from mimaface_cli.media.stream_notes import describe_unused_streams
from mimaface_cli.media.video_extent import describe_start, measure_extent

_MAX_DURATION = 86_400.0  # seconds of one frame
_MIN_SEEK_START = 2.0  # seconds; decoding this much is as fast as a seek to a key frame
_NO_FRAME = "no frame can be decoded. Re-encode the video or choose another."
_TIMED_PACKETS = 512  # number of packets that decide whether the rate is constant
_REORDER = 32  # number of last times that are ignored: later packets may be shown before them

TimedImage = tuple[np.ndarray, np.ndarray | None, float, float, DeepFrame | None]
"""A frame (H, W, 3), its alpha (H, W) or None, its time and duration in seconds, and its deep frame or None."""


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """Description of a video, image or folder of images that is known without decoding all of it.

    Args:
        path: File or folder.
        kind: Kind of input.
        width: Width of the decoded frames (upright, square pixels).
        height: Height of the decoded frames.
        frame_rate: Exact frame rate (30000/1001 stays that); nominal if the rate is variable.
        frame_count: Estimated number of frames, or None if the header has no hint.
        duration: Duration in seconds, or None if unknown.
        variable_rate: Whether the rate varies in the first seconds, or None if the file has no timestamps.
        has_audio: Whether there is audio.
        codec: FFmpeg name of the video codec, or suffix of the images.
        pixel_format: FFmpeg name of the pixel format.
        notes: Notes for the user about what was repaired and converted.
        repairs: Those of the notes that are about a damaged file or clock.
        is_truncated: Whether frames are missing at the end.
        scan: "progressive", "interlaced" or "telecined", before deinterlacing.
        deinterlace: How interlaced frames are read: "frame" or "field" rate, or "off".
        has_alpha: Whether the first frame is transparent anywhere.
        is_hdr: Whether the colors are HDR (PQ or HLG).
        depth: Bits per channel.
        deep_space: Color space of the frames with all their bits (`read_frames` with `is_deep`); None if they are SDR
            with 8 bits, or if only 8 bits can be read.
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
    notes: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()
    is_truncated: bool = False
    scan: str = "progressive"
    deinterlace: str = FRAME
    has_alpha: bool = False
    is_hdr: bool = False
    depth: int = 8
    deep_space: ColorSpace | None = None

    def check_strict(self, strict: bool) -> "MediaInfo":
        """Return the description. Raises InputError if `strict` is set and the file is damaged."""
        if strict and self.repairs:
            raise InputError(f"{self.repairs[0]}. Get the complete file, or leave out `strict`.")
        return self


def decode_frames(
    container: InputContainer, stream: VideoStream, path: Path, from_start: bool = True
) -> Iterator[VideoFrame]:
    """Decode every frame that is shown, in presentation order.

    Frames before the first one that decodes cleanly are skipped, as players do for a recording that starts between two
    key frames. A file that was cut short gives the frames that it holds completely; `probe_video` reports it.

    Args:
        container: Open file.
        stream: Its video stream.
        path: Path of the file, for errors.
        from_start: Whether decoding starts at the beginning of the file, not after a seek.

    Raises:
        InputError: If a later frame cannot be decoded cleanly, or the file ends early.
    """
    decoder = alpha_decoder(stream) or stream.codec_context
    if not decoder.is_open:
        decoder.thread_type = "AUTO"
    cut_short = is_cut_short(container, path)
    count = 0
    packets = PacketSummary(stream.index)
    last: VideoFrame | None = None
    for packet in _complete_packets(container, stream, path) if cut_short else _demux(container, path):
        packets.add(packet)
        if packet.stream.index != stream.index:  # the empty packets at the end have no valid `stream_index`
            continue
        for frame in _decode_packet(decoder, packet, path, count):
            check_pixel_count(path, frame.width, frame.height)
            count += 1
            last = frame
            yield frame
    if cut_short or is_cut_short(container, path):  # the index of a fragmented MP4 grows while it is read
        for frame in flush_decoder(decoder):
            count += 1
            yield frame
        packets.count = stream.frames
    if last is None and not count:
        reason = "cut short, it holds no complete frame. Get the complete file." if cut_short else _NO_FRAME
        raise InputError(f"{path}: {reason}")
    if not cut_short:
        check_length(container, stream, path, packets.count if from_start else stream.frames, packets.end)
        check_last_frame(path, last, count, packets.last)


def _complete_packets(container: InputContainer, stream: VideoStream, path: Path) -> Iterator[Packet]:
    """Yield the packets of a file that was cut short, up to the first that is not complete."""
    with suppress(InputError):
        for packet in _demux(container, path):
            if packet.is_corrupt and packet.stream.index == stream.index:
                return
            yield packet


def _decode_packet(decoder: VideoCodecContext, packet: Packet, path: Path, count: int) -> Iterator[VideoFrame]:
    """Decode a packet after `count` frames; skip damaged frames before the first clean one, raise for later ones."""
    try:
        frames = decoder.decode(packet)
    except DECODE_ERRORS as error:
        if count:
            raise damage_error(path, count, packet) from error
        return
    for frame in frames:
        if not frame.is_corrupt:
            yield frame
            count += 1
        elif count:
            raise damage_error(path, count, packet)


def decode_rgb_frames(
    path: Path, start: float = 0.0, deinterlace: str = FRAME, is_deep: bool = False
) -> Generator[TimedImage, None, None]:
    """Decode the frames of a video as upright RGB arrays.

    Args:
        path: Video file.
        start: Time of the first frame to decode, in seconds since the first frame of the video.
        deinterlace: How interlaced frames are read: "frame" or "field" rate, or "off".
        is_deep: Whether to provide the frames with all their bits; the arrays then are their previews.

    Yields:
        A frame (H, W, 3), uint8, C-contiguous, its alpha (H, W) uint8 or None, its time in seconds since the first
        frame of the video, its duration in seconds, and the frame with all its bits or None. Times increase strictly.

    Raises:
        InputError: If the video cannot be read or is damaged.
    """
    scan = Scan() if deinterlace == OFF else detect_video_scan(path)
    with open_input(path) as container:
        stream = video_stream(container, path)
        previous: TimedImage | None = None  # a frame whose successor is not known
        try:
            for frame in _decode_timed(container, stream, path, start, scan, deinterlace, is_deep):
                if previous is not None:
                    yield *previous[:3], frame[2] - previous[2], previous[4]
                previous = frame
        except InputError:
            if previous is not None:
                yield previous
            raise
        if previous is not None:
            yield previous


def _decode_timed(
    container: InputContainer,
    stream: VideoStream,
    path: Path,
    start: float,
    scan: Scan,
    deinterlace: str,
    is_deep: bool,
) -> Iterator[TimedImage]:
    """Yield frames with the durations that they have if they are the last ones."""
    converter: RgbConverter | None = None
    rate = header_rates(stream)[0]
    step = float(1 / scan.frame_rate(rate, deinterlace))
    origin = _seek(container, stream, path, start) if start > _MIN_SEEK_START else None
    last = -step
    has_end = not is_cut_short(container, path)  # else the stated end is that of the whole video
    frames = decode_frames(container, stream, path, from_start=origin is None)
    for frame in Deinterlacer(scan.filters(deinterlace), rate).process(frames):
        seconds = last + step  # for a frame without a timestamp, or with one out of order
        tick = frame.time_base or time_base(stream)
        duration = float((frame.duration or 0) * tick)
        if frame.pts is not None:
            timestamp = float(frame.pts * tick)
            duration = max(duration, stated_end(container, stream) - timestamp) if has_end else duration
            if origin is None:
                origin = timestamp - seconds
            if timestamp - origin > last:
                seconds = timestamp - origin
        last = seconds
        if seconds < start:
            continue
        if converter is None:
            converter = _rgb_converter(frame, stream, path, is_deep)
        image, alpha, deep_frame = _convert(converter, frame, stream.codec_context.sample_aspect_ratio, path)
        duration = min(duration, _MAX_DURATION) if duration > 0 else step
        yield image, alpha, seconds, duration, deep_frame


def _convert(
    converter: RgbConverter, frame: VideoFrame, aspect: Fraction | None, path: Path
) -> tuple[np.ndarray, np.ndarray | None, DeepFrame | None]:
    """Return the image of a frame, its alpha, and the frame with all its bits."""
    check_pixel_count(path, frame.width, frame.height)
    try:
        if isinstance(converter, DeepConverter):
            deep_frame = converter.read(frame, aspect)
            return deep_frame.preview, deep_frame.preview_alpha, deep_frame
        return converter.convert(frame, aspect), converter.convert_alpha(frame), None
    except DECODE_ERRORS as error:
        raise InputError(
            f"{path}: the pixel format {frame.format.name} is not supported. Re-encode the video as yuv420p."
        ) from error


def detect_video_scan(path: Path) -> Scan:
    """Detect from the first frames of a video whether it is interlaced. Raises InputError if it cannot be read."""
    stamp = path.stat()
    return _detect_scan(path, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=64)
def _detect_scan(path: Path, *_stamp: int) -> Scan:
    with open_input(path) as container:
        stream = video_stream(container, path)
        frames = decode_frames(container, stream, path)
        first = next(frames)
        if not may_be_interlaced(first):
            return Scan()
        return detect_scan(chain([first], _undamaged(islice(frames, SCANNED_FRAMES - 1))))


def _undamaged(frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
    """Yield frames up to the first that cannot be decoded."""
    with suppress(InputError):
        yield from frames


def _seek(container: InputContainer, stream: VideoStream, path: Path, start: float) -> float | None:
    """Seek to the last key frame at or before `start` seconds.

    Returns:
        Time of the video's first frame on the file's clock, in seconds; None if the position after a seek is not
        certain. In that case `container` stays at its start.
    """
    if may_jump(container) and scan_clock(path).jumps:
        return None
    with open_input(path) as trial:
        origin = next(decode_frames(trial, video_stream(trial, path), path)).pts
    if origin is None:
        return None
    target = origin + int(start / time_base(stream))
    with open_input(path) as trial:
        trial_stream = video_stream(trial, path)
        try:
            trial.seek(target, stream=trial_stream, backward=True)
            first = next(decode_frames(trial, trial_stream, path, from_start=False)).pts
        except (*DECODE_ERRORS, InputError):
            return None
    if first is None or not origin <= first <= target:
        return None
    container.seek(target, stream=stream, backward=True)
    return float(origin * time_base(stream))


def probe_video(path: Path, deinterlace: str = FRAME) -> MediaInfo:
    """Describe a video file; see `mimaface_cli.media.reader.probe`.

    Raises:
        InputError: If the video cannot be read.
    """
    scan = detect_video_scan(path)
    with open_input(path) as container:
        stream = video_stream(container, path)
        times = _presentation_times(container, stream, path)
        rate, variable_rate = measure_rate(stream, times)
        extent = measure_extent(container, stream, path, rate)
        has_audio = audio_stream(container) is not None
    shown_rate = scan.frame_rate(rate, deinterlace)
    count = None if extent.count is None else round(extent.count * shown_rate / rate)
    # Opened again, because not every format can seek back to its start.
    with open_input(path) as container:
        stream = video_stream(container, path)
        first = next(decode_frames(container, stream, path))
        converter = _rgb_converter(first, stream, path)
        width, height = converter.size
        alpha = converter.convert_alpha(first)
        notes = extent.repairs + describe_start(path.name, first, times)
        notes += describe_unused_streams(container, stream, path.name)
        return MediaInfo(
            path,
            "video",
            width,
            height,
            shown_rate,
            count,
            extent.duration,
            variable_rate,
            has_audio,
            codec=stream.codec_context.codec.canonical_name,
            pixel_format=first.format.name,
            notes=notes + scan.notes(path.name, rate, deinterlace),
            repairs=extent.repairs,
            is_truncated=extent.is_truncated,
            scan=scan.kind,
            deinterlace=deinterlace,
            has_alpha=alpha is not None and alpha.min() < 255,
            is_hdr=is_hdr(first),
            depth=format_depth(first.format.name),
            deep_space=color_space(first) if is_deep_format(first.format.name, 8 if is_hdr(first) else 9) else None,
        )


def _demux(container: InputContainer, path: Path) -> Iterator[Packet]:
    try:
        yield from demux_continuous(container)
    except DECODE_ERRORS as error:
        raise InputError(f"{path}: the file is damaged before its end. Get the complete file.") from error


def _rgb_converter(first: VideoFrame, stream: VideoStream, path: Path, is_deep: bool = False) -> RgbConverter:
    converter = (DeepConverter if is_deep else RgbConverter)(first, stream.sample_aspect_ratio)
    check_pixel_count(path, *converter.size)
    return converter


def _presentation_times(container: InputContainer, stream: VideoStream, path: Path) -> list[int]:
    """Return the first presentation times in order, in ticks of the stream."""
    times: list[int] = []
    excess = 0
    for packet in _demux(container, path):
        if packet.stream.index == stream.index and packet.pts is not None and not packet.is_discard:
            times.append(packet.pts)
            if len(times) == _TIMED_PACKETS:
                excess = _REORDER
                break
    return sorted(times)[: len(times) - excess]
