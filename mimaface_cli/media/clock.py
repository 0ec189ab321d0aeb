"""Packets of a file on one continuous clock: jumps in transport streams and joined recordings are closed.

Source: ts_discontinuity_detect of FFmpeg's program (fftools/ffmpeg_demux.c).
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from math import inf
from pathlib import Path

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from mimaface_cli.media.libav import DECODE_ERRORS, demux, open_input, time_base, video_stream

_CLOCK_TIME = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)\0*")
_HAS_JUMPS = 0x0200  # AVFMT_TS_DISCONT: the format allows timestamps that start again
_MAX_STEP = 10.0  # seconds; a longer step between packets is a jump
_MAX_RETURN = 0.1  # seconds; an earlier packet starts the clock again
_SHORTEST_GIF_FRAME, _DEFAULT_GIF_FRAME = 2, 10  # hundredths of a second
_FALLBACK_STEP = 0.04  # seconds of a packet without a duration


@dataclass
class ClockRepair:
    """Shifts packets after a jump of the clock to where the packets before it end.

    All packets with audio and video must be repaired, in the order of the file, so that every reader sees the same
    clock.

    Attributes:
        jumps: Number of jumps so far.
    """

    jumps: int = 0
    _offset: float = 0.0  # seconds
    _last: float | None = None  # decoding time of the last packet of any stream
    _streams: dict[int, tuple[float, float]] = field(default_factory=dict)  # last decoding time and its end

    def repair(self, packet: Packet) -> None:
        """Shift the times of a packet."""
        if packet.dts is None or packet.stream.type not in ("audio", "video"):
            self._shift(packet, self._offset)
            return
        if packet.pts is not None and abs(float((packet.pts - packet.dts) * packet.time_base)) > _MAX_STEP:
            packet.pts = packet.dts + (packet.duration or 0)  # estimated from the packet after the jump
        seconds = float(packet.dts * packet.time_base) + self._offset
        expected = self._expected(packet.stream.index, seconds)
        if expected is not None:
            self._offset += expected - seconds
            seconds = expected
            self.jumps += 1
        self._shift(packet, self._offset)
        step = float(packet.duration * packet.time_base) if packet.duration else _FALLBACK_STEP
        self._streams[packet.stream.index] = seconds, seconds + step
        self._last = seconds

    def _expected(self, stream: int, seconds: float) -> float | None:
        """Return the time that a packet should have if its clock has jumped, or None."""
        if stream in self._streams:
            last, end = self._streams[stream]
            return end if abs(seconds - end) > _MAX_STEP or seconds + _MAX_RETURN < last else None
        if self._last is not None and abs(seconds - self._last) > _MAX_STEP:
            return self._last
        return None

    @staticmethod
    def _shift(packet: Packet, offset: float) -> None:
        if offset:
            ticks = round(Fraction(offset) / packet.time_base)
            packet.dts = None if packet.dts is None else packet.dts + ticks
            packet.pts = None if packet.pts is None else packet.pts + ticks


def may_jump(container: InputContainer) -> bool:
    """Return whether the clock of a file's format may jump."""
    return bool(container.format.flags & _HAS_JUMPS)


def demux_continuous(container: InputContainer, repair: ClockRepair | None = None) -> Iterator[Packet]:
    """Yield the packets of all streams on a continuous clock.

    Args:
        container: Open file.
        repair: Repair of the clock, which counts the jumps; by default a new one.

    Raises:
        Exception: Any of DECODE_ERRORS.
    """
    if container.format.name == "gif":
        yield from _lengthen_short_frames(demux(container))
        return
    if not may_jump(container):
        yield from demux(container)
        return
    repair = repair or ClockRepair()
    for packet in demux(container):
        repair.repair(packet)
        yield packet


def _lengthen_short_frames(packets: Iterator[Packet]) -> Iterator[Packet]:
    """Yield the packets of a GIF; frames of 10 ms and less last 100 ms, as in browsers."""
    offset = 0
    for packet in packets:
        if packet.pts is not None:
            packet.pts += offset
            packet.dts = packet.pts
            if packet.duration is not None and 0 < packet.duration < _SHORTEST_GIF_FRAME:
                offset += _DEFAULT_GIF_FRAME - packet.duration
                packet.duration = _DEFAULT_GIF_FRAME
        yield packet


def stated_end(container: InputContainer, stream: VideoStream) -> float:
    """Return the end of a video stream in seconds on the file's clock, or -infinity if it is not stated.

    In files whose frames are reordered, the durations of packets do not tell how long the last frame is shown.
    """
    if "mov" in container.format.name and stream.duration:
        return float(((stream.start_time or 0) + stream.duration) * time_base(stream))
    match = _CLOCK_TIME.fullmatch(stream.metadata.get("DURATION", "")) if "matroska" in container.format.name else None
    if match is None:
        return -inf
    hours, minutes, seconds = match.groups()
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


@dataclass(frozen=True)
class ClockScan:
    """The clock of a whole file.

    Args:
        jumps: Number of jumps.
        packets: Number of packets of the main video stream.
        duration: Duration of the video in seconds, without the jumps.
    """

    jumps: int
    packets: int
    duration: float


def scan_clock(path: Path) -> ClockScan:
    """Read the packets of a video up to any damage; the result for an unchanged file is remembered.

    Raises:
        InputError: If the file cannot be opened.
    """
    status = path.stat()
    return _scan(path.absolute(), status.st_mtime_ns, status.st_size)


def _up_to_damage(packets: Iterator[Packet]) -> Iterator[Packet]:
    with suppress(*DECODE_ERRORS):
        yield from packets


@lru_cache(maxsize=64)
def _scan(path: Path, modified: int, size: int) -> ClockScan:
    repair, count = ClockRepair(), 0
    first = last = None
    with open_input(path) as container:
        index = video_stream(container, path).index
        for packet in _up_to_damage(demux_continuous(container, repair)):
            if packet.is_corrupt and not may_jump(container):
                continue  # incomplete, at the end of a file that was cut short
            if packet.stream.index == index and packet.pts is not None and packet.size:
                count += 1
                start = float(packet.pts * packet.time_base)
                end = start + (float(packet.duration * packet.time_base) if packet.duration else _FALLBACK_STEP)
                first = start if first is None else min(first, start)
                last = end if last is None else max(last, end)
    return ClockScan(repair.jumps, count, 0.0 if first is None or last is None else last - first)
