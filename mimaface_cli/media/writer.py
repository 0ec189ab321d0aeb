"""Frames out: a video file, or pictures, that appear whole under their name or not at all."""

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from fractions import Fraction
from math import lcm
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import av
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame

from mimaface_cli.concurrency import BackgroundConsumer
from mimaface_cli.errors import OutputError
from mimaface_cli.files import atomic_path
from mimaface_cli.media.audio import AudioTrack, Sound
from mimaface_cli.media.color import RgbWriter
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.encoding import IMAGE_OUTPUT_SUFFIXES, choose_encoding, is_image_sequence
from mimaface_cli.media.image_sequence import ImageWriter, SequenceWriter
from mimaface_cli.media.libav import encoder_error
from mimaface_cli.media.xmp import append_xmp_box

_CLOCK = 90_000  # the usual video clock: holds whole milliseconds and all common rates
_CLOCK_LIMIT = 1_000_000
_SNAP = 0.0006  # seconds; Matroska rounds times to milliseconds, so 33 ms at 30 frames/s means 1/30 s
_LONGEST = 1e7  # seconds
_MP4_TAGS = {"title", "artist", "album", "comment", "genre", "date", "copyright", "description", "synopsis", "timecode"}


class FrameWriter(Protocol):
    """What `open_writer` returns: a context manager that takes frames in order."""

    frames: int

    def write(self, image: np.ndarray, pts: float) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


def open_writer(
    path: str | Path,
    width: int,
    height: int,
    frame_rate: Fraction,
    *,
    options: EncodeOptions = EncodeOptions(),
    audio: AudioTrack | None = None,
    duration: float | None = None,
    metadata: dict[str, str] | None = None,
    xmp: bytes | None = None,
    seal: Callable[[Path], None] | None = None,
) -> FrameWriter:
    """The writer that `path` asks for, checked but with nothing on disk before it is entered.

    A video suffix gives a VideoWriter; a picture suffix, one picture; a name with `%05d` and a picture suffix, or one
    ending in "/", numbered pictures in a new or empty folder. Pictures have no use for `options` and `audio`.
    `metadata` are texts for tags, `xmp` is a packet for files that can hold one, `seal` is called with the finished
    file (of numbered pictures their folder) before it gets its name. Raises OutputError for anything else, listing what
    is known.
    """
    text = os.fspath(path)
    if text.endswith(("/", os.sep)) or os.path.isdir(text):
        return SequenceWriter(Path(text) / "%05d.png", width, height, metadata=metadata, xmp=xmp, seal=seal)
    path = Path(text)
    if path.suffix.lower() in IMAGE_OUTPUT_SUFFIXES:
        if is_image_sequence(path):
            return SequenceWriter(path, width, height, metadata=metadata, xmp=xmp, seal=seal)
        return ImageWriter(path, width, height, metadata=metadata, xmp=xmp, seal=seal)
    about = {"metadata": metadata, "xmp": xmp, "seal": seal}
    return VideoWriter(path, width, height, frame_rate, options=options, audio=audio, duration=duration, **about)


