"""Access to FFmpeg through PyAV: local files only, no log output, and every failure as a one-line error."""

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import av.logging
from av.codec import codecs_available
from av.codec.context import CodecContext
from av.container import InputContainer
from av.error import FFmpegError
from av.frame import Frame
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.files import check_input_file, output_error

av.logging.set_level(None)
os.environ.setdefault("SVT_LOG", "-1")  # SVT-AV1 logs to stderr by itself; it reads this variable at its first use

MAX_PIXELS = 100_000_000
"""Largest number of pixels of an image or frame; larger ones are refused before they are decoded."""

# Containers of audio and video. Excluded on purpose: playlists and scripts that name other files or addresses (hls,
# dash, concat, sdp), devices, and demuxers that turn any text or bytes into frames (tty, rawvideo, image pipes).
DEMUXERS = (
    "3gp,aac,ac3,aiff,amr,apng,asf,au,avi,caf,dv,eac3,flac,flv,gif,h264,hevc,ivf,m4v,matroska,mov,mp3,mp4,mpeg,mpegts,"
    "mpegvideo,mxf,nut,obu,ogg,rm,w64,wav,webm,yuv4mpegpipe"
)
"""Names of the demuxers that may read a file, separated by commas."""

_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_COVER_ART = Disposition.attached_pic | Disposition.timed_thumbnails

DECODE_ERRORS = (FFmpegError, ValueError, OverflowError, MemoryError, ZeroDivisionError)
"""What PyAV raises for damaged or hostile bytes; ValueError includes text that cannot be decoded."""


def open_input(path: Path) -> InputContainer:
    """Open a video or audio file for reading.

    Raises:
        InputError: If the file is missing or not a video or audio file.
    """
    check_input_file(path)
    options = {
        "format_whitelist": DEMUXERS,
        "protocol_whitelist": "file",
        "max_pixels": str(MAX_PIXELS),
        "default_fps": "10",  # of APNG frames without a duration, as browsers show them
    }
    try:
        # With the prefix, FFmpeg does not interpret a name with a colon as a network address.
        return av.open(f"file:{path}", options=options, metadata_errors="replace")
    except DECODE_ERRORS as error:
        raise InputError(
            f"{path}: not a readable video or audio file. Check that it is complete, or convert it to MP4."
        ) from error


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """Return the main video stream; cover art does not count.

    Raises:
        InputError: If there is none, if its codec is unknown, or if its frames are too large.
    """
    streams = real_video_streams(container)
    if not streams:
        if container.streams.audio:
            raise InputError(f"{path}: has audio but no video. Give a video, or use the file as speech.")
        raise InputError(f"{path}: has no video. Give a video file.")
    best = container.streams.best("video")
    stream = best if best in streams else streams[0]
    if stream.codec_context is None:
        raise InputError(f"{path}: the video codec is not supported. Convert it to H.264 in MP4.")
    check_pixel_count(path, stream.codec_context.width, stream.codec_context.height)
    return stream


def real_video_streams(container: InputContainer) -> list[VideoStream]:
    """Return the video streams of a file without cover art."""
    return [stream for stream in container.streams.video if not stream.disposition & _COVER_ART]


def has_video(container: InputContainer) -> bool:
    """Return whether a file has a video stream; cover art does not count."""
    return bool(real_video_streams(container))


def demux(container: InputContainer, *streams: Stream) -> Iterator[Packet]:
    """Yield the packets of the listed streams, or of all streams if none is listed.

    Empty packets at the end flush the decoders.

    Raises:
        Exception: Any of DECODE_ERRORS.
    """
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets, None)
        except IndexError:  # PyAV flushes a stream that appeared while reading; the others are flushed by then
            return
        if packet is None:
            return
        yield packet


def alpha_decoder(stream: VideoStream) -> VideoCodecContext | None:
    """Return the decoder for VP8 and VP9 with alpha, which FFmpeg's own decoders ignore; None for other streams."""
    name = _ALPHA_DECODERS.get(stream.codec_context.codec.canonical_name)
    if name is None or stream.metadata.get("alpha_mode") != "1" or name not in codecs_available:
        return None
    return cast(VideoCodecContext, CodecContext.create(name, "r"))


def flush_decoder(decoder: VideoCodecContext) -> list[VideoFrame]:
    """Return the frames that a decoder still holds; it may be flushed already."""
    try:
        return [frame for frame in decoder.decode(None) if not frame.is_corrupt]
    except DECODE_ERRORS:
        return []


def time_base(clock: Stream | Frame) -> Fraction:
    """Return the seconds in one tick of a stream's or a frame's timestamps.

    Raises:
        ValueError: If it is unknown. (One of DECODE_ERRORS.)
    """
    if clock.time_base is None:
        raise ValueError("the time base is unknown")
    return clock.time_base


def check_pixel_count(path: Path, width: int, height: int) -> None:
    """Check the size of an image or frame.

    Args:
        path: File, for the error.
        width: Width in pixels.
        height: Height in pixels.

    Raises:
        InputError: For more than MAX_PIXELS pixels.
    """
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{path}: {width}x{height} is too large (at most {MAX_PIXELS // 1_000_000} megapixels). Scale it down."
        )


def encoder_error(path: Path, error: Exception, codec: str) -> OutputError:
    """Return the OutputError for a failure while a file was encoded and written.

    Args:
        path: Output file.
        error: Exception that the encoder or the system raised.
        codec: Name of the codec.
    """
    if isinstance(error, OSError):
        return output_error(path, error)
    reason = getattr(error, "strerror", None) or error
    return OutputError(f"{path}: the {codec} encoder failed ({reason}). Try another codec or size.")
