"""The number of frames and the duration of a video, also if it was cut short or its clock jumps."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from mimaface_cli.media.clock import may_jump, scan_clock
from mimaface_cli.media.completeness import count_index, is_cut_short, is_fragmented
from mimaface_cli.media.libav import time_base

_LEFT_OUT_SECONDS = 0.1  # before the first frame that can be decoded, from which they are noted


@dataclass(frozen=True)
class VideoExtent:
    """How much of a video there is.

    Args:
        count: Number of frames, or None if it is unknown.
        duration: Duration in seconds, or None if it is unknown.
        repairs: Notes about what is repaired.
        is_truncated: Whether frames are missing at the end.
    """

    count: int | None = None
    duration: float | None = None
    repairs: tuple[str, ...] = ()
    is_truncated: bool = False


def describe_start(name: str, first: VideoFrame, times: list[int]) -> tuple[str, ...]:
    """Return a note if frames are left out before the first one that can be decoded, as in a recording that was cut.

    Args:
        name: Name of the video.
        first: The first frame.
        times: Times of the first packets in order, in ticks of the stream.
    """
    if not times or first.pts is None or first.time_base is None:
        return ()
    seconds = float((first.pts - times[0]) * first.time_base)
    if seconds < _LEFT_OUT_SECONDS:
        return ()
    return (f"{name}: the first {seconds:.2f} s cannot be decoded; they are left out",)


def measure_extent(container: InputContainer, stream: VideoStream, path: Path, rate: Fraction) -> VideoExtent:
    """Return how much of a video there is.

    Args:
        container: Open file.
        stream: Its video stream.
        path: Its path.
        rate: Nominal frame rate.
    """
    if may_jump(container):
        scan = scan_clock(path)
        jumps = f"the clock jumps {scan.jumps} times" if scan.jumps > 1 else "the clock jumps once"
        repairs = (f"{path.name}: {jumps}; the parts are joined without a pause",) if scan.jumps else ()
        return VideoExtent(scan.packets or None, scan.duration or None, repairs)
    if container.format.name == "gif":
        scan = scan_clock(path)
        return VideoExtent(scan.packets or None, scan.duration or None)
    duration = None
    if stream.duration:
        duration = float(stream.duration * time_base(stream))
    elif container.duration:
        duration = container.duration / 1e6
    count = stream.frames or None
    if count:
        count -= sum(entry.is_discard for entry in stream.index_entries)
    elif duration:
        count = round(duration * rate)
    if is_cut_short(container, path):
        return _measure_rest(container, stream, path, count)
    return VideoExtent(count, duration)


def _measure_rest(container: InputContainer, stream: VideoStream, path: Path, stated: int | None) -> VideoExtent:
    """Return what is left of a video that was cut short; `stated` is the number of its frames, if it is known."""
    scan = scan_clock(path)
    present, missing = scan.packets, (stated or 0) - scan.packets
    if "mov" in container.format.name:
        present, missing = (scan.packets, 0) if is_fragmented(path) else count_index(stream, path)
    absent = f"{missing} are missing at its end" if missing > 0 else "an unknown number is missing at its end"
    note = f"{path.name}: is cut short; {present} frames are present, {absent}"
    return VideoExtent(present or None, scan.duration or None, (note,), is_truncated=True)
