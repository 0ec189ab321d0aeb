"""Conversion of still images to 8-bit sRGB: ICC profiles, and the code points (CICP) of AVIF, HEIF and PNG files."""

import io
import logging
from contextlib import suppress
from pathlib import Path

import numpy as np
from av.codec.context import CodecContext
from av.packet import Packet
from av.video.frame import VideoFrame
from PIL import Image as Pillow
from PIL import ImageCms

from mimaface_cli.errors import InputError
from mimaface_cli.media.color import HDR_TRANSFERS, RgbConverter, is_wide_gamut
from mimaface_cli.media.libav import DECODE_ERRORS, MAX_PIXELS, open_input, video_stream

_LOGGER = logging.getLogger(__name__)
_PNG_HEADER_BYTES = 1 << 16  # where the chunk cICP is searched; it comes before the pixels
_UNSPECIFIED = 2  # code point for a property that the file does not define


def to_srgb(image: Pillow.Image, profile: bytes | None, has_alpha: bool) -> Pillow.Image:
    """Convert an image to RGB or RGBA, and to sRGB if it has a usable color profile.

    Args:
        image: Image of any 8-bit mode.
        profile: ICC profile of its colors, or None. A gray profile applies to gray images only.
        has_alpha: Whether to return RGBA.
    """
    target_mode = "RGBA" if has_alpha else "RGB"
    if image.mode == "LAB":  # Pillow converts it by a profile only
        return _transform(image, ImageCms.createProfile("LAB"))
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            return _apply_profile(image, source, has_alpha).convert(target_mode)
        except (ImageCms.PyCMSError, OSError, ValueError) as error:
            _LOGGER.debug("ignoring a damaged or unsupported color profile: %s", error)
    return image.convert(target_mode)


def _apply_profile(image: Pillow.Image, profile: ImageCms.ImageCmsProfile, has_alpha: bool) -> Pillow.Image:
    """Convert an image of any mode to sRGB; raise ValueError if the profile is not for its colors."""
    space = profile.profile.xcolor_space.strip()
    is_gray = image.mode in ("1", "L", "LA", "La")
    if space == "CMYK" and image.mode == "CMYK":
        return _transform(image, profile)
    if space == "GRAY" and is_gray:
        converted = _transform(image.convert("L"), profile)
        if has_alpha:
            converted.putalpha(image.convert("RGBA").getchannel("A"))
        return converted
    if space == "RGB" and image.mode != "CMYK":  # also a palette, and gray values that stand for equal RGB
        return _transform(image.convert("RGBA" if has_alpha else "RGB"), profile)
    raise ValueError(f"a profile for {space} in an image of mode {image.mode}")


def _transform(image: Pillow.Image, profile: ImageCms.ImageCmsProfile | ImageCms.core.CmsProfile) -> Pillow.Image:
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode=mode)
    if converted is None:  # returned only for conversions in place
        raise ValueError("no image was returned")
    return converted


def read_wide_gamut(path: Path, image: Pillow.Image) -> np.ndarray | None:
    """Decode an image whose code points say HDR (PQ, HLG) or a wide gamut (BT.2020, P3), as videos are decoded.

    Pillow ignores code points. FFmpeg keeps all bits of these images as well.

    Args:
        path: The file.
        image: The same file, opened by Pillow and not turned upright.

    Returns:
        (H, W, 3), uint8, sRGB, not turned upright; None if the file has no such code points.
    """
    if image.format == "PNG":
        frame = _decode_png(path) if _has_code_points(path) else None
    elif image.info.get("icc_profile"):
        return None
    elif image.format == "AVIF":
        frame = _decode_avif(path)
    else:
        nclx = image.info.get("nclx_profile") or {}  # of HEIF
        code_points = nclx.get("color_primaries", _UNSPECIFIED), nclx.get("transfer_characteristics", _UNSPECIFIED)
        return _convert_rgb(image, *code_points)
    if frame is None or not is_wide_gamut(frame):
        return None
    if (frame.width, frame.height) == image.size:
        return RgbConverter(frame, None, is_upright=True).convert(frame)
    # A grid of tiles, which FFmpeg decodes one by one.
    return _convert_rgb(image, frame.color_primaries, frame.color_trc)


def states_hdr(path: Path, image: Pillow.Image) -> bool:
    """Return whether the header of an AVIF, HEIF or PNG file states HDR (PQ or HLG).

    Args:
        path: The file.
        image: The same file, opened by Pillow.
    """
    transfer = _UNSPECIFIED
    if image.format == "PNG" and _has_code_points(path):
        with open(path, "rb") as file:
            data = file.read(_PNG_HEADER_BYTES).partition(b"cICP")[2]
        transfer = data[1] if len(data) > 1 else _UNSPECIFIED
    elif image.format == "AVIF" and not image.info.get("icc_profile"):
        with suppress(*DECODE_ERRORS, InputError), open_input(path) as container:
            transfer = video_stream(container, path).codec_context.color_trc
    elif image.format == "HEIF":
        transfer = (image.info.get("nclx_profile") or {}).get("transfer_characteristics", _UNSPECIFIED)
    return transfer in HDR_TRANSFERS


def _convert_rgb(image: Pillow.Image, primaries: int, transfer: int) -> np.ndarray | None:
    frame = VideoFrame.from_ndarray(np.asarray(image.convert("RGB")), format="rgb24")
    frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range = primaries, transfer, 0, 2
    return RgbConverter(frame, None).convert(frame) if is_wide_gamut(frame) else None


def _decode_avif(path: Path) -> VideoFrame | None:
    try:
        with open_input(path) as container:
            return next(container.decode(video_stream(container, path)), None)
    except (*DECODE_ERRORS, InputError):
        return None


def _has_code_points(path: Path) -> bool:
    """Return whether a PNG file has the chunk cICP before its pixels."""
    with open(path, "rb") as file:
        return b"cICP" in file.read(_PNG_HEADER_BYTES).partition(b"IDAT")[0]


def _decode_png(path: Path) -> VideoFrame | None:
    try:
        decoder = CodecContext.create("png", "r")
        decoder.options = {"max_pixels": str(MAX_PIXELS)}
        return next(iter([*decoder.decode(Packet(path.read_bytes())), *decoder.decode(None)]), None)
    except DECODE_ERRORS:
        return None
