"""Writers of frames to a video file, an image or an image sequence. An output appears complete or not at all."""

import os
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame

from mimaface_cli.concurrency import BackgroundConsumer
from mimaface_cli.files import atomic_path
from mimaface_cli.media.attachments import Attachments
from mimaface_cli.media.audio import AudioTrack
from mimaface_cli.media.color import EncoderConverter
from mimaface_cli.media.deep_encoding import DeepEncoderConverter
from mimaface_cli.media.deep_frame import DeepFrame
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.encoding import IMAGE_OUTPUT_SUFFIXES, Encoding, choose_encoding, is_image_sequence
from mimaface_cli.media.image_writer import ImageWriter, SequenceWriter, no_frames_error
from mimaface_cli.media.libav import encoder_error
from mimaface_cli.media.video_file import MAX_SECONDS, EncodeJob, VideoClock, VideoFile

_ENCODER_ERRORS = (FFmpegError, OSError, ValueError, OverflowError)


class FrameWriter(Protocol):
    """A context manager that writes frames in order, as returned by `open_writer`.

    Attributes:
        frames: Number of frames written so far.
    """

    frames: int

    def write(self, image: np.ndarray | DeepFrame, pts: float) -> None:
        """Add a frame (H, W, 3), or with alpha (H, W, 4), uint8 or deep, shown from `pts` seconds on."""
        ...

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
    attachments: Attachments = Attachments(),
) -> FrameWriter:
    """Return the writer for a path; nothing is written before its `with` block is entered.

    A video suffix gives a VideoWriter and an image suffix an ImageWriter. A name with `%05d` and an image suffix, a
    path that ends in "/", or an existing folder gives a SequenceWriter.

    Args:
        path: File, pattern or folder to write.
        width: Width of the frames.
        height: Height of the frames.
        frame_rate: Nominal frame rate; a single image ignores it.
        options: Options of video encoding; images ignore them.
        audio: Audio to add, or None; images ignore it.
        duration: Duration of the video in seconds, the end of the last frame; None for a last frame of 1 / frame_rate,
            with which less audio can be copied without re-encoding.
        attachments: Metadata to write.

    Raises:
        OutputError: If the path has an unknown suffix, or if format, options and size do not fit together.
    """
    text = os.fspath(path)
    if text.endswith(("/", os.sep)) or os.path.isdir(text):
        return SequenceWriter(Path(text) / "%05d.png", width, height, frame_rate, attachments=attachments)
    path = Path(text)
    if path.suffix.lower() in IMAGE_OUTPUT_SUFFIXES:
        if is_image_sequence(path):
            return SequenceWriter(path, width, height, frame_rate, attachments=attachments)
        return ImageWriter(path, width, height, attachments=attachments)
    return VideoWriter(
        path, width, height, frame_rate, options=options, audio=audio, duration=duration, attachments=attachments
    )


