"""Source, driver and result side by side."""

from collections.abc import Generator
from dataclasses import dataclass

import cv2
import numpy as np

from mimaface_cli.media.image import flatten_alpha, read_image
from mimaface_cli.media.reader import Frame, read_frames
from mimaface_cli.media.video import MediaInfo

MAX_HEIGHT = 1080
_TIME_TOLERANCE = 1e-4  # seconds


@dataclass(frozen=True)
class PanelLayout:
    """Sizes of the panels.

    Attributes:
        inputs: Inputs shown beside the result, from left to right.
        widths: Widths of all panels in pixels; the result comes last.
        height: Height of all panels in pixels.
    """

    inputs: list[MediaInfo]
    widths: list[int]
    height: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the joined frame in pixels."""
        return sum(self.widths), self.height


def plan_panels(size: tuple[int, int], source: MediaInfo, driver: MediaInfo | None) -> PanelLayout:
    """Return the layout source | driver | result.

    Args:
        size: Width and height of the result.
        source: The source.
        driver: The driver, or None for one without frames, which gets no panel.
    """
    height = min(size[1], MAX_HEIGHT)
    inputs = [source] if driver is None else [source, driver]
    shapes = [*((info.width, info.height) for info in inputs), size]
    widths = [max(1, round(width * height / shape_height)) for width, shape_height in shapes]
    return PanelLayout(inputs, widths, height)


def join_panels(
    frames: Generator[np.ndarray, None, None], layout: PanelLayout, pts: np.ndarray, starts: list[float]
) -> Generator[np.ndarray, None, None]:
    """Put each frame beside the inputs at its time.

    Args:
        frames: (H, W, 3) or (H, W, 4) uint8; closed with the result.
        layout: The panels.
        pts: (N,) times of the frames in seconds.
        starts: Seconds to skip at the start of each input.

    Yields:
        (height, width, 3) uint8.
    """
    views = [
        _view(info, width, layout.height, pts, start)
        for info, width, start in zip(layout.inputs, layout.widths[:-1], starts, strict=True)
    ]
    try:
        for frame, *others in zip(frames, *views, strict=False):
            result = _scale(frame[..., :3], layout.widths[-1], layout.height)
            yield np.concatenate([*others, result], axis=1)
    finally:
        frames.close()
        for view in views:
            view.close()


def _view(info: MediaInfo, width: int, height: int, pts: np.ndarray, start: float) -> Generator[np.ndarray, None, None]:
    """Yield the input's frame at each time; its last frame is held."""
    if info.kind == "image":
        still = _scale(flatten_alpha(read_image(info.path)), width, height)
        for _ in pts:
            yield still
        return
    stream = read_frames(info.path, start=start, deinterlace=info.deinterlace)
    try:
        current = next(stream)
        following: Frame | None = current
        for time in pts - pts[0] + current.pts:
            while following is not None and following.pts <= time + _TIME_TOLERANCE:
                current, following = following, next(stream, None)
            yield _scale(current.image, width, height)
    finally:
        stream.close()


def _scale(image: np.ndarray, width: int, height: int) -> np.ndarray:
    is_smaller = image.shape[0] > height
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if is_smaller else cv2.INTER_CUBIC)
