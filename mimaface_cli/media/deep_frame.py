"""Frames with more than 8 bits per channel: 16-bit RGB in the source's own color space, and the source's YUV planes."""

from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter

from mimaface_cli.media.color import DECODE_FLAGS, RESIZE_FLAGS, RgbConverter
from mimaface_cli.media.color_space import ColorSpace, color_space

BRIGHTNESS, COLOR = 1, 2
"""Values of `DeepFrame.changed`: all channels changed by about the same amount, or not."""

_LUMA_WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
"""Weights of red and blue in luma by the code point of the matrix; others have those of BT.601."""
_BT601_WEIGHTS = (0.299, 0.114)
_PLANE_BITS = (10, 12, 16)
_RGB_FROM_GBR = (2, 0, 1)  # planes of a planar RGB frame


@dataclass(frozen=True, eq=False, slots=True)
class DeepFrame:
    """A frame with more than 8 bits per channel.

    Args:
        pixels: (H, W, 3), or (H, W, 4) with straight alpha, uint16, RGB, upright.
        space: Color space of the pixels.
        coded: The decoder's frame, if its planes have the size and orientation of the pixels, or None.
        changed: (H, W) uint8: 0 where the pixels are those of `coded`, else BRIGHTNESS or COLOR; None if all are.
    """

    pixels: np.ndarray
    space: ColorSpace
    coded: VideoFrame | None = None
    changed: np.ndarray | None = None

    @property
    def preview(self) -> np.ndarray:
        """The colors (H, W, 3) uint8 of the preview."""
        return self.space.preview(np.ascontiguousarray(self.pixels[..., :3]))

    @property
    def preview_alpha(self) -> np.ndarray | None:
        """The alpha (H, W) uint8, or None."""
        return to_eight_bits(self.pixels[..., 3]) if self.pixels.shape[2] == 4 else None


def to_eight_bits(values: np.ndarray) -> np.ndarray:
    """Return uint16 values of any shape as uint8, rounded to nearest."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def format_depth(pixel_format: str) -> int:
    """Return the bits per channel of an FFmpeg pixel format."""
    return max(component.bits for component in VideoFormat(pixel_format, 2, 2).components)


def is_deep_format(pixel_format: str, least: int = 9) -> bool:
    """Return whether a pixel format has at least `least` bits per channel, and `DeepConverter` reads it."""
    video_format = VideoFormat(pixel_format, 2, 2)
    is_float = "f16" in pixel_format or "f32" in pixel_format
    return len(video_format.components) >= 3 and not is_float and least <= format_depth(pixel_format) <= 16


def frame_planes(frame: VideoFrame) -> list[np.ndarray]:
    """Return views of the planes of a planar frame: (H, W) uint8 or uint16, without the padding of their rows."""
    dtype = np.dtype(np.uint8 if format_depth(frame.format.name) == 8 else "<u2")
    return [
        np.frombuffer(plane, dtype).reshape(-1, plane.line_size // dtype.itemsize)[: plane.height, : plane.width]  # type: ignore[call-overload]
        for plane in frame.planes
    ]


def copy_frame(frame: VideoFrame) -> VideoFrame:
    """Return a copy of the planes of a planar frame, without its time and metadata."""
    copy = VideoFrame(frame.width, frame.height, frame.format.name)
    for target, source in zip(frame_planes(copy), frame_planes(frame), strict=True):
        target[:] = source
    return copy


def luma_weights(matrix: int) -> tuple[float, float]:
    """Return the weights of red and blue in luma for the code point of a matrix."""
    return _LUMA_WEIGHTS.get(matrix, _BT601_WEIGHTS)


def yuv_to_rgb_matrix(matrix: int, bits: int, is_full_range: bool) -> np.ndarray:
    """Return the (3, 4) transform of YUV values to 16-bit RGB values.

    Args:
        matrix: Code point of the color matrix.
        bits: Bits of the YUV values.
        is_full_range: Whether black is 0 and white the largest value.

    Source: ITU-T H.273, Eq. (38) to (46).
    """
    red, blue = luma_weights(matrix)
    green = 1 - red - blue
    unit = 1 << (bits - 8)
    highest = (1 << bits) - 1
    luma, offset, chroma = (highest, 0, highest) if is_full_range else (219 * unit, 16 * unit, 224 * unit)
    colors = np.array(
        [
            [1, 0, 2 * (1 - red)],
            [1, -2 * (1 - blue) * blue / green, -2 * (1 - red) * red / green],
            [1, 2 * (1 - blue), 0],
        ]
    )
    transform = colors / [luma, chroma, chroma] * 65535
    return np.hstack([transform, -transform @ [[offset], [128 * unit], [128 * unit]]])


class DeepConverter(RgbConverter):
    """Converter of a stream's decoded frames to 16-bit RGB in the stream's own color space.

    Args:
        first: First frame of the stream, of a format for which `is_deep_format` is true.
        aspect: Sample aspect ratio of the stream, or None.
        is_upright: Whether to ignore the display matrix.
    """

    def __init__(self, first: VideoFrame, aspect: Fraction | None, *, is_upright: bool = False) -> None:
        super().__init__(first, aspect, is_upright=is_upright)
        self.space = color_space(first)
        self._resampler = VideoReformatter()

    def read(self, frame: VideoFrame, aspect: Fraction | None = None) -> DeepFrame:
        """Return a frame upright; arguments as for `convert`."""
        pixels = self.convert(frame, aspect)
        is_as_coded = self.keeps_geometry and pixels.shape[:2] == (frame.height, frame.width)
        return DeepFrame(pixels, self.space, frame if is_as_coded and not frame.format.is_rgb else None)

    def _pixels(self, frame: VideoFrame, size: tuple[int, int]) -> np.ndarray:
        has_alpha = any(component.is_alpha for component in frame.format.components)
        bits = next(bits for bits in _PLANE_BITS if bits >= format_depth(frame.format.name))
        family = ("gbrap" if has_alpha else "gbrp") if frame.format.is_rgb else f"yuv{'a' * has_alpha}444p"
        is_full_range = frame.color_range == 2
        given_range = ColorRange.JPEG if is_full_range else ColorRange.MPEG
        flags = DECODE_FLAGS if (frame.width, frame.height) == size else RESIZE_FLAGS
        # Without a change of range and matrix; swscale's conversion to 16-bit RGB has 8 bits of accuracy only.
        planar = self._resampler.reformat(
            frame,
            *size,
            f"{family}{bits}le",
            interpolation=flags,
            src_color_range=given_range,
            dst_color_range=given_range,
        )
        planes = frame_planes(planar)
        scale = 65535 / ((1 << bits) - 1)
        if frame.format.is_rgb:
            stacked = cv2.merge([planes[index] for index in _RGB_FROM_GBR])
            pixels = stacked if scale == 1 else cv2.transform(stacked, np.eye(3) * scale)
        else:
            pixels = cv2.transform(cv2.merge(planes[:3]), yuv_to_rgb_matrix(self.space.matrix, bits, is_full_range))
        if not has_alpha:
            return pixels
        alpha = np.rint(planes[3] * scale).astype(np.uint16)
        return np.dstack([pixels, alpha])
