"""Audio streams of files: their start on the video's clock, and their packets and frames.

Time 0 of a video's audio is the time of the first frame shown, as in `mimaface_cli.media.reader.read_frames`. Time 0 of
an audio file is its first sample.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import islice
from math import inf
from pathlib import Path

from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from mimaface_cli.errors import InputError
from mimaface_cli.files import check_input_file, is_image_folder
from mimaface_cli.media.audio_streams import audio_stream, select_audio
from mimaface_cli.media.channel_layout import protect_layout
from mimaface_cli.media.clock import demux_continuous, may_jump
from mimaface_cli.media.ffmpeg_audio import FFmpegAudio
from mimaface_cli.media.image import image_kind
from mimaface_cli.media.libav import DECODE_ERRORS, DEMUXERS, open_input, time_base, video_stream
from mimaface_cli.media.video import decode_frames

MAX_JITTER = 0.04
"""Tolerance of timestamps in seconds; a larger gap becomes silence, and a larger overlap is cut."""

_PROBED_PACKETS = 8  # number of packets from which the duration of a packet is estimated


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """Part of a file's audio to add to a video.

    Args:
        path: Video or audio file.
        start: Start of the part, in seconds.
        duration: Duration of the part in seconds, or None for the rest of the file.
        stream: Number of the audio stream, from 1; None for the main one.
    """

    path: Path
    start: float = 0.0
    duration: float | None = None
    stream: int | None = None


def has_audio(path: Path) -> bool:
    """Return whether a video or audio file has audio; False for images and folders.

    Raises:
        InputError: If the file cannot be read.
    """
    path = Path(path)
    if is_image_folder(path):
        return False
    check_input_file(path)
    if image_kind(path) is not None:
        return False
    with open_input(path) as container:
        return audio_stream(container) is not None


def read_sample_rate(path: Path) -> int:
    """Return the sample rate of a file's main audio stream in hertz, or 0 without audio. Raises InputError."""
    with open_input(path) as container:
        stream = audio_stream(container)
        return 0 if stream is None else int(stream.rate or 0)


class AudioReader:
    """An audio stream of an open file, or a pair of mono streams as one, with times counted from an origin.

    Args:
        path: Video or audio file.
        origin: Time that counts as 0, in seconds on the file's clock.
        number: Number of the audio stream, from 1; None for the main one.

    Attributes:
        stream: The audio stream; of a pair, the first.
        stream_count: Number of streams that are read, 1 or 2.
        channel_count: Number of channels of these streams.
        layout: Name of the channel layout of the frames, always a standard one.
        notes: Notes for the user about joined and unused streams.
        is_damaged: Whether parts of the audio could not be read so far.

    Raises:
        InputError: If the file cannot be read or has no audio.
    """

    def __init__(self, path: Path, origin: float, number: int | None = None) -> None:
        self.path = path
        self.origin = origin
        self.is_damaged = False
        self.container: InputContainer = open_input(path)
        try:
            selection = select_audio(self.container, number)
            if selection is None:
                raise InputError(f"{path}: has no audio. Choose another file, or leave the audio out.")
        except InputError:
            self.container.close()
            raise
        self.stream: AudioStream = selection.streams[0]
        self.stream_count = len(selection.streams)
        self.channel_count = selection.channel_count
        self.layout = selection.plan.layout
        self.notes = selection.notes
        self._selection = selection
        self._frames: Generator[AudioFrame, None, None] | None = None
        self._packets = self._demux()
        self._first_packets = list(islice(self._packets, _PROBED_PACKETS))

    def _demux(self) -> Iterator[Packet]:
        try:
            for packet in demux_continuous(self.container):
                if packet.stream.index == self.stream.index:
                    yield packet
        except DECODE_ERRORS:
            self.is_damaged = True

    def packets(self) -> Iterator[Packet]:
        """Yield all packets; the last one is empty and flushes a decoder."""
        yield from self._first_packets
        yield from self._packets

    def frames(self) -> Generator[AudioFrame, None, None]:
        """Yield all frames that can be decoded, each with a timestamp, in a standard channel layout."""
        self._frames = self._decode_by_program() if self._selection.needs_program else self._decode()
        return self._frames

    def _decode(self) -> Generator[AudioFrame, None, None]:
        tick = time_base(self.stream)
        next_time = 0.0  # seconds; for frames without a timestamp
        for packet in self.packets():
            try:
                frames = self.stream.decode(packet)
            except DECODE_ERRORS:
                self.is_damaged = True  # silence takes the place of the packet
                continue
            for frame in frames:
                protect_layout(frame)
            for frame in frames:
                pts = round(next_time / tick) if frame.pts is None else frame.pts
                frame.pts = pts
                frame.time_base = tick
                next_time = float(pts * tick) + frame.samples / frame.sample_rate
                yield frame

    def _decode_by_program(self) -> Generator[AudioFrame, None, None]:
        selection = self._selection
        program = FFmpegAudio(
            self.path,
            [stream.index for stream in selection.streams],
            self.stream.codec_context.sample_rate,
            selection.channel_count,
            selection.plan,
            self.origin,
            DEMUXERS,
        )
        yield from program.frames()
        self.is_damaged |= program.is_damaged

    def frame_seconds(self, frame: AudioFrame) -> float:
        """Return the time of a frame in seconds from the origin."""
        return float((frame.pts or 0) * time_base(frame)) - self.origin

    def to_seconds(self, ticks: int) -> float:
        """Convert a timestamp of the stream to seconds from the origin."""
        return float(ticks * time_base(self.stream)) - self.origin

    def packet_duration(self) -> float:
        """Return the longest duration of a packet in seconds, or 0 if it is unknown."""
        ticks = max((packet.duration or 0 for packet in self._first_packets), default=0)
        context = self.stream.codec_context
        return max(float(ticks * time_base(self.stream)), context.frame_size / context.sample_rate)

    def end(self) -> float:
        """Return the end of the audio in seconds from the origin, or infinity if the header does not state it."""
        if self.stream.duration is None or may_jump(self.container):
            return inf
        return self.to_seconds((self.stream.start_time or 0) + self.stream.duration)

    def close(self) -> None:
        """Close the file."""
        if self._frames is not None:
            self._frames.close()
        self.container.close()


def clock_origin(path: Path) -> float:
    """Return the time that counts as 0, in seconds on the file's clock: its first frame, or its first sample."""
    with open_input(path) as container:
        try:
            stream = video_stream(container, path)
            frame = next(decode_frames(container, stream, path))
        except InputError:  # an audio file, or a video without a frame that can be decoded
            audio = audio_stream(container)
            return float((audio.start_time or 0) * time_base(audio)) if audio is not None else 0.0
        return float((frame.pts or 0) * time_base(stream))


def frame_format(frame: AudioFrame) -> tuple[str, str, int]:
    """Return (sample format, channel layout, sample rate) of a frame."""
    return frame.format.name, frame.layout.name, frame.sample_rate
