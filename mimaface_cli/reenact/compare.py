"""Source, driver and result side by side."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.media.image import read_image
from mimaface_cli.media.reader import probe, read_frames
from mimaface_cli.reenact.tracks import Driver

TALLEST = 1080


def side_by_side(
    frames: Iterator[np.ndarray], size: tuple[int, int], source: Path, driven: Driver, pts: np.ndarray
) -> tuple[Iterator[np.ndarray], tuple[int, int]]:
    """Frames of source | driver | result (no driver panel for a track, which has no picture), and their size."""
    height = min(size[1], TALLEST)
    panels = [source] if driven.kind == "track" else [source, driven.path]
    widths = [_width(path, height) for path in panels] + [max(1, round(size[0] * height / size[1]))]
    return _joined(frames, panels, widths, height, pts), (sum(widths), height)


def _width(path: Path, height: int) -> int:
    info = probe(path)
    return max(1, round(info.width * height / info.height))


def _joined(frames, panels: list[Path], widths: list[int], height: int, pts: np.ndarray) -> Iterator[np.ndarray]:
    views = [_view(path, width, height, pts) for path, width in zip(panels, widths)]
    try:
        for frame, *beside in zip(frames, *views):
            yield np.concatenate([*beside, _scaled(frame[..., :3], widths[-1], height)], axis=1)
    finally:
        frames.close()
        for view in views:
            view.close()


def _view(path: Path, width: int, height: int, pts: np.ndarray) -> Iterator[np.ndarray]:
    """The picture of an input at each of the result's times; its last frame is held."""
    if probe(path).kind == "image":
        still = _scaled(read_image(path).rgb, width, height)
        for _ in pts:
            yield still
        return
    stream = read_frames(path)
    try:
        shown = following = next(stream)
        for time in pts - pts[0]:
            while following is not None and following.pts <= time + 1e-4:
                shown, following = following, next(stream, None)
            yield _scaled(shown.image, width, height)
    finally:
        stream.close()


def _scaled(image: np.ndarray, width: int, height: int) -> np.ndarray:
    shrinking = image.shape[0] > height
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)
