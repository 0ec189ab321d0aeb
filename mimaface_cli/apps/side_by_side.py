"""Source, driver and result side by side."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from mimaface_cli.apps.sources import opaque
from mimaface_cli.media.image import read_image
from mimaface_cli.media.reader import read_frames
from mimaface_cli.media.video import MediaInfo

TALLEST = 1080


@dataclass(frozen=True)
class Panels:
    """inputs: what is shown beside the result; widths: of all panels, the result's last; height: of all."""

    inputs: list[MediaInfo]
    widths: list[int]
    height: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole."""
        return sum(self.widths), self.height


def panels(size: tuple[int, int], source: MediaInfo, driver: MediaInfo | None) -> Panels:
    """Source | driver | result of `size`; no driver panel for a track (None), which has no picture."""
    height = min(size[1], TALLEST)
    inputs = [source] if driver is None else [source, driver]
    shapes = [(info.width, info.height) for info in inputs] + [size]
    return Panels(inputs, [max(1, round(width * height / tall)) for width, tall in shapes], height)


def side_by_side(
    frames: Iterator[np.ndarray], beside: Panels, pts: np.ndarray, starts: list[float]
) -> Iterator[np.ndarray]:
    """The frames with their panels, height×width×3 uint8. starts: seconds that are left out of each input."""
    inputs = zip(beside.inputs, beside.widths, starts)
    views = [_view(info, width, beside.height, pts, start) for info, width, start in inputs]
    try:
        for frame, *others in zip(frames, *views):
            yield np.concatenate([*others, _scaled(frame[..., :3], beside.widths[-1], beside.height)], axis=1)
    finally:
        frames.close()
        for view in views:
            view.close()


def _view(info: MediaInfo, width: int, height: int, pts: np.ndarray, start: float) -> Iterator[np.ndarray]:
    """The picture of an input at each of the result's times; its last frame is held."""
    if info.kind == "image":
        still = _scaled(opaque(read_image(info.path)), width, height)
        for _ in pts:
            yield still
        return
    stream = read_frames(info.path, start=start)
    try:
        shown = following = next(stream)
        for time in pts - pts[0] + shown.pts:
            while following is not None and following.pts <= time + 1e-4:
                shown, following = following, next(stream, None)
            yield _scaled(shown.image, width, height)
    finally:
        stream.close()


def _scaled(image: np.ndarray, width: int, height: int) -> np.ndarray:
    shrinking = image.shape[0] > height
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)
