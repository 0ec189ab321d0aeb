"""Output video files: encoding of frames, interleaving of the audio, and packets with exact times."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import cast

import av
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from mimaface_cli.media.audio import AudioTrack
from mimaface_cli.media.audio_muxer import AudioMuxer
from mimaface_cli.media.color import EncoderConverter
from mimaface_cli.media.deep_encoding import BT2020, state_bt2020
from mimaface_cli.media.deep_frame import DeepFrame
from mimaface_cli.media.encoding import Encoding
from mimaface_cli.media.xmp import append_xmp_box

MAX_SECONDS = 1e7
"""Largest time of a frame, in seconds."""

_CLOCK = 90_000  # ticks per second of the usual video clock: whole milliseconds and all common rates are exact
_MAX_CLOCK = 1_000_000
_X265_REORDERING = 2  # frames; x265 sets dts to any number where a video has no more frames than this
_GRID_TOLERANCE = 0.0006  # seconds; Matroska rounds to milliseconds, so 33 ms at 30 frames per second means 1/30 s
_STANDARD_MP4_TAGS = {
    "title",
    "artist",
    "album",
    "comment",
    "genre",
    "date",
    "copyright",
    "description",
    "synopsis",
    "timecode",
}


class VideoClock:
    """The ticks of a video stream at a frame rate.

    Args:
        rate: Nominal frame rate.

    Attributes:
        ticks_per_second: Holds the frame grid exactly, and other times finely.
    """

    def __init__(self, rate: Fraction) -> None:
        self.rate = rate
        self.ticks_per_second = _choose_ticks_per_second(rate)

    @property
    def frame_ticks(self) -> int:
        """Duration of a frame at the nominal rate, in ticks."""
        return round(self.ticks_per_second / self.rate)

    def to_ticks(self, seconds: float) -> int:
        """Convert a time to ticks, snapped to the frame grid if it is close to it."""
        on_grid = round(seconds * self.rate) / self.rate
        tolerance = min(_GRID_TOLERANCE, 0.25 / float(self.rate))
        is_on_grid = abs(seconds - float(on_grid)) <= tolerance
        return round((on_grid if is_on_grid else Fraction(seconds)) * self.ticks_per_second)


def _choose_ticks_per_second(rate: Fraction) -> int:
    exact = lcm(rate.numerator, _CLOCK)
    if exact > _MAX_CLOCK:
        exact = rate.numerator * -(-_CLOCK // rate.numerator)
    return exact if exact <= _MAX_CLOCK else _CLOCK


@dataclass(frozen=True, slots=True)
class EncodeJob:
    """A frame to encode.

    Args:
        frame: The frame in RGB, or a deep frame.
        tick: Time at which it is shown, in ticks.
        duration: Duration for which it is shown, in ticks.
    """

    frame: VideoFrame | DeepFrame
    tick: int
    duration: int


class VideoFile:
    """An open output file with a video stream and, if requested, an audio stream.

    The methods raise PyAV's errors, OSError, ValueError or OverflowError if FFmpeg or the system refuses.

    Args:
        path: File to create.
        encoding: Configuration of the encoder.
        clock: Ticks of the video stream.
        tags: Texts for the container's tags.

    Attributes:
        audio_muxer: Writer of the audio, or None.
    """

    def __init__(self, path: Path, encoding: Encoding, clock: VideoClock, tags: Mapping[str, str]) -> None:
        self.audio_muxer: AudioMuxer | None = None
        self._path = path
        self._encoding = encoding
        self._clock = clock
        self._durations: dict[int, int] = {}  # durations of the frames in the encoder, by their times
        self._first: tuple[int, int] | None = None  # pts and dts of the first packet
        self._frame_count = 0
        self._converter: EncoderConverter
        self._stream: VideoStream
        self._container: OutputContainer = av.open(
            f"file:{path}",
            "w",
            format=encoding.container.muxer,
            container_options=_muxer_options(encoding.container.muxer, tags),
        )
        self._container.metadata.update(tags)

    def start(self, converter: EncoderConverter, audio: AudioTrack | None, duration: float | None) -> None:
        """Add the streams and open the encoder.

        Args:
            converter: Converts the frames to the encoder's pixel format.
            audio: Audio to add, or None.
            duration: Duration of the video in seconds, or None if unknown.
        """
        encoding = self._encoding
        self._converter = converter
        stream = self._container.add_stream(
            encoding.encoder,
            rate=self._clock.rate,
            options=encoding.settings,
            width=converter.size[0],
            height=converter.size[1],
            pix_fmt=encoding.pixel_format,
            time_base=Fraction(1, self._clock.ticks_per_second),
        )
        self._stream = cast(VideoStream, stream)
        context = self._stream.codec_context
        if encoding.tag:
            context.codec_tag = encoding.tag
        context.thread_count = 0
        converter.tag(context)
        if audio is not None:
            self.audio_muxer = AudioMuxer(audio, self._container, encoding.container, duration)
        self._container.start_encoding()

    def encode(self, job: EncodeJob) -> None:
        """Encode a frame, and write the packets that are complete."""
        frame = self._converter.convert(job.frame)
        frame.pts = job.tick
        frame.duration = job.duration
        frame.time_base = Fraction(1, self._clock.ticks_per_second)
        self._durations[job.tick] = job.duration
        self._frame_count += 1
        self._mux(self._encode(frame))

    def finish(self, end: int, xmp: bytes | None) -> None:
        """Write the remaining frames and audio, and close the file.

        Args:
            end: End of the last frame, in ticks.
            xmp: XMP packet to add to MP4 and QuickTime files, or None.
        """
        packets = self._encode(None)
        if packets and self._first is not None and self._encoding.container.has_edit_lists:
            # MP4 adds up the steps between packets in coding order. Where frames of different durations are
            # reordered, the sum can be less than the duration shown; the last step makes up for the difference.
            first_pts, first_dts = self._first
            missing = end - first_pts - (_dts(packets[-1]) - first_dts)
            packets[-1].duration = max(packets[-1].duration or 1, missing)
        self._mux(packets)
        if self.audio_muxer is not None:
            self.audio_muxer.finish(end / self._clock.ticks_per_second)
        self._container.close()
        if xmp is not None and self._encoding.container.muxer in ("mp4", "mov"):
            append_xmp_box(self._path, xmp)

    def close(self) -> None:
        """Close the file, complete or not."""
        if self.audio_muxer is not None:
            self.audio_muxer.close()
        with suppress(FFmpegError, OSError):  # a file that is still open was interrupted, and is removed
            self._container.close()

    def _encode(self, frame: VideoFrame | None) -> list[Packet]:
        packets: list[Packet] = list(self._stream.encode(frame))
        space = self._encoding.space
        earliest = -MAX_SECONDS * self._clock.ticks_per_second
        has_random_dts = self._encoding.encoder == "libx265" and self._frame_count <= _X265_REORDERING
        for packet in packets:
            if packet.pts is None:
                raise ValueError("the encoder returned a packet without a time")
            if self._encoding.encoder == "dnxhd" and space is not None and space.matrix == BT2020:
                state_bt2020(packet)
            duration = self._durations.pop(packet.pts, None)
            if duration is not None:
                packet.duration = duration
            if has_random_dts or packet.dts is None or not earliest < packet.dts <= packet.pts:
                packet.dts = packet.pts
            if self._first is None:
                self._first = packet.pts, _dts(packet)
        return packets

    def _mux(self, packets: list[Packet]) -> None:
        for packet in packets:
            if self.audio_muxer is not None:
                self.audio_muxer.write_until(_dts(packet) / self._clock.ticks_per_second)
            self._container.mux(packet)


def _muxer_options(muxer: str, tags: Mapping[str, str]) -> dict[str, str]:
    if muxer in ("mp4", "mov"):
        # Custom tags need Apple's newer layout, which fewer programs read.
        custom_tags = "+use_metadata_tags" if set(tags) - _STANDARD_MP4_TAGS else ""
        return {"movflags": f"+faststart{custom_tags}"}
    return {"fflags": "+bitexact"}  # without Matroska's random identifiers: the same frames give the same bytes


def _dts(packet: Packet) -> int:
    """Return the decoding time of a packet, in ticks."""
    if packet.dts is None:
        raise ValueError("a packet has no decoding time")
    return packet.dts