class VideoWriter:
    """Writer of frames and audio to a video file; a thread encodes while the caller prepares the next frame.

    Times on the grid of the frame rate stay exactly on it. Other times are accurate to 6 microseconds, or to half a
    millisecond in .mkv and .webm, which count milliseconds. The last frame lasts until `duration`. H.264 and HEVC in
    4:2:0 need even sides: an odd side grows by one repeated row or column. Colors are BT.709 from HD upwards and BT.601
    below, and tagged as such.

    After any failure inside the `with` block, no partial file remains, and an existing file is unchanged.

    Args:
        path: File to write.
        width: Width of the frames.
        height: Height of the frames.
        frame_rate: Nominal frame rate.
        options: Options of video encoding.
        audio: Audio to add, or None.
        duration: Duration of the video in seconds, the end of the last frame; None for a last frame of 1 / frame_rate,
            with which less audio can be copied without re-encoding.
        attachments: Metadata to write.

    Attributes:
        frames: Number of frames written so far.

    Raises:
        OutputError: If container, codec, options and size do not fit together.
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
        attachments: Attachments = Attachments(),
    ) -> None:
        self.path = Path(path)
        self.frames = 0
        self._shapes = [(height, width, 3), (height, width, 4)][: 2 if options.alpha else 1]
        self._clock = VideoClock(Fraction(frame_rate))
        self._encoding = choose_encoding(self.path, options, width, height)
        self._converter = _create_converter(self._encoding, width, height)
        self._audio = audio
        self._duration = duration
        self._attachments = attachments
        self._pending: tuple[VideoFrame | DeepFrame, int] | None = (
            None  # the last frame and its tick; its duration is unknown
        )
        self._last_pts = -1.0
        self._file: VideoFile | None = None
        self._consumer: BackgroundConsumer[EncodeJob]

    @property
    def audio_copied(self) -> bool | None:
        """Whether the audio is copied without re-encoding; None without audio."""
        if self._file is None or self._file.audio_muxer is None:
            return None
        return self._file.audio_muxer.is_copied

    @property
    def audio_damaged(self) -> bool:
        """Whether parts of the audio could not be read and are silent or missing; final after the `with` block."""
        if self._file is None or self._file.audio_muxer is None:
            return False
        return self._file.audio_muxer.is_damaged

    @property
    def audio_notes(self) -> list[str]:
        """Notes for the user about what differs between the audio and its source."""
        return [] if self._file is None or self._file.audio_muxer is None else self._file.audio_muxer.notes

    def write(self, image: np.ndarray | DeepFrame, pts: float) -> None:
        """Add a frame.

        Args:
            image: (H, W, 3), uint8, RGB, or if the video stores alpha also (H, W, 4); copied. If the options state a
                source format and the codec stores more than 8 bits per channel, a deep frame.
            pts: Time in seconds from which the frame is shown, later than that of the frame before.

        Raises:
            OutputError: If an earlier frame could not be encoded or written.
            ValueError: For an array of the wrong shape or type, or a wrong time.
        """
        array, dtype = (image.pixels, np.uint16) if isinstance(image, DeepFrame) else (image, np.uint8)
        if array.shape not in self._shapes or array.dtype != dtype:
            raise ValueError(f"frame {self.frames} is {array.dtype} {array.shape}, not {self._shapes[-1]}")
        if not self._last_pts < pts < MAX_SECONDS or pts < 0:
            raise ValueError(f"frame {self.frames} has the time {pts} after {self._last_pts}")
        tick = self._clock.to_ticks(pts)
        if self._pending is not None:
            frame, start = self._pending
            tick = max(tick, start + 1)
            self._consumer.put(EncodeJob(frame, start, tick - start))
        self._pending = (image if isinstance(image, DeepFrame) else self._converter.rgb_frame(image), tick)
        self._last_pts = pts
        self.frames += 1

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._temporary = stack.enter_context(atomic_path(self.path))
            try:
                file = VideoFile(self._temporary, self._encoding, self._clock, self._attachments.tags or {})
                stack.callback(file.close)
                file.start(self._converter, self._audio, self._duration)
            except _ENCODER_ERRORS as error:
                raise encoder_error(self.path, error, self._encoding.codec) from error
            self._file = file
            self._consumer = BackgroundConsumer(self._encode)
            stack.callback(self._consumer.abort)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            # Not with the error itself: `atomic_path` would report an OSError of the caller as a failed write.
            self._stack.__exit__(_DiscardError, _DiscardError(), None)
            return
        with self._stack:
            self._finish()

    def _encode(self, job: EncodeJob) -> None:
        try:
            self._open_file().encode(job)
        except _ENCODER_ERRORS as error:
            raise encoder_error(self.path, error, self._encoding.codec) from error

    def _finish(self) -> None:
        if self._pending is None:
            raise no_frames_error(self.path)
        frame, tick = self._pending
        duration = self._clock.frame_ticks
        if self._duration is not None and self._duration > self._last_pts:
            duration = max(self._clock.to_ticks(self._duration) - tick, 1)
        self._consumer.put(EncodeJob(frame, tick, duration))
        self._consumer.finish()
        try:
            self._open_file().finish(tick + duration, self._attachments.xmp)
        except _ENCODER_ERRORS as error:
            raise encoder_error(self.path, error, self._encoding.codec) from error
        if self._attachments.seal is not None:
            self._attachments.seal(self._temporary)

    def _open_file(self) -> VideoFile:
        if self._file is None:
            raise RuntimeError("the writer is used outside of its `with` block")
        return self._file


def _create_converter(encoding: Encoding, width: int, height: int) -> EncoderConverter:
    rules = {"needs_even_sides": encoding.needs_even_sides, "is_bt709_only": encoding.is_bt709_only}
    if encoding.space is None:
        return EncoderConverter(width, height, encoding.pixel_format, **rules)
    return DeepEncoderConverter(width, height, encoding.pixel_format, encoding.space, **rules)


class _DiscardError(Exception):
    """Thrown into `atomic_path` to remove the temporary file."""
