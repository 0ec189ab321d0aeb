"""Backdrops: a color, an image or a video behind the person in place of the source's background."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.apps.background_option import background_path, parse_color
from mimaface_cli.engines.base import FrameStream
from mimaface_cli.errors import InputError
from mimaface_cli.files import is_image_folder
from mimaface_cli.media.image import flatten_alpha, read_image
from mimaface_cli.media.reader import Frame, probe, read_frames
from mimaface_cli.media.video import MediaInfo

_TIME_TOLERANCE = 1e-4  # seconds
_HIDDEN_MARGIN = 16  # pixels around the person whose colors stay, for codecs that work in blocks


@dataclass(frozen=True)
class Backdrop:
    """A color, or an image or video that covers the frame.

    Attributes:
        color: RGB values, 0 to 255; ignored with media.
        media: The image, video or folder of frames, or None for a color.
    """

    color: tuple[int, int, int] = (0, 0, 0)
    media: MediaInfo | None = None

    @property
    def path(self) -> Path | None:
        """The image, video or folder, or None for a color."""
        return None if self.media is None else self.media.path


def inspect_backdrop(background: str) -> Backdrop | None:
    """Return the backdrop that the option `background` names, or None for keep and transparent.

    Raises:
        InputError: For a file that is missing or cannot be read.
    """
    color = parse_color(background)
    if color is not None:
        return Backdrop(color)
    path = background_path(background)
    if path is None:
        return None
    if not (path.exists() or is_image_folder(path)):
        raise InputError(
            f"{background} is neither a color nor an existing file. Give keep, transparent, a color such as white or "
            "#00b140, or the path of an image or a video.",
            field="background",
        )
    return Backdrop(media=probe(path))


def replace_background(stream: FrameStream, backdrop: Backdrop | None) -> None:
    """Put a backdrop behind the frames of a stream, which show the person alone.

    Args:
        stream: The frames.
        backdrop: The backdrop, or None for transparency.
    """
    if backdrop is None:
        stream.frames = clear_hidden_colors(stream.frames)
    else:
        stream.frames = compose_frames(stream.frames, backdrop, stream.pts)
        stream.is_cutout = False


def compose_frames(
    frames: Generator[np.ndarray, None, None], backdrop: Backdrop, pts: np.ndarray
) -> Generator[np.ndarray, None, None]:
    """Lay the person over a backdrop.

    An image or a video is scaled so that it covers the frame, and centered. A video starts with the first frame, plays
    at its own speed, and starts again at its end.

    Args:
        frames: (H, W, 4) uint8, the person alone with straight alpha; closed with the result.
        backdrop: The backdrop.
        pts: (N,) times of the frames in seconds.

    Yields:
        (H, W, 3) uint8. Where the person's alpha is 0, it equals the backdrop.
    """
    views: Generator[np.ndarray, None, None] | None = None
    try:
        for frame in frames:
            if views is None:
                views = _view(backdrop, frame.shape[1], frame.shape[0], pts - pts[0])
            yield compose(frame, next(views))
    finally:
        frames.close()
        if views is not None:
            views.close()


def compose(frame: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return a frame (H, W, 4) with straight alpha over a background (H, W, 3), all uint8, rounded to nearest."""
    alpha = np.ascontiguousarray(frame[..., 3])
    result = background.copy()
    cv2.copyTo(np.ascontiguousarray(frame[..., :3]), (alpha == 255).astype(np.uint8), result)
    is_soft = (alpha > 0) & (alpha < 255)
    share = alpha[is_soft][:, None].astype(np.uint16)
    mixed = frame[is_soft][:, :3] * share + background[is_soft] * (255 - share)
    result[is_soft] = ((mixed + 127) // 255).astype(np.uint8)
    return result


def clear_hidden_colors(frames: Generator[np.ndarray, None, None]) -> Generator[np.ndarray, None, None]:
    """Set the colors of frames (H, W, 4) to black where they are transparent, except near the person."""
    kernel = np.ones((2 * _HIDDEN_MARGIN + 1,) * 2, np.uint8)
    try:
        for frame in frames:
            is_near = cv2.dilate((frame[..., 3] > 0).astype(np.uint8), kernel)
            yield cv2.copyTo(frame, is_near)
    finally:
        frames.close()


def _view(backdrop: Backdrop, width: int, height: int, times: np.ndarray) -> Generator[np.ndarray, None, None]:
    """Yield the backdrop (height, width, 3) at each time."""
    media = backdrop.media
    if media is not None and media.kind != "image":
        yield from _play(media, width, height, times)
        return
    if media is None:
        still = np.full((height, width, 3), backdrop.color, np.uint8)
    else:
        still = cover(flatten_alpha(read_image(media.path)), width, height)
    for _ in times:
        yield still


def _play(media: MediaInfo, width: int, height: int, times: np.ndarray) -> Generator[np.ndarray, None, None]:
    """Yield a video's frame at each time, in a loop."""
    shown: Frame | None = None
    image = np.empty(0, np.uint8)
    loop = _loop(media)
    try:
        current, end = next(loop)
        for time in times:
            while time > end - _TIME_TOLERANCE:
                current, end = next(loop)
            if current is not shown:
                shown, image = current, cover(current.image, width, height)
            yield image
    finally:
        loop.close()


def _loop(media: MediaInfo) -> Generator[tuple[Frame, float], None, None]:
    """Yield the frames of a video without end, each with the time in seconds until which it is shown."""
    start = 0.0
    while True:
        stream = read_frames(media.path, frame_rate=media.frame_rate)
        try:
            current = next(stream)
            for following in stream:
                yield current, start + following.pts
                current = following
        finally:
            stream.close()
        start += current.pts + float(1 / media.frame_rate)
        if current.index == 0:  # a single frame holds
            start = float("inf")
        yield current, start


def cover(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Scale an image so that it covers a size, and cut what protrudes on both sides.

    Args:
        image: (H, W, 3) uint8.
        width: Width in pixels.
        height: Height in pixels.

    Returns:
        (height, width, 3) uint8; the same image if it has this size.
    """
    rows, columns = image.shape[:2]
    if (columns, rows) == (width, height):
        return image
    scale = max(width / columns, height / rows)
    extent = [min(length, max(1, round(side / scale))) for length, side in ((rows, height), (columns, width))]
    top, left = ((length - part) // 2 for length, part in zip((rows, columns), extent, strict=True))
    part = image[top : top + extent[0], left : left + extent[1]]
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
