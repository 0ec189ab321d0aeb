"""Transfer of rendered frames to a source with more than 8 bits per channel.

Engines render on an 8-bit preview of the source. Where a rendered frame equals the preview, the result is the source
itself. Elsewhere the rendered colors are converted to the source's color space, and what the preview loses of the
source at that pixel is added back. The share that is added back falls with the distance between the rendered color
and the source's, so that the border of the rendered area is seamless, and no detail of the source shows through it.
"""

import cv2
import numpy as np

from mimaface_cli.media.color_space import ColorSpace
from mimaface_cli.media.deep_frame import BRIGHTNESS, COLOR, DeepFrame

_BLUR = 15  # pixels; over this distance the steps of 8 bits become slopes
_HALF_LEVEL = np.float32(0.5)
_SAME_COLOR, _OTHER_COLOR = 4.0, 28.0  # range of differences, in levels, over which the source's detail fades out
_ALPHA_SCALE = np.float32(65535 / 255)


def lift_frame(rendered: np.ndarray, marked: np.ndarray, preview: np.ndarray, original: DeepFrame) -> DeepFrame:
    """Return a rendered frame in the color space and with the depth of its source.

    Args:
        rendered: (H, W, C), uint8, the rendered frame.
        marked: (H, W, C), uint8, the rendered frame with its watermark.
        preview: (H, W, C), uint8, the frame that the engine rendered on.
        original: The source's frame, with C channels.

    Returns:
        The frame; its `changed` is 0 where it equals the original.
    """
    space = original.space
    difference = cv2.absdiff(rendered, preview).max(axis=2)
    changed = np.where(difference > 0, np.uint8(COLOR), np.uint8(0))
    pixels = original.pixels.copy()
    box = _padded_box(changed)
    if box is not None:
        lifted = _transfer(rendered[box], preview[box], pixels[box], difference[box], space)
        np.copyto(pixels[box], lifted, where=changed[box][..., None] > 0)
    if marked is not rendered:
        is_marked = (marked != rendered).any(axis=2)
        levels = np.rint(space.restore(np.arange(256, dtype=np.float32))).astype(np.int32)
        mark = levels[marked[is_marked][:, :3]] - levels[rendered[is_marked][:, :3]]
        pixels[is_marked, :3] = np.clip(pixels[is_marked, :3] + mark, 0, 65535)
        changed[is_marked] = np.maximum(changed[is_marked], BRIGHTNESS)
    return DeepFrame(pixels, space, original.coded, changed)


def _padded_box(changed: np.ndarray) -> tuple[slice, slice] | None:
    """Return the rows and columns of the changed pixels and of what smoothing reads around them."""
    left, top, width, height = cv2.boundingRect(changed)
    if not width:
        return None
    rows = slice(max(0, top - _BLUR), top + height + _BLUR)
    return rows, slice(max(0, left - _BLUR), left + width + _BLUR)


def _transfer(
    rendered: np.ndarray, preview: np.ndarray, original: np.ndarray, difference: np.ndarray, space: ColorSpace
) -> np.ndarray:
    """Return rendered colors in the original's color space, (H, W, C) uint16."""
    distance = cv2.blur(difference.astype(np.float32), (3, 3))
    share = np.clip((_OTHER_COLOR - distance) / (_OTHER_COLOR - _SAME_COLOR), 0, 1)[..., None]
    lost = original - _restore(_smooth(preview), space)
    lifted = _restore(_smooth(rendered), space) + share * lost
    return np.rint(np.clip(lifted, 0, 65535)).astype(np.uint16)


def _smooth(image: np.ndarray) -> np.ndarray:
    """Return an image as float32 without the steps of its 8 bits; no value moves by more than the rounding to them."""
    values = image.astype(np.float32)
    smoothed = cv2.blur(values, (_BLUR, _BLUR))
    return np.clip(np.clip(smoothed, values - _HALF_LEVEL, values + _HALF_LEVEL), 0, 255)


def _restore(values: np.ndarray, space: ColorSpace) -> np.ndarray:
    """Return values (H, W, C) of the preview as values of 16 bits."""
    if values.shape[2] == 3:
        return space.restore(values)
    return np.concatenate([space.restore(values[..., :3]), values[..., 3:] * _ALPHA_SCALE], axis=2)