class VideoWriter:
    """Encodes frames into a video file, with sound; encoding runs in a thread beside the producer.

    Times on the grid of `frame_rate` stay exactly on it, others are kept to 6 microseconds (in .mkv and .webm, which
    count milliseconds, to half of one). The last frame lasts 1 / frame_rate. H.264 and HEVC in 4:2:0 need even sides:
    an odd side grows by one repeated row or column. Colors are BT.709 from HD upwards and BT.601 below, and say so.

    Leaving the `with` block after a failure of any kind leaves nothing on disk and an older file untouched.
    """

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        frame_rate: Fraction,
        *,
        options: EncodeOptions = EncodeOptions(),
        audio: AudioTrack | None = None,
        duration: float | None = None,
        metadata: dict[str, str] | None = None,
        xmp: bytes | None = None,
        seal: Callable[[Path], None] | None = None,
    ) -> None:
        """`duration`: the video's expected length in seconds, where known; it only helps to copy sound untouched.

        Raises OutputError when container, codec, options and size do not fit together.
        """
        self.path = Path(path)
        self.frames = 0
        self._shape = (height, width, 3)
        self._rate = Fraction(frame_rate)
        self._encoding = chosen = choose_encoding(self.path, options, width, height)
        self._pixels = RgbWriter(width, height, chosen.pixel_format, even=chosen.even, hd_colors=chosen.hd_colors)
        self._clock = _clock(self._rate)
        self._audio, self._expected, self._metadata = audio, duration, metadata or {}
        self._xmp, self._seal = xmp, seal
        self._held: tuple[VideoFrame, int] | None = None
        self._last = -1.0
        self._durations: dict[int, int] = {}
        self._first: tuple[int, int] | None = None  # pts and dts of the first packet
        self._sound: Sound | None = None
        self._container: OutputContainer | None = None
        self._worker: BackgroundConsumer | None = None

    @property
    def audio_copied(self) -> bool | None:
        """Whether the sound goes over untouched; None without sound."""
        return None if self._sound is None else self._sound.copied

    @property
    def audio_damaged(self) -> bool:
        """Whether parts of the sound could not be read and are silent or missing; known for good at the end."""
        return self._sound is not None and self._sound.damaged

    def write(self, image: np.ndarray, pts: float) -> None:
        """Add a frame (HxWx3 uint8 RGB, copied) shown from `pts` seconds on, later than the one before.

        Raises OutputError when an earlier frame could not be encoded or written; ValueError for a wrong array or time.
        """
        if image.shape != self._shape or image.dtype != np.uint8:
            raise ValueError(f"frame {self.frames} is {image.dtype} {image.shape}, not uint8 {self._shape}")
        if not self._last < pts < _LONGEST or pts < 0:
            raise ValueError(f"frame {self.frames} has the time {pts} after {self._last}")
        tick = self._tick(pts)
        if self._held is not None:
            before, start = self._held
            tick = max(tick, start + 1)
            self._worker.put((before, start, tick - start))
        self._held = (self._pixels.frame(image), tick)
        self._last = pts
        self.frames += 1

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._temporary = temporary = stack.enter_context(atomic_path(self.path))
            stack.callback(self._release)
            try:
                self._open(temporary)
            except (FFmpegError, OSError, ValueError, OverflowError) as error:
                raise encoder_error(self.path, error, self._encoding.codec) from error
            self._worker = BackgroundConsumer(self._encode)
            self._place = stack.pop_all()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            # Not with the error itself: an OSError of the producer must not be taken for one of ours.
            self._place.__exit__(_Discarded, _Discarded(), None)
            return
        with self._place:
            self._finish()

    def _open(self, temporary: Path) -> None:
        encoding = self._encoding
        options = {}
        if encoding.container.muxer in ("mp4", "mov"):
            # Other tags than the standard ones need Apple's newer, less widely read, layout.
            custom = "+use_metadata_tags" if set(self._metadata) - _MP4_TAGS else ""
            options["movflags"] = f"+faststart{custom}"
        else:  # Matroska's random identifiers left out: the same frames make the same bytes
            options["fflags"] = "+bitexact"
        self._container = av.open(f"file:{temporary}", "w", format=encoding.container.muxer, container_options=options)
        self._container.metadata.update(self._metadata)
        self._stream = self._container.add_stream(
            encoding.encoder,
            rate=self._rate,
            options=encoding.settings,
            width=self._pixels.size[0],
            height=self._pixels.size[1],
            pix_fmt=encoding.pixel_format,
            time_base=Fraction(1, self._clock),
        )
        context = self._stream.codec_context
        if encoding.tag:
            context.codec_tag = encoding.tag
        context.thread_count = 0
        self._pixels.tag(context)
        if self._audio is not None:
            self._sound = Sound(self._audio, self._container, encoding.container, self._expected)
        self._container.start_encoding()

    def _tick(self, pts: float) -> int:
        """`pts` in units of 1 / clock, on the frame grid where it is meant to be."""
        grid = round(pts * self._rate) / self._rate
        near = min(_SNAP, 0.25 / float(self._rate))
        return round((grid if abs(pts - float(grid)) <= near else Fraction(pts)) * self._clock)

    def _encode(self, item: tuple[VideoFrame, int, int]) -> None:
        rgb, tick, duration = item
        try:
            frame = self._pixels.convert(rgb)
            frame.pts, frame.duration, frame.time_base = tick, duration, Fraction(1, self._clock)
            self._durations[tick] = duration
            self._mux(self._coded(frame))
        except (FFmpegError, OSError, ValueError, OverflowError) as error:
            raise encoder_error(self.path, error, self._encoding.codec) from error

    def _coded(self, frame: VideoFrame | None) -> list[av.Packet]:
        packets = self._stream.encode(frame)
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts, packet.duration)
            # x265 leaves dts unset (any number) in clips shorter than its reordering.
            if packet.dts is None or not -_LONGEST * self._clock < packet.dts <= packet.pts:
                packet.dts = packet.pts
            if self._first is None:
                self._first = packet.pts, packet.dts
        return packets

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            if self._sound is not None:
                self._sound.until(packet.dts / self._clock)
            self._container.mux(packet)

    def _finish(self) -> None:
        if self._held is None:
            raise OutputError(f"{self.path}: no frames came, so nothing was written")
        frame, tick = self._held
        end = tick + round(self._clock / self._rate)
        self._worker.put((frame, tick, end - tick))
        self._worker.finish()
        try:
            packets = self._coded(None)
            if packets and self._encoding.container.negative_times:
                # MP4 adds up the steps of the coding order, which end elsewhere when frames of uneven length are
                # reordered: the last step makes it as long as the frames are shown.
                shown, coded = self._first
                packets[-1].duration = max(1, end - shown - (packets[-1].dts - coded))
            self._mux(packets)
            if self._sound is not None:
                self._sound.finish(end / self._clock)
            self._container.close()
            if self._xmp is not None and self._encoding.container.muxer in ("mp4", "mov"):
                append_xmp_box(self._temporary, self._xmp)
        except (FFmpegError, OSError, ValueError, OverflowError) as error:
            raise encoder_error(self.path, error, self._encoding.codec) from error
        if self._seal is not None:
            self._seal(self._temporary)

    def _release(self) -> None:
        """Let go of thread and files, finished or not."""
        if self._worker is not None:
            self._worker.abort()
        if self._sound is not None:
            self._sound.close()
        if self._container is not None:
            with suppress(FFmpegError, OSError):  # only a file that is thrown away is still open
                self._container.close()


class _Discarded(Exception):
    """Thrown into `atomic_path` to have the temporary file removed."""


def _clock(rate: Fraction) -> int:
    """Ticks per second that hold the frame grid of `rate` exactly, and other times finely."""
    exact = lcm(rate.numerator, _CLOCK)
    if exact > _CLOCK_LIMIT:
        exact = rate.numerator * -(-_CLOCK // rate.numerator)
    return exact if exact <= _CLOCK_LIMIT else _CLOCK
