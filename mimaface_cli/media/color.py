"""Conversion between FFmpeg's pixel formats and upright, full-range RGB arrays, with the right matrix and no bias.

By default swscale converts every video as BT.601 and darkens it by one or two levels. The flags below cost about a
millisecond at 512x512 and reduce the mean error to less than 0.1 levels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter

DECODE_FLAGS = int(Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT)
RESIZE_FLAGS = int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT)
ENCODE_FLAGS = int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP)
_FULL_CHROMA = int(Interpolation.FULL_CHR_H_INT)

# Code points of ISO/IEC 23091-2, as they appear in decoded frames.
_MATRIX = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
_MATRIX_CODE_POINT = {Colorspace.ITU709: 1, Colorspace.ITU601: 6}
WIDE_GAMUT_PRIMARIES = frozenset((9, 11, 12))
"""Code points of the primaries of BT.2020, DCI-P3 and Display P3."""
HDR_TRANSFERS = frozenset((16, 18))
"""Code points of the curves of HDR: PQ and HLG."""

_SRGB_TRANSFER = 13
_PNG_FORMATS = frozenset(("gray", "gray16be", "monob", "pal8", "rgb24", "rgb48be", "rgba", "rgba64be", "ya16be", "ya8"))

_MAX_ROUNDING = 4  # pixels
_MAX_ASPECT = 8  # a larger sample aspect ratio is a damaged header


def default_matrix(width: int, height: int) -> Colorspace:
    """Return the matrix of a video without a color tag: BT.709 from HD upwards, else BT.601, as players assume."""
    return Colorspace.ITU709 if height >= 720 or width >= 1280 else Colorspace.ITU601


def default_matrix_code(width: int, height: int) -> int:
    """Return the code point of `default_matrix`."""
    return _MATRIX_CODE_POINT[default_matrix(width, height)]


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight orientations of a frame; the transposition comes before the flips.

    Args:
        transpose: Whether to swap rows and columns.
        flip_rows: Whether to reverse the order of the rows.
        flip_columns: Whether to reverse the order of the columns.
    """

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Turn an image upright.

        Args:
            image: (H, W, C), without gaps between pixels.

        Returns:
            The upright image, C-contiguous; the same memory if no pixel moves.
        """
        # Moving whole pixels is three times faster than moving bytes.
        pixels = image.view(f"V{image.itemsize * image.shape[2]}")[..., 0]
        if self.transpose:
            pixels = pixels.T
        pixels = pixels[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]
        return np.ascontiguousarray(pixels).view(image.dtype).reshape(*pixels.shape, image.shape[2])


_QUARTER_TURNS = (
    Orientation(),
    Orientation(True, True),
    Orientation(False, True, True),
    Orientation(True, False, True),
)
"""Orientations by the number of quarter turns counterclockwise."""


def side_data(frame: VideoFrame) -> Mapping[str, Any]:
    """Return the side data of a frame by its name; none for a kind of frame with which PyAV 18.1 crashes.

    FFmpeg's PNG decoder gives color profiles a name, which PyAV frees although it belongs to FFmpeg.
    """
    if frame.format.name in _PNG_FORMATS:
        return {}
    try:
        return cast(Mapping[str, Any], frame.side_data)
    except ValueError:  # a kind of data that PyAV does not know, such as the EXIF block of an image
        return {}


def frame_orientation(frame: VideoFrame) -> Orientation:
    """Return the orientation in a frame's display matrix, rounded to quarter turns."""
    matrix = bytes(side_data(frame).get("DISPLAYMATRIX", b""))
    if len(matrix) < 36:
        return _QUARTER_TURNS[round(frame.rotation / 90) % 4]
    a, b, _, c, d = (int(value) for value in np.frombuffer(matrix, np.int32)[:5])
    # The matrix maps a coded point (p, q) to (a p + c q, b p + d q).
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, d < 0, a < 0)
    return Orientation(True, b < 0, c < 0)


