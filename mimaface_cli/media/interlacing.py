"""Interlaced video: detection from flags and from the frames themselves, and deinterlacing by FFmpeg's filters.

The flags of files are often wrong: progressive frames are stored as interlaced ones, and the reverse. So the fields are
compared. Let S be the combing of a frame, and P and N the combing after its bottom field is exchanged for that of the
previous and of the next frame. Where something moves, S is below P and N in a progressive video. In an interlaced one,
S equals P if the top field is the first, because both are half a frame away; else S equals N.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import numpy as np
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame

from mimaface_cli.media.deinterlace_option import FIELD, OFF
from mimaface_cli.media.libav import time_base

SCANNED_FRAMES = 41
"""Number of frames that decide whether a video is interlaced."""

_INTERLACED_HEIGHTS = (480, 486, 512, 576, 608, 1080, 1088)
_MIN_MOTION = 0.02  # of the combing, for a frame to count
_MIN_FRAMES = 5  # that agree, if the flags say otherwise
_MAJORITY = 0.8
_REPEATED_SHARE = 0.3  # of the other field's change below which a field is a repetition
_TELECINE_SHARE = (0.12, 0.28)  # of repeated fields of each kind; 3:2 pulldown repeats one of each in five frames
_FIELD_STEP = 3  # columns that are skipped


@dataclass(frozen=True)
class Scan:
    """How the lines of a video were scanned.

    Attributes:
        kind: "progressive", "interlaced", or "telecined" (film with 3:2 pulldown).
        is_top_first: Whether the top field is the first; None if the frames' own flags say so.
    """

    kind: Literal["progressive", "interlaced", "telecined"] = "progressive"
    is_top_first: bool | None = None

    def frame_rate(self, rate: Fraction, mode: str) -> Fraction:
        """Return the frame rate after deinterlacing."""
        if self.kind == "telecined" and mode != OFF:
            return rate * 4 / 5
        return rate * 2 if self.kind == "interlaced" and mode == FIELD else rate

    def notes(self, name: str, rate: Fraction, mode: str) -> tuple[str, ...]:
        """Return the notes for the user about a file with this name and frame rate."""
        if self.kind == "progressive":
            return ()
        if mode == OFF:
            return (f"{name}: is {self.kind} and is not deinterlaced",)
        shown = float(self.frame_rate(rate, mode))
        if self.kind == "telecined":
            return (f"{name}: is telecined; the {shown:.5g} frames per second of the film are restored",)
        hint = "" if mode == FIELD else f"; `deinterlace={FIELD}` gives {2 * shown:.5g}"
        return (f"{name}: is interlaced; it is deinterlaced to {shown:.5g} frames per second{hint}",)

    def filters(self, mode: str) -> list[tuple[str, str]]:
        """Return the filters that give progressive frames, each with its arguments."""
        if self.kind == "progressive" or mode == OFF:
            return []
        if self.kind == "telecined":
            return [("fieldmatch", ""), ("bwdif", "mode=send_frame:deint=interlaced"), ("decimate", "")]
        parity = {None: "auto", True: "tff", False: "bff"}[self.is_top_first]
        frames = "interlaced" if self.is_top_first is None else "all"
        return [("bwdif", f"mode=send_{mode}:parity={parity}:deint={frames}")]


def may_be_interlaced(frame: VideoFrame) -> bool:
    """Return whether frames like this one can be interlaced: by its flag, or by a height of interlaced formats."""
    return frame.interlaced_frame or frame.height in _INTERLACED_HEIGHTS


def detect_scan(frames: Iterable[VideoFrame]) -> Scan:
    """Detect the scan of a video from its first frames.

    Args:
        frames: Consecutive decoded frames; SCANNED_FRAMES of them are enough.
    """
    is_flagged, votes, repeated, pairs = False, [0, 0, 0], [0, 0], 0
    fields: list[tuple[np.ndarray, np.ndarray]] = []
    for frame in frames:
        is_flagged |= frame.interlaced_frame
        luma = _read_luma(frame)
        if luma is None or (fields and luma.shape != fields[-1][0].shape):
            break
        fields = [*fields[-2:], (luma, luma)]
        if len(fields) == 3:
            vote = _compare_fields(*(luma for luma, _ in fields))
            if vote is not None:
                votes[vote] += 1
        if len(fields) >= 2:
            field = _repeated_field(fields[-2][0], fields[-1][0])
            pairs += 1
            if field is not None:
                repeated[field] += 1
    low, high = _TELECINE_SHARE
    if pairs >= 10 and all(low <= count / pairs <= high for count in repeated):
        return Scan("telecined")
    progressive, top_first, bottom_first = votes
    total = sum(votes)
    if is_flagged:
        if progressive >= max(_MIN_FRAMES, _MAJORITY * total):
            return Scan()
        return Scan("interlaced")
    for count, is_top_first in ((top_first, True), (bottom_first, False)):
        if count >= max(_MIN_FRAMES, _MAJORITY * total):
            return Scan("interlaced", is_top_first)
    return Scan()


def _read_luma(frame: VideoFrame) -> np.ndarray | None:
    """Return the brightness of a YUV frame, (2 n, W) float32; None for other formats."""
    if frame.format.is_rgb or not frame.format.is_planar or frame.height < 16:
        return None
    plane = frame.planes[0]
    component = frame.format.components[0]
    sample_type = np.uint8 if component.bits == 8 else np.uint16
    rows = np.frombuffer(memoryview(plane), sample_type).reshape(frame.height, -1)
    return rows[: frame.height // 2 * 2, : frame.width : _FIELD_STEP].astype(np.float32)


def _compare_fields(before: np.ndarray, current: np.ndarray, after: np.ndarray) -> int | None:
    """Return the vote of a frame: 0 progressive, 1 top field first, 2 bottom field first; None without motion."""
    same, previous, following = (_combing(current[::2], frame[1::2]) for frame in (current, before, after))
    changes = previous - same, following - same
    if max(changes) < _MIN_MOTION * same + 1e-3:
        return None
    ratio = min(changes) / max(changes)
    if ratio > 0.5:
        return 0
    if abs(ratio) > 0.25:
        return None
    return 1 if changes[1] > changes[0] else 2


def _combing(top: np.ndarray, bottom: np.ndarray) -> float:
    """Return how far the lines of a field differ from the lines of the other field around them."""
    return float(np.abs(2 * bottom[:-1] - top[:-1] - top[1:]).mean())


def _repeated_field(before: np.ndarray, current: np.ndarray) -> int | None:
    """Return the field (0 top, 1 bottom) that is the same as in the frame before, while the other one changes."""
    changes = [float(np.abs(current[line::2] - before[line::2]).mean()) for line in (0, 1)]
    if max(changes) < 0.5 or min(changes) > _REPEATED_SHARE * max(changes):
        return None
    return changes.index(min(changes))


class Deinterlacer:
    """A chain of FFmpeg's filters between the decoder and the conversion to RGB.

    Args:
        filters: Names and arguments; none passes frames on unchanged.
        rate: Frame rate of the decoded frames.
    """

    def __init__(self, filters: list[tuple[str, str]], rate: Fraction) -> None:
        self._filters = filters
        self._rate = rate
        self._graph: Graph | None = None
        self._properties: tuple[object, ...] = ()

    def process(self, frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
        """Yield the progressive frames; a change of the frame's format restarts the filters."""
        if not self._filters:
            yield from frames
            return
        for frame in frames:
            properties = frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range
            if properties != self._properties:
                yield from self._finish()
                self._graph, self._properties = self._open(frame), properties
            if self._graph is not None:
                self._graph.push(frame)
                yield from self._pull()
        yield from self._finish()

    def _open(self, frame: VideoFrame) -> Graph:
        graph = Graph()
        clock, rate = time_base(frame), self._rate
        last: FilterContext = graph.add(
            "buffer",
            f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base={clock.numerator}/"
            f"{clock.denominator}:frame_rate={rate.numerator}/{rate.denominator}",
        )
        for name, arguments in self._filters:
            following = graph.add(name, arguments or None)
            last.link_to(following)
            last = following
        last.link_to(graph.add("buffersink"))
        graph.configure()
        return graph

    def _pull(self) -> Iterator[VideoFrame]:
        while self._graph is not None:
            try:
                frame = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            if isinstance(frame, VideoFrame):
                yield frame

    def _finish(self) -> Iterator[VideoFrame]:
        if self._graph is not None:
            self._graph.push(None)
            yield from self._pull()
            self._graph = None
