"""Original frames of a source with all its bits, at the size of the result, and the previews that engines see."""

from collections.abc import Generator
from contextlib import closing
from itertools import repeat

import numpy as np

from mimaface_cli.apps.deep_lift import lift_frame
from mimaface_cli.concurrency import split_stream
from mimaface_cli.engines.sources import PhotoSource, VideoSource
from mimaface_cli.face.face_view import FaceView
from mimaface_cli.face.portrait import limited_size, limiting_matrix, warp_alpha, warp_image
from mimaface_cli.media.color_space import ColorSpace
from mimaface_cli.media.deep_frame import DeepFrame
from mimaface_cli.provenance.stamp import Stamp

_Original = tuple[np.ndarray, DeepFrame]
"""The preview (H, W, C) uint8 that the engine renders on, and the frame with C channels."""


def finish_frames(
    frames: Generator[np.ndarray, None, None], source: PhotoSource | VideoSource, max_size: int, stamp: Stamp
) -> Generator[np.ndarray | DeepFrame, None, None]:
    """Return rendered frames with their watermark, and with the depth of their source if the result has it.

    Args:
        frames: The rendered frames; closed with the result.
        source: The source.
        max_size: Longest side of the result in pixels; 0 for no limit.
        stamp: Adds the watermark.
    """
    if not source.is_deep:
        return stamp.mark_frames(frames)
    if isinstance(source, VideoSource):
        return _lift_frames(frames, _read_video(source), stamp)
    return _lift_frames(frames, _repeat_photo(source, max_size), stamp)


def _read_video(source: VideoSource) -> Generator[_Original, None, None]:
    """Yield the frames of a source video, in step with the frames that are rendered from it."""
    frames = source.read(source.track)
    with closing(frames):
        for frame in frames:
            deep = _widen(frame.image, frame.alpha) if frame.deep is None else frame.deep
            image, alpha = source.pixels(frame)
            preview = image if alpha is None else np.dstack([image, alpha])
            deep = _match_channels(deep, preview.shape[2])
            yield _limit(preview, source), _limit_frame(deep, source)


def _repeat_photo(source: PhotoSource, max_size: int) -> Generator[_Original, None, None]:
    """Yield the one frame of a photo without end."""
    if source.deep is None:
        raise ValueError("the photo has 8 bits per channel")
    portrait = source.portrait
    preview = portrait.image if portrait.alpha is None else np.dstack([portrait.image, portrait.alpha])
    back = FaceView(-source.turns % 4)
    deep = _match_channels(source.deep, preview.shape[2])
    pixels = _scale(FaceView(source.turns).apply(deep.pixels), max_size)
    yield from repeat((back.apply(preview), DeepFrame(back.apply(pixels), deep.space)))


def _lift_frames(
    frames: Generator[np.ndarray, None, None], originals: Generator[_Original, None, None], stamp: Stamp
) -> Generator[np.ndarray | DeepFrame, None, None]:
    """Yield rendered frames with their watermark in the color space and with the depth of their originals."""
    leading, rendered = split_stream(frames, lambda frame: frame, lambda frame: frame)
    with closing(originals), closing(stamp.mark_frames(leading)) as marked_frames:
        for marked in marked_frames:
            preview, original = next(originals)
            yield lift_frame(next(rendered), marked, preview, original)


def _widen(image: np.ndarray, alpha: np.ndarray | None) -> DeepFrame:
    """Return an image of 8 bits, such as one of a folder of others, as a deep frame."""
    pixels = image if alpha is None else np.dstack([image, alpha])
    return DeepFrame(pixels.astype(np.uint16) * 257, ColorSpace())


def _match_channels(frame: DeepFrame, channels: int) -> DeepFrame:
    """Return a frame with opaque alpha added, or with its alpha flattened on black."""
    pixels, space = frame.pixels, frame.space
    if pixels.shape[2] == channels:
        return frame
    if channels == 4:
        return DeepFrame(np.dstack([pixels, np.full(pixels.shape[:2], 65535, np.uint16)]), space, frame.coded)
    alpha = pixels[..., 3:].astype(np.uint32)
    if alpha.min() == 65535:
        return DeepFrame(np.ascontiguousarray(pixels[..., :3]), space, frame.coded)
    return DeepFrame(((pixels[..., :3] * alpha + 32767) // 65535).astype(np.uint16), space)


def _limit(image: np.ndarray, source: VideoSource) -> np.ndarray:
    """Return an image (H, W, C) as the engine sees it, turned back."""
    height, width = image.shape[:2]
    if limited_size(width, height, source.max_size) == (width, height):
        return image
    return FaceView(-source.turns % 4).apply(_scale(FaceView(source.turns).apply(image), source.max_size))


def _limit_frame(frame: DeepFrame, source: VideoSource) -> DeepFrame:
    pixels = _limit(frame.pixels, source)
    return frame if pixels is frame.pixels else DeepFrame(pixels, frame.space)


def _scale(image: np.ndarray, max_size: int) -> np.ndarray:
    """Return colors, or colors and alpha, scaled as `Portrait.limited` scales them."""
    height, width = image.shape[:2]
    size = limited_size(width, height, max_size)
    if size == (width, height):
        return image
    matrix = limiting_matrix(width, height, max_size)
    colors = warp_image(np.ascontiguousarray(image[..., :3]), matrix, *size)
    if image.shape[2] == 3:
        return colors
    return np.dstack([colors, warp_alpha(np.ascontiguousarray(image[..., 3]), matrix, *size)])
