"""Audio of an output video: packets are copied where container and timing allow it, otherwise re-encoded.

Audio never outlasts the video. It ends within 25 ms before the end of the video, or exactly at it when re-encoded.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from math import inf
from pathlib import Path
from typing import cast

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from mimaface_cli.media.audio import MAX_JITTER, AudioReader, AudioTrack, clock_origin, frame_format
from mimaface_cli.media.audio_encoding import choose_audio_encoding, describe_change
from mimaface_cli.media.codecs import Container
from mimaface_cli.media.libav import DECODE_ERRORS, time_base

_MAX_EARLY_END = 0.025  # seconds by which copied audio may end before the video
_ROUNDING = 0.001  # seconds; containers round times to milliseconds
# Bytes of the decoder's configuration without which muxers refuse a codec: the start of a damaged file, or ADTS, as in
# broadcasts, lacks it.
_LEAST_EXTRADATA = {"aac": 2, "alac": 24, "flac": 34, "opus": 19, "vorbis": 30}


class AudioMuxer:
    """Writer of an audio track into an output file, interleaved with the video by `write_until` and `finish`.

    Create it before the first packet is muxed.

    Args:
        track: Audio to write.
        output: Open output file.
        container: Format of the output file.
        video_duration: Duration of the video in seconds, if known; audio in long packets is copied only then.

    Attributes:
        is_copied: Whether the packets are copied without re-encoding.
        notes: Notes for the user about what differs from the source.

    Raises:
        InputError: If the track has no audio.
    """

    def __init__(
        self, track: AudioTrack, output: OutputContainer, container: Container, video_duration: float | None = None
    ) -> None:
        path = Path(track.path)
        self._end = inf if track.duration is None else track.duration
        reader = AudioReader(path, clock_origin(path) + track.start, track.stream)
        end = None if video_duration is None else min(self._end, video_duration)
        self.is_copied = _can_copy(reader, container, track.start, end)
        self._reader = reader
        sink_type = _PacketCopier if self.is_copied else _Reencoder
        self._sink: _PacketCopier | _Reencoder = sink_type(reader, output, container)
        self.notes = [*reader.notes, *self._sink.notes]

    def write_until(self, seconds: float) -> None:
        """Mux the audio before a time, except for a packet or two that are not complete yet."""
        self._sink.write_until(min(seconds, self._end))

    def finish(self, seconds: float) -> None:
        """Mux the rest of the audio up to the end of the video."""
        self._sink.write_until(min(seconds, self._end))
        self._sink.flush()

    @property
    def is_damaged(self) -> bool:
        """Whether parts of the audio could not be read and are missing or silent; the video is written anyway."""
        return self._reader.is_damaged

    def close(self) -> None:
        """Close the audio file."""
        self._reader.close()


def _can_copy(reader: AudioReader, container: Container, start: float, end: float | None) -> bool:
    """Return whether copied packets start and end with the video.

    Args:
        reader: The audio.
        container: Format of the output file.
        start: Start of the part in the source file, in seconds.
        end: End of the audio in the output in seconds, or None if unknown.
    """
    context = reader.stream.codec_context
    if reader.stream_count > 1:
        return False
    if context.codec.canonical_name not in container.copied_audio_codecs:
        return False
    if len(context.extradata or b"") < _LEAST_EXTRADATA.get(context.codec.canonical_name, 0):
        return False  # the muxer would fail and abort the video
    packet_duration = reader.packet_duration()
    if packet_duration <= _MAX_EARLY_END:
        return packet_duration > 0
    can_start = container.has_edit_lists or start == 0
    return can_start and end is not None and reader.end() <= end + _ROUNDING


class _PacketCopier:
    """Muxer that copies the packets of the source, shifted to the new time 0."""

    notes: tuple[str, ...] = ()

    def __init__(self, reader: AudioReader, output: OutputContainer, container: Container) -> None:
        self._reader = reader
        self._output = output
        self._stream = output.add_stream_from_template(reader.stream)
        self._packets = reader.packets()
        self._waiting: Packet | None = None
        self._packet_duration = reader.packet_duration()
        # One packet before time 0 is written where players skip it: a decoder needs it to start cleanly.
        self._earliest = -2 * self._packet_duration if container.has_edit_lists else -_ROUNDING
        self._last_start = -inf

    def write_until(self, seconds: float) -> None:
        while (packet := self._waiting or next(self._packets, None)) is not None:
            self._waiting = packet
            if packet.pts is None or not packet.size:
                self._waiting = None
                continue
            start = self._reader.to_seconds(packet.pts)
            duration = float(packet.duration * packet.time_base) if packet.duration else self._packet_duration
            if start + duration > seconds + _ROUNDING:
                return
            self._waiting = None
            if start < self._earliest:
                continue
            if start <= self._last_start:
                self._reader.is_damaged = True
                continue
            self._last_start = start
            packet.pts -= round(self._reader.origin / packet.time_base)
            packet.dts = packet.pts
            packet.stream = self._stream
            self._output.mux(packet)

    def flush(self) -> None:
        """Do nothing: no packet is held back."""


class _Reencoder:
    """Muxer that decodes, places every sample at its time (silence in gaps), cuts exactly, and encodes."""

    def __init__(self, reader: AudioReader, output: OutputContainer, container: Container) -> None:
        self._reader = reader
        self._output = output
        source = reader.stream.codec_context
        encoding = choose_audio_encoding(source, reader.layout, container)
        self._rate = encoding.sample_rate
        self._layout = encoding.layout
        self._stream = cast(AudioStream, output.add_stream(encoding.encoder, rate=self._rate))
        self._stream.layout = self._layout
        self._stream.format = encoding.sample_format.name
        self._stream.bit_rate = encoding.bit_rate
        # Packed, because PyAV reads beyond the planes of 8 and more channels.
        self._packed_format = encoding.sample_format.packed.name
        self._channel_count = encoding.channel_count
        change = describe_change(source, reader.channel_count, encoding)
        self.notes = [] if change is None else [change]
        self._chunks = self._resample()
        self._pending: tuple[int, np.ndarray] | None = None  # index of the first sample, samples (C, N)
        self._next_index: int | None = None  # index of the sample that follows the last chunk
        self._written = 0  # samples

    def write_until(self, seconds: float) -> None:
        limit = round(seconds * self._rate)
        while self._written < limit and (chunk := self._next_chunk()) is not None:
            index, samples = chunk
            missing = index - self._written
            remaining = limit - self._written
            if missing > 0:
                silence = np.zeros((len(samples), min(missing, remaining, self._rate)), samples.dtype)
                self._encode(silence)
                continue
            due = samples[:, -missing : remaining - missing]
            if due.shape[1]:
                self._encode(due)
            rest = samples[:, remaining - missing :]
            self._pending = (self._written, rest) if rest.shape[1] else None

    def _next_chunk(self) -> tuple[int, np.ndarray] | None:
        """Return the next samples and the index of the first one; chunks are joined across timestamp jitter."""
        if self._pending is None and (chunk := next(self._chunks, None)) is not None:
            index, samples = chunk
            if self._next_index is not None and abs(index - self._next_index) <= MAX_JITTER * self._rate:
                index = self._next_index
            self._next_index = index + samples.shape[1]
            self._pending = index, samples
        return self._pending

    def flush(self) -> None:
        self._output.mux(self._stream.encode(None))

    def _encode(self, samples: np.ndarray) -> None:
        packed = np.ascontiguousarray(samples.T).reshape(1, -1)
        frame = AudioFrame.from_ndarray(packed, self._packed_format, self._layout)
        frame.sample_rate = self._rate
        frame.time_base = Fraction(1, self._rate)
        frame.pts = self._written
        self._written += samples.shape[1]
        self._output.mux(self._stream.encode(frame))

    def _resample(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (index of the first sample from the origin, samples (C, N)) at the encoder's rate and layout."""
        source_format: tuple[str, str, int] | None = None
        resampler: AudioResampler | None = None
        for frame in chain(self._reader.frames(), (None,)):  # None: flush the resampler
            try:
                if frame is not None and source_format != frame_format(frame):
                    source_format = frame_format(frame)
                    resampler = AudioResampler(self._packed_format, self._layout, self._rate)
                parts = resampler.resample(frame) if resampler is not None else []
            except DECODE_ERRORS:
                self._reader.is_damaged = True
                source_format = resampler = None
                continue
            for part in parts:
                yield self._sample_index(part), part.to_ndarray().reshape(-1, self._channel_count).T

    def _sample_index(self, frame: AudioFrame) -> int:
        if frame.pts is None:
            raise ValueError("the resampler returned a frame without a time")
        return round((float(frame.pts * time_base(frame)) - self._reader.origin) * self._rate)
