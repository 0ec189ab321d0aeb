"""Sound carried over into a written video: copied untouched where container and timing allow, else encoded anew.

Time 0 of a video's sound is the moment of its first shown frame, as `read_frames` counts; of a sound file, its first
sample. Sound never outlasts the picture: it ends within 25 ms of it, or exactly when encoded anew.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from math import inf
from pathlib import Path

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.codec import Codec as FFmpegCodec
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from mimaface_cli.errors import InputError
from mimaface_cli.files import check_input_file
from mimaface_cli.media.encoding import Container
from mimaface_cli.media.image import image_kind
from mimaface_cli.media.libav import DAMAGE, audio_stream, open_input, packets, video_stream
from mimaface_cli.media.video import shown_frames

_TOLERANCE = 0.025  # seconds by which a copied sound may end before the picture
_LOOKED_AT = 8  # packets that tell how long packets are
GAP = 0.04  # seconds by which a sound's times may wander before silence is put in or samples left out
_BITS_PER_CHANNEL = 96_000
_LOSSLESS = {"flac", "alac", "pcm_s16le", "pcm_s24le", "pcm_f32le"}  # encoded anew as themselves: cutting costs nothing


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """Sound to lay under a video: from `start` seconds in `path`, for `duration` seconds (None: to its end)."""

    path: Path
    start: float = 0.0
    duration: float | None = None


def has_audio(path: Path) -> bool:
    """Whether a video or sound file holds sound; pictures and folders do not. Raises InputError if unreadable."""
    path = Path(path)
    if path.is_dir():
        return False
    check_input_file(path)
    if image_kind(path) is not None:
        return False
    with open_input(path) as container:
        return audio_stream(container) is not None


class Sound:
    """The sound of one `AudioTrack` on its way into `output`; made before the first packet is muxed.

    `until` and `finish` mux it alongside the picture. Raises InputError when the track has no sound.
    """

    def __init__(
        self, track: AudioTrack, output: OutputContainer, target: Container, expected: float | None = None
    ) -> None:
        """`expected`: the picture's length in seconds, where known: it lets sound in long packets be copied too."""
        path = Path(track.path)
        self._end = inf if track.duration is None else track.duration
        origin = time_zero(path) + track.start
        source = SoundSource(path, origin)
        self.copied = _can_copy(source, target, track.start, None if expected is None else min(self._end, expected))
        """Whether the packets go over untouched."""
        mover = _Copier if self.copied else _Encoder
        self._mover = mover(source, output, target)

    def until(self, seconds: float) -> None:
        """Mux what sounds before `seconds` (less a packet or two that are not complete yet)."""
        self._mover.until(min(seconds, self._end))

    def finish(self, seconds: float) -> None:
        """Mux the rest, up to `seconds`, the picture's end."""
        self._mover.until(min(seconds, self._end))
        self._mover.flush()

    @property
    def damaged(self) -> bool:
        """Whether parts of the sound could not be read and are missing or silent; the picture is kept for all that."""
        return self._mover.source.damaged

    def close(self) -> None:
        """Close the source."""
        self._mover.source.close()


class SoundSource:
    """An opened sound: `stream`, and times counted from `origin` (seconds on the file's own clock)."""

    def __init__(self, path: Path, origin: float) -> None:
        self.path = path
        self.origin = origin
        self.damaged = False
        self.container: InputContainer = open_input(path)
        stream = audio_stream(self.container)
        if stream is None:
            self.container.close()
            raise InputError(f"{path}: holds no sound; choose another file or leave the sound out")
        self.stream: AudioStream = stream
        self._packets = self._demuxed()
        self._first = list(islice(self._packets, _LOOKED_AT))

    def _demuxed(self) -> Iterator[Packet]:
        try:
            yield from packets(self.container, self.stream)
        except DAMAGE:
            self.damaged = True

    def packets(self) -> Iterator[Packet]:
        """All packets; the last one is empty and flushes a decoder."""
        yield from self._first
        yield from self._packets

    def frames(self) -> Iterator[AudioFrame]:
        """All that can be decoded, every frame with a time in ticks of the stream."""
        time_base = self.stream.time_base
        due = 0.0  # for frames without a time
        for packet in self.packets():
            try:
                frames = packet.decode()
            except DAMAGE:
                self.damaged = True  # silence takes its place
                continue
            for frame in frames:
                if frame.pts is None:
                    frame.pts = round(due / time_base)
                frame.time_base = time_base
                due = float(frame.pts * time_base) + frame.samples / frame.sample_rate
                yield frame

    def seconds(self, ticks: int) -> float:
        """A time of the stream, from the origin."""
        return float(ticks * self.stream.time_base) - self.origin

    def packet_seconds(self) -> float:
        """How long a packet sounds at most; 0 where that is unknown."""
        ticks = max((packet.duration or 0 for packet in self._first), default=0)
        context = self.stream.codec_context
        return max(float(ticks * self.stream.time_base), context.frame_size / context.sample_rate)

    def end(self) -> float:
        """When the sound ends, from the origin; infinity where the header does not say."""
        if self.stream.duration is None:
            return inf
        return self.seconds((self.stream.start_time or 0) + self.stream.duration)

    def close(self) -> None:
        self.container.close()


def time_zero(path: Path) -> float:
    """The moment on the file's own clock that counts as 0."""
    with open_input(path) as container:
        try:
            stream = video_stream(container, path)
            frame = next(shown_frames(container, stream, path))
        except InputError:  # no picture: a sound file, or as good as one
            sound = audio_stream(container)
            return float((sound.start_time or 0) * sound.time_base) if sound is not None else 0.0
        return float((frame.pts or 0) * stream.time_base)


