"""Small videos for pages: several inputs side by side, synchronized because they are one video."""

from collections.abc import Generator, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from mimaface_cli.drivers.track_driver import is_track
from mimaface_cli.errors import MimafaceError
from mimaface_cli.evaluation.pair_frames import resize_frame
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.reader import Frame, probe, read_frames
from mimaface_cli.media.writer import open_writer

_PLAYABLE = {".mp4": ("h264", "vp9", "av1"), ".m4v": ("h264",), ".webm": ("vp8", "vp9", "av1")}
_PIXEL_FORMATS = ("yuv420p", "yuvj420p")
_MAX_RATE = 30  # frames per second of a preview
_ENCODING = EncodeOptions(codec="h264", crf=28, preset="veryfast", pixel_format="yuv420p")


def is_playable(path: Path) -> bool:
    """Return whether browsers play a file as it is."""
    codecs = _PLAYABLE.get(path.suffix.lower())
    if codecs is None or not path.is_file():
        return False
    try:
        info = probe(path)
    except MimafaceError:
        return False
    return info.codec in codecs and info.pixel_format in _PIXEL_FORMATS


def write_preview(path: Path, inputs: Sequence[Path], height: int, start: float = 0.0, seconds: float = 1e9) -> bool:
    """Write a video that shows videos, images or folders of images side by side, without audio.

    The first input gives the frame rate and the duration. The others show their nearest frame.

    Args:
        path: The video, .mp4.
        inputs: Inputs from left to right; tracks are left out.
        height: Height in pixels; even.
        start: First second of the preview.
        seconds: Largest duration.

    Returns:
        False if no input has frames.

    Raises:
        InputError: An input cannot be read.
        OutputError: The video cannot be written.
    """
    shown = [each for each in inputs if not is_track(each)]
    if not shown:
        return False
    info = probe(shown[0])
    rate = Fraction(info.frame_rate or 25)
    step = max(1, round(rate / _MAX_RATE))
    streams = [_NearestFrames(each) for each in shown[1:]]
    frames = read_frames(shown[0])
    try:
        images = _compose(frames, streams, height, start, start + seconds, step)
        first = next(images, None)
        if first is None:
            return False
        image, _ = first
        with open_writer(path, image.shape[1], image.shape[0], rate / step, options=_ENCODING) as writer:
            for index, (image, _) in enumerate(_chain(first, images)):
                writer.write(image, float(index * step / rate))
    finally:
        frames.close()
        for stream in streams:
            stream.close()
    return True


def _compose(
    frames: Generator[Frame, None, None],
    streams: "Sequence[_NearestFrames]",
    height: int,
    start: float,
    end: float,
    step: int,
) -> Iterator[tuple[np.ndarray, float]]:
    """Yield the frames side by side, with their times."""
    origin: float | None = None
    widths: list[int] = []
    for index, frame in enumerate(frames):
        origin = frame.pts if origin is None else origin
        time = frame.pts - origin
        if time >= end:
            return
        if time < start or index % step:
            continue
        parts = [frame.image, *(stream.at(time) for stream in streams)]
        if not widths:
            widths = [max(2, round(part.shape[1] * height / part.shape[0] / 2) * 2) for part in parts]
        yield (
            np.ascontiguousarray(
                np.hstack([resize_frame(part, width, height) for part, width in zip(parts, widths, strict=True)])
            ),
            time,
        )


def _chain(
    first: tuple[np.ndarray, float], rest: Iterator[tuple[np.ndarray, float]]
) -> Iterator[tuple[np.ndarray, float]]:
    yield first
    yield from rest


class _NearestFrames:
    """The frames of an input by time; the last one is held. Times must not decrease."""

    def __init__(self, path: Path) -> None:
        self._frames = read_frames(path)
        self._current = next(self._frames)
        self._next = next(self._frames, None)
        self._start = self._current.pts

    def at(self, time: float) -> np.ndarray:
        """Return the nearest frame as H×W×3 uint8 RGB."""
        wanted = time + self._start
        while self._next is not None and abs(self._next.pts - wanted) <= abs(self._current.pts - wanted):
            self._current, self._next = self._next, next(self._frames, None)
        return self._current.image

    def close(self) -> None:
        """Close the file."""
        self._frames.close()
