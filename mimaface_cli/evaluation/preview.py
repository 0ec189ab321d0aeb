"""Small videos for pages: frames side by side, synchronized because they are one video."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from mimaface_cli.drivers.track_driver import is_track
from mimaface_cli.errors import MimafaceError
from mimaface_cli.evaluation.pair_frames import resize_frame
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.reader import Frame, probe, read_frames
from mimaface_cli.media.writer import FrameWriter, open_writer

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


class TimedFrames(Protocol):
    """Frames by time, such as `DriverFrames`."""

    def frame_at(self, seconds: float) -> np.ndarray | None:
        """Return the frame at a time as H×W×3 uint8 RGB, or None. Times must not decrease from call to call."""


def write_preview(
    path: Path, main: Path, beside: Sequence[TimedFrames] = (), *, height: int, seconds: float = 1e9
) -> bool:
    """Write a video that shows a video, or images, and other frames at its right, without audio.

    Args:
        path: The video, .mp4.
        main: Video, image or folder of images; it gives the frame rate and the duration.
        beside: Frames that are shown at its right at the same times.
        height: Height in pixels; even.
        seconds: Largest duration.

    Returns:
        False for a track, which has no frames.

    Raises:
        InputError: An input cannot be read.
        OutputError: The video cannot be written.
    """
    if is_track(main):
        return False
    rate = Fraction(probe(main).frame_rate or 25)
    step = max(1, round(rate / _MAX_RATE))
    frames = read_frames(main)
    writer: FrameWriter | None = None
    try:
        with ExitStack() as stack:
            for index, image in enumerate(_compose(frames, beside, height, seconds, step)):
                if writer is None:
                    size = image.shape[1], image.shape[0]
                    writer = stack.enter_context(open_writer(path, *size, rate / step, options=_ENCODING))
                writer.write(image, float(index * step / rate))
    finally:
        frames.close()
    return writer is not None


def _compose(
    frames: Generator[Frame, None, None], beside: Sequence[TimedFrames], height: int, seconds: float, step: int
) -> Iterator[np.ndarray]:
    """Yield the frames side by side."""
    origin: float | None = None
    widths: list[int] = []
    for index, frame in enumerate(frames):
        origin = frame.pts if origin is None else origin
        time = frame.pts - origin
        if time >= seconds:
            return
        others = [image for each in beside if (image := each.frame_at(time)) is not None]
        if index % step:
            continue
        parts = [frame.image, *others]
        widths = widths or [max(2, round(part.shape[1] * height / part.shape[0] / 2) * 2) for part in parts]
        resized = [resize_frame(part, width, height) for part, width in zip(parts, widths, strict=True)]
        yield np.ascontiguousarray(np.hstack(resized))
