"""The one door to FFmpeg (PyAV): silent, local files only, and every failure one clear line."""

import os
from collections.abc import Iterator
from pathlib import Path

import av
import av.logging
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.files import check_input_file, output_error

av.logging.set_level(None)
os.environ.setdefault("SVT_LOG", "-1")  # SVT-AV1 writes to stderr past FFmpeg's log; it looks here when first used

MAX_PIXELS = 100_000_000
"""Pictures larger than this are refused before they are decoded."""

# Containers of real media. Left out on purpose: playlists and scripts that name other files or addresses (hls, dash,
# concat, sdp), devices, and guessers that turn any text or bytes into pictures (tty, rawvideo, image pipes).
_DEMUXERS = (
    "3gp,aac,ac3,aiff,amr,apng,asf,au,avi,caf,dv,eac3,flac,flv,gif,h264,hevc,ivf,m4v,matroska,mov,mp3,mp4,mpeg,mpegts,"
    "mpegvideo,mxf,nut,obu,ogg,rm,w64,wav,webm,yuv4mpegpipe"
)
_NOT_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails

# What PyAV raises on damaged or hostile bytes beside its own errors (ValueError covers undecodable text).
DAMAGE = (FFmpegError, ValueError, OverflowError, MemoryError, ZeroDivisionError)


def open_input(path: Path) -> InputContainer:
    """Open a video or sound file for reading. Raises InputError when it is missing or not such a file."""
    check_input_file(path)
    options = {
        "format_whitelist": _DEMUXERS,
        "protocol_whitelist": "file",
        "max_pixels": str(MAX_PIXELS),
    }
    try:
        # The prefix keeps a name with a colon from being taken for a network address.
        return av.open(f"file:{path}", options=options, metadata_errors="replace")
    except DAMAGE as error:
        raise InputError(
            f"{path}: is not a video or sound file that can be read; check that it is whole, or convert it to MP4"
        ) from error


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The stream that holds the moving picture; cover art does not count. Raises InputError when there is none."""
    streams = [s for s in container.streams.video if not s.disposition & _NOT_PICTURES]
    if not streams:
        if container.streams.audio:
            raise InputError(f"{path}: holds sound but no moving picture; give a video, or use it as speech")
        raise InputError(f"{path}: holds no moving picture; give a video file")
    best = container.streams.best("video")
    stream = best if best in streams else streams[0]
    if stream.codec_context is None:
        raise InputError(f"{path}: its video codec is not known here; convert it to H.264 in MP4")
    if stream.codec_context.width * stream.codec_context.height > MAX_PIXELS:
        raise InputError(f"{path}: {too_large(stream.codec_context.width, stream.codec_context.height)}")
    return stream


def has_video(container: InputContainer) -> bool:
    """Whether there is a moving picture; cover art does not count."""
    return any(not stream.disposition & _NOT_PICTURES for stream in container.streams.video)


def audio_stream(container: InputContainer) -> AudioStream | None:
    """The main sound of a file, None when it has none that can be decoded."""
    streams = [s for s in container.streams.audio if s.codec_context is not None and s.codec_context.sample_rate]
    best = container.streams.best("audio")
    return best if best in streams else next(iter(streams), None)


def packets(container: InputContainer, *streams: Stream) -> Iterator[Packet]:
    """The packets of the given streams, or of all; empty ones at the end flush the decoders. Raises any of DAMAGE."""
    source = container.demux(*streams)
    while True:
        try:
            packet = next(source, None)
        except IndexError:  # PyAV, flushing a stream that appeared while reading; all others are flushed by then
            return
        if packet is None:
            return
        yield packet


def too_large(width: int, height: int) -> str:
    """The words for a picture above MAX_PIXELS."""
    return f"{width}x{height} is too large (at most {MAX_PIXELS // 1_000_000} megapixels); make it smaller"


def encoder_error(path: Path, error: Exception, codec: str) -> OutputError:
    """The one line for a failure while `path` was encoded and written."""
    if isinstance(error, OSError):
        return output_error(path, error)
    reason = getattr(error, "strerror", None) or error
    return OutputError(f"{path}: the {codec} encoder failed ({reason}); try another codec or size")