def _can_copy(source: SoundSource, target: Container, start: float, end: float | None) -> bool:
    """Whether packets can go over untouched and still start and end with the picture (`end` None: nobody knows)."""
    context = source.stream.codec_context
    if context.codec.canonical_name not in target.audio_copied:
        return False
    if context.codec.canonical_name == "aac" and not context.extradata:
        return False  # framed for broadcast: a damaged packet would fail in the muxer and cost the picture
    length = source.packet_seconds()
    if length <= _TOLERANCE:
        return length > 0
    return (target.negative_times or start == 0) and end is not None and source.end() <= end + 0.001


class _Copier:
    """Muxes a sound's own packets, shifted to the new time 0."""

    def __init__(self, source: SoundSource, output: OutputContainer, target: Container) -> None:
        self.source = source
        self._output = output
        self._stream = output.add_stream_from_template(source.stream)
        self._packets = source.packets()
        self._waiting: Packet | None = None
        self._length = source.packet_seconds()
        # One packet before time 0 is kept where playback skips it: a decoder needs it to start cleanly.
        self._earliest = -2 * self._length if target.negative_times else -0.001
        self._last = -inf

    def until(self, seconds: float) -> None:
        while (packet := self._waiting or next(self._packets, None)) is not None:
            self._waiting = packet
            if packet.pts is None or not packet.size:
                self._waiting = None
                continue
            start = self.source.seconds(packet.pts)
            length = float(packet.duration * packet.time_base) if packet.duration else self._length
            if start + length > seconds + 0.001:
                return
            self._waiting = None
            if start < self._earliest:
                continue
            if start <= self._last:
                self.source.damaged = True
                continue
            self._last = start
            packet.pts -= round(self.source.origin / packet.time_base)
            packet.dts = packet.pts
            packet.stream = self._stream
            self._output.mux(packet)

    def flush(self) -> None:
        """Nothing is held back."""


class _Encoder:
    """Decodes, places every sample at its time (silence in gaps), cuts exactly, encodes."""

    def __init__(self, source: SoundSource, output: OutputContainer, target: Container) -> None:
        self.source = source
        self._output = output
        given = source.stream.codec_context
        name = given.codec.canonical_name
        lossless = name in target.audio_copied & _LOSSLESS
        encoder = FFmpegCodec(name if lossless else target.sound_encoder, "w")
        self._rate = given.sample_rate if lossless else _lossy_rate(given.sample_rate, encoder.name)
        self._layout = "mono" if given.channels == 1 else "stereo"
        form = min(encoder.audio_formats, key=lambda form: abs(form.bits - given.format.bits))
        self._stream = output.add_stream(encoder.name, rate=self._rate)
        self._stream.layout = self._layout
        self._stream.format = form.name
        self._stream.bit_rate = _BITS_PER_CHANNEL * (1 if self._layout == "mono" else 2)
        self._form = form.planar.name
        self._chunks = self._placed()
        self._held: tuple[int, np.ndarray] | None = None
        self._due: int | None = None
        self._written = 0

    def until(self, seconds: float) -> None:
        limit = round(seconds * self._rate)
        while self._written < limit and (chunk := self._chunk()) is not None:
            place, samples = chunk
            missing, room = place - self._written, limit - self._written
            if missing > 0:
                self._encode(np.zeros((len(samples), min(missing, room, self._rate)), samples.dtype))
                continue
            used = samples[:, -missing : room - missing]
            if used.shape[1]:
                self._encode(used)
            rest = samples[:, room - missing :]
            self._held = (self._written, rest) if rest.shape[1] else None

    def _chunk(self) -> tuple[int, np.ndarray] | None:
        """The next decoded samples and their place; where a source's times wander a little, its samples still join."""
        if self._held is None and (chunk := next(self._chunks, None)) is not None:
            place, samples = chunk
            if self._due is not None and abs(place - self._due) <= GAP * self._rate:
                place = self._due
            self._due = place + samples.shape[1]
            self._held = place, samples
        return self._held

    def flush(self) -> None:
        self._output.mux(self._stream.encode(None))

    def _encode(self, samples: np.ndarray) -> None:
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples), self._form, self._layout)
        frame.sample_rate = self._rate
        frame.time_base = Fraction(1, self._rate)
        frame.pts = self._written
        self._written += samples.shape[1]
        self._output.mux(self._stream.encode(frame))

    def _placed(self) -> Iterator[tuple[int, np.ndarray]]:
        """(index of the first sample counted from the origin, samples C x n) at the encoder's rate and layout."""
        shape = resampler = None
        for frame in chain(self.source.frames(), (None,)):  # None: what the resampler still holds
            try:
                if frame is not None and shape != (frame.format.name, frame.layout.name, frame.sample_rate):
                    shape = frame.format.name, frame.layout.name, frame.sample_rate
                    resampler = AudioResampler(self._form, self._layout, self._rate)
                parts = resampler.resample(frame) if resampler is not None else []
            except DAMAGE:
                self.source.damaged = True
                shape = resampler = None
                continue
            for part in parts:
                yield self._place(part), part.to_ndarray()

    def _place(self, frame: AudioFrame) -> int:
        return round((float(frame.pts * frame.time_base) - self.source.origin) * self._rate)


def _lossy_rate(rate: int, encoder: str) -> int:
    """A rate of the same family at which a packet is short enough to end with the picture, and all players agree."""
    return 44_100 if encoder == "aac" and 44_100 % rate == 0 else 48_000