def square_pixel_size(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """Return the (width, height) that a frame has with square pixels.

    The shorter side of the pixel is stretched; no side shrinks.

    Args:
        width: Coded width.
        height: Coded height.
        aspect: Sample aspect ratio (width / height of a pixel), or None.
    """
    if not aspect or not Fraction(1, _MAX_ASPECT) <= aspect <= _MAX_ASPECT:
        return width, height
    if aspect > 1:
        return round(width * aspect), height
    return width, round(height / aspect)


def is_hdr(frame: VideoFrame) -> bool:
    """Return whether a frame is coded with the curve of HDR: PQ or HLG."""
    return frame.color_trc in HDR_TRANSFERS


def is_wide_gamut(frame: VideoFrame) -> bool:
    """Return whether a frame has colors that BT.709 has not: BT.2020, P3, PQ or HLG."""
    return frame.color_primaries in WIDE_GAMUT_PRIMARIES or frame.color_trc in HDR_TRANSFERS


def has_alpha(frame: VideoFrame) -> bool:
    """Return whether the pixel format of a frame has alpha."""
    return any(component.is_alpha for component in frame.format.components)


class RgbConverter:
    """Converter of a stream's decoded frames to RGB arrays, all of the first frame's size.

    Wide-gamut and HDR video (BT.2020, P3, PQ, HLG) is converted to BT.709. A later frame of another size is scaled by
    its own aspect ratio and centered on black.

    Args:
        first: First frame of the stream.
        aspect: Sample aspect ratio of the stream, or None.
        is_upright: Whether to ignore the display matrix.
    """

    def __init__(self, first: VideoFrame, aspect: Fraction | None, *, is_upright: bool = False) -> None:
        self._size = square_pixel_size(first.width, first.height, aspect)
        self._coded_size = first.width, first.height
        self._aspect = aspect
        self._orientation = Orientation() if is_upright else frame_orientation(first)
        self._scaler = VideoReformatter()

    @property
    def keeps_geometry(self) -> bool:
        """Whether the arrays have the size and orientation of the first frame."""
        return self._size == self._coded_size and self._orientation == Orientation()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the upright arrays."""
        return self._size[::-1] if self._orientation.transpose else self._size

    def convert(self, frame: VideoFrame, aspect: Fraction | None = None) -> np.ndarray:
        """Return a frame as an upright (H, W, 3) uint8 array, C-contiguous.

        Args:
            frame: Decoded frame.
            aspect: Sample aspect ratio of the frame, if its size differs from the first frame's; None for the stream's.
        """
        if (frame.width, frame.height) != self._coded_size:
            return self._fit(frame, aspect or self._aspect)
        return self._orientation.apply(self._pixels(frame, self._size))

    def convert_alpha(self, frame: VideoFrame) -> np.ndarray | None:
        """Return the upright alpha (H, W) uint8 of a frame; None without alpha, or if its size differs."""
        if not has_alpha(frame) or (frame.width, frame.height) != self._coded_size:
            return None
        flags = DECODE_FLAGS if self._coded_size == self._size else RESIZE_FLAGS
        rgba = self._scaler.reformat(frame, *self._size, "rgba", interpolation=flags).to_ndarray()
        return self._orientation.apply(np.repeat(rgba[..., 3:], 3, axis=2))[..., 0].copy()

    def _fit(self, frame: VideoFrame, aspect: Fraction | None) -> np.ndarray:
        """Return a frame of another size at the size of the others, with its own aspect ratio, centered on black."""
        is_turned = bool(frame.rotation) or "DISPLAYMATRIX" in side_data(frame)
        orientation = frame_orientation(frame) if is_turned else self._orientation
        width, height = self.size
        shown = square_pixel_size(frame.width, frame.height, aspect)
        columns, rows = shown[::-1] if orientation.transpose else shown
        scale = min(width / columns, height / rows)
        # Codecs round sides to whole blocks, so a bar of a few pixels is no change of the aspect ratio.
        columns, rows = (
            full if abs(side * scale - full) <= _MAX_ROUNDING else max(1, round(side * scale))
            for side, full in ((columns, width), (rows, height))
        )
        image = self._pixels(frame, (rows, columns) if orientation.transpose else (columns, rows))
        canvas = np.zeros((height, width, image.shape[2]), image.dtype)
        top, left = (height - rows) // 2, (width - columns) // 2
        canvas[top : top + rows, left : left + columns] = orientation.apply(image)
        return canvas

    def _pixels(self, frame: VideoFrame, size: tuple[int, int]) -> np.ndarray:
        """Return a frame at a size (width, height), not turned upright."""
        return self._to_rgb(frame, size).to_ndarray()

    def _to_rgb(self, frame: VideoFrame, size: tuple[int, int]) -> VideoFrame:
        width, height = size
        flags = DECODE_FLAGS if (frame.width, frame.height) == size else RESIZE_FLAGS
        primaries = transfer = None
        if is_wide_gamut(frame):
            primaries = ColorPrimaries.BT709
            transfer = ColorTrc.IEC61966_2_1 if frame.color_trc == _SRGB_TRANSFER else ColorTrc.BT709
            # With this flag swscale turns 4:2:0 into colored lines when it also converts primaries.
            flags &= ~_FULL_CHROMA
        if frame.format.is_rgb:
            return self._scaler.reformat(
                frame,
                width,
                height,
                "rgb24",
                interpolation=flags,
                dst_color_primaries=primaries,
                dst_color_trc=transfer,
            )
        is_full_range = frame.color_range == 2 or frame.format.name.startswith("yuvj")
        return self._scaler.reformat(
            frame,
            width,
            height,
            "rgb24",
            interpolation=flags,
            src_colorspace=_MATRIX.get(frame.colorspace, default_matrix(frame.width, frame.height)),
            src_color_range=ColorRange.JPEG if is_full_range else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            dst_color_primaries=primaries,
            dst_color_trc=transfer,
        )


class EncoderConverter:
    """Converter of RGB arrays of one size to frames in an encoder's pixel format; YUV frames have limited range.

    Args:
        width: Width of the arrays.
        height: Height of the arrays.
        pixel_format: FFmpeg name of the encoder's pixel format.
        needs_even_sides: Whether the encoder needs whole chroma samples; odd sides of subsampled formats then grow by
            one pixel.
        is_bt709_only: Whether to use BT.709 at any size.

    Attributes:
        size: (width, height) of the encoded frames.
        has_alpha: Whether the encoded frames have alpha.
        matrix: Color matrix of the encoded frames.
    """

    def __init__(
        self, width: int, height: int, pixel_format: str, *, needs_even_sides: bool, is_bt709_only: bool
    ) -> None:
        two_by_two = VideoFormat(pixel_format, 2, 2)  # its chroma size shows the subsampling
        self.is_rgb = two_by_two.is_rgb
        self.has_alpha = any(component.is_alpha for component in two_by_two.components)
        self._format = pixel_format
        self._pad_rows = height % 2 if needs_even_sides and two_by_two.chroma_height(2) == 1 else 0
        self._pad_columns = width % 2 if needs_even_sides and two_by_two.chroma_width(2) == 1 else 0
        self.size = (width + self._pad_columns, height + self._pad_rows)
        self.matrix = Colorspace.ITU709 if is_bt709_only else default_matrix(*self.size)
        self._scaler = VideoReformatter()

    def tag(self, context: VideoCodecContext) -> None:
        """Write the color description of the frames into an encoder that is not open yet."""
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.IEC61966_2_1 if self.is_rgb else ColorTrc.BT709
        context.color_range = ColorRange.JPEG if self.is_rgb else ColorRange.MPEG
        context.colorspace = 0 if self.is_rgb else _MATRIX_CODE_POINT[self.matrix]

    def rgb_frame(self, image: np.ndarray) -> VideoFrame:
        """Copy an image into an RGB frame of the encoder's size; the fast half of the conversion.

        Args:
            image: (H, W, 3) or (H, W, 4), uint8; without alpha it is opaque.
        """
        if self.has_alpha and image.shape[2] == 3:
            image = np.dstack((image, np.full(image.shape[:2], 255, np.uint8)))
        if self._pad_rows or self._pad_columns:
            image = np.pad(image, ((0, self._pad_rows), (0, self._pad_columns), (0, 0)), mode="edge")
        return VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgba" if self.has_alpha else "rgb24")

    def convert(self, frame: Any) -> VideoFrame:
        """Convert an RGB frame to the encoder's pixel format; the slow half of the conversion."""
        if self.is_rgb:
            return self._scaler.reformat(frame, format=self._format)
        encoded = self._scaler.reformat(
            frame,
            format=self._format,
            interpolation=ENCODE_FLAGS,
            src_color_range=ColorRange.JPEG,
            dst_colorspace=self.matrix,
            dst_color_range=ColorRange.MPEG,
        )
        # The ProRes encoder reads these two from the frame, not from its context.
        encoded.color_primaries = ColorPrimaries.BT709
        encoded.color_trc = ColorTrc.BT709
        return encoded
