"""Conversion of deep frames to an encoder's pixel format, without a change of their color space."""

from typing import Any

import cv2
import numpy as np
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter

from mimaface_cli.media.color import ENCODE_FLAGS, EncoderConverter
from mimaface_cli.media.color_space import ColorSpace
from mimaface_cli.media.deep_frame import COLOR, DeepFrame, copy_frame, format_depth, frame_planes, yuv_to_rgb_matrix

_GBR_FROM_RGB = (1, 2, 0)
_BT709 = 1
BT2020 = 9
"""Code point of the matrix of BT.2020."""

_DNXHR_COLOR = 0x2C  # offset of the byte in a DNxHR frame whose bits 1 and 2 state the matrix; SMPTE ST 2019-1


class DeepEncoderConverter(EncoderConverter):
    """Converter of deep frames of one size and color space to frames in an encoder's pixel format.

    Pixels that did not change are taken from the planes of the source: where both formats have the same subsampling,
    these are the source's own values.

    Args:
        width: Width of the frames.
        height: Height of the frames.
        pixel_format: FFmpeg name of a planar pixel format with more than 8 bits per channel.
        space: Color space of the frames, which has no ICC profile.
        needs_even_sides: As in EncoderConverter.
        is_bt709_only: As in EncoderConverter; the matrix of BT.2020 is kept.
    """

    def __init__(
        self,
        width: int,
        height: int,
        pixel_format: str,
        space: ColorSpace,
        *,
        needs_even_sides: bool,
        is_bt709_only: bool,
    ) -> None:
        super().__init__(width, height, pixel_format, needs_even_sides=needs_even_sides, is_bt709_only=is_bt709_only)
        self._space = space
        self._bits = format_depth(pixel_format)
        self._matrix_code = _BT709 if is_bt709_only and space.matrix != BT2020 else space.matrix
        self._resampler, self._base_resampler = VideoReformatter(), VideoReformatter()

    def tag(self, context: VideoCodecContext) -> None:
        """Write the color description of the frames into an encoder that is not open yet."""
        context.color_primaries = self._space.primaries
        context.color_trc = self._space.transfer
        context.color_range = ColorRange.JPEG if self.is_rgb else ColorRange.MPEG
        context.colorspace = 0 if self.is_rgb else self._matrix_code

    def convert(self, frame: Any) -> VideoFrame:
        """Convert a deep frame to the encoder's pixel format."""
        if not isinstance(frame, DeepFrame):
            raise TypeError("a frame with 8 bits per channel in a video of more")
        encoded = self._merge(frame)
        # The ProRes encoder reads these from the frame, not from its context.
        encoded.color_primaries = self._space.primaries
        encoded.color_trc = self._space.transfer
        encoded.colorspace = 0 if self.is_rgb else self._matrix_code
        return encoded

    def _merge(self, frame: DeepFrame) -> VideoFrame:
        """Return the source's planes with the changed pixels in them."""
        coded = frame.coded
        if coded is None or frame.changed is None or self.is_rgb or self._matrix_code != frame.space.matrix:
            return self._encode_pixels(frame.pixels)
        if (coded.width, coded.height) != self.size:
            return self._encode_pixels(frame.pixels)
        base = self._base_resampler.reformat(
            coded,
            format=self._format,
            interpolation=ENCODE_FLAGS,
            src_color_range=ColorRange.JPEG if coded.color_range == 2 else ColorRange.MPEG,
            dst_color_range=ColorRange.MPEG,
        )
        if base is coded:  # of the same format, and perhaps shown again
            base = copy_frame(coded)
        if not frame.changed.any():
            return base
        patch = self._encode_pixels(frame.pixels)
        for index, (target, source) in enumerate(zip(frame_planes(base), frame_planes(patch), strict=True)):
            is_chroma = index in (1, 2)
            mask = (frame.changed >= COLOR if is_chroma else frame.changed > 0).astype(np.float32)
            if mask.shape != target.shape:
                mask = cv2.resize(mask, target.shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
            np.copyto(target, source, where=mask > 0)
        return base

    def _encode_pixels(self, pixels: np.ndarray) -> VideoFrame:
        """Return 16-bit RGB pixels in the encoder's pixel format."""
        if self._pad_rows or self._pad_columns:
            pixels = np.pad(pixels, ((0, self._pad_rows), (0, self._pad_columns), (0, 0)), mode="edge")
        colors = np.ascontiguousarray(pixels[..., :3])
        highest = (1 << self._bits) - 1
        if self.is_rgb:
            scaled = colors if self._bits == 16 else cv2.transform(colors, np.eye(3) * (highest / 65535))
            planes = [scaled[..., index] for index in _GBR_FROM_RGB]
        else:
            planes = list(np.moveaxis(cv2.transform(colors, self._rgb_to_yuv()), 2, 0))
        if self.has_alpha:
            is_opaque = pixels.shape[2] == 3
            alpha = np.full(colors.shape[:2], 65535, np.uint16) if is_opaque else pixels[..., 3]
            planes.append(np.rint(alpha * (highest / 65535)))
        family = "gbr" if self.is_rgb else "yuv"
        subsampling = "" if self.is_rgb else "444"
        full = VideoFrame(*self.size, f"{family}{'a' * self.has_alpha}{subsampling}p{self._bits}le")
        for target, source in zip(frame_planes(full), planes, strict=True):
            target[:] = source
        given_range = None if self.is_rgb else ColorRange.MPEG
        return self._resampler.reformat(
            full,
            format=self._format,
            interpolation=ENCODE_FLAGS,
            src_color_range=given_range,
            dst_color_range=given_range,
        )

    def _rgb_to_yuv(self) -> np.ndarray:
        inverse = yuv_to_rgb_matrix(self._matrix_code, self._bits, is_full_range=False)
        transform = np.linalg.inv(inverse[:, :3])
        return np.hstack([transform, -transform @ inverse[:, 3:]])


def state_bt2020(packet: Packet) -> None:
    """Write the matrix of BT.2020 into a frame of DNxHR, for which FFmpeg's encoder always states BT.709."""
    data = bytearray(bytes(packet))
    data[_DNXHR_COLOR] = (data[_DNXHR_COLOR] & ~0b110) | 0b010
    packet.update(bytes(data))
