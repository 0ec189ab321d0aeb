"""Still images with more than 8 bits per channel: PNG, TIFF and AVIF."""

import io
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
from av.codec.context import CodecContext
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from PIL import Image as Pillow
from PIL import ImageCms

from mimaface_cli.errors import InputError
from mimaface_cli.media.color import Orientation
from mimaface_cli.media.color_space import ColorSpace
from mimaface_cli.media.deep_frame import DeepConverter, DeepFrame, format_depth, is_deep_format
from mimaface_cli.media.image import Image, exif_orientation, open_image
from mimaface_cli.media.image_formats import detect_format
from mimaface_cli.media.libav import DECODE_ERRORS, MAX_PIXELS, open_input, video_stream

_ORIENTATIONS = {  # by EXIF orientation
    2: Orientation(flip_columns=True),
    3: Orientation(flip_rows=True, flip_columns=True),
    4: Orientation(flip_rows=True),
    5: Orientation(transpose=True),
    6: Orientation(transpose=True, flip_columns=True),
    7: Orientation(transpose=True, flip_rows=True, flip_columns=True),
    8: Orientation(transpose=True, flip_rows=True),
}
_BITS_PER_SAMPLE = 258  # tag of TIFF
_PNG_DEPTH = 24  # offset of the bits per channel
_DPX_DEPTH = 803
_EXR_DEPTH = 16  # of half floats
_GRAY_FORMATS = {"gray16be": 1, "gray16le": 1, "ya16be": 2, "ya16le": 2}  # number of channels


def image_depth(path: Path) -> int:
    """Return the bits per channel of an image; 8 for formats that hardly ever have more. Raises InputError."""
    name = detect_format(path)
    if name == "EXR":
        return _EXR_DEPTH
    if name in ("PNG", "DPX"):
        with open(path, "rb") as file:
            file.seek(_PNG_DEPTH if name == "PNG" else _DPX_DEPTH)
            return max(8, *file.read(1), 0)
    if name == "TIFF":
        with suppress(Exception), open_image(path) as image:  # the tags of a damaged file may be anything
            bits = cast(Any, image).tag_v2[_BITS_PER_SAMPLE]
            return max(8, *bits) if isinstance(bits, tuple) else max(8, int(bits))
    if name == "AVIF":
        with suppress(*DECODE_ERRORS, InputError), open_input(path) as container:
            return format_depth(video_stream(container, path).codec_context.pix_fmt or "rgb24")
    return 8


def read_deep_space(path: Path) -> ColorSpace | None:
    """Return the color space of an image if `read_deep_image` reads it, else None. Raises InputError."""
    frame = read_deep_image(path)
    return None if frame is None else frame.space


def read_deep_image(path: Path) -> DeepFrame | None:
    """Read an image of more than 8 bits per channel with all its bits, upright.

    `read_image` detects damage better; call it first.

    Returns:
        The image; None if it has 8 bits, or is of a kind of which only 8 bits can be read.

    Raises:
        InputError: If the file is missing or not an image.
    """
    if image_depth(path) == 8:
        return None
    match detect_format(path):
        case "PNG" | "TIFF" as name:
            frame = _decode(path, name.lower())
        case "AVIF":
            frame = _decode_avif(path)
        case _:
            return None
    if frame is None:
        return None
    with open_image(path) as image:
        if image.size != (frame.width, frame.height):  # one tile of several
            return None
        orientation = _ORIENTATIONS.get(exif_orientation(image), Orientation())
        profile = _wide_profile(image)
    if frame.format.name in _GRAY_FORMATS:
        pixels, space = _gray_pixels(frame), ColorSpace()
        if profile is not None:
            return None
    elif is_deep_format(frame.format.name):
        deep_frame = DeepConverter(frame, None, is_upright=True).read(frame)
        pixels, space = deep_frame.pixels, deep_frame.space
    else:
        return None
    if pixels.shape[2] == 4 and pixels[..., 3].min() == 65535:
        pixels = np.ascontiguousarray(pixels[..., :3])
    return DeepFrame(orientation.apply(pixels), space if profile is None else ColorSpace(profile=profile))


def preview_image(frame: DeepFrame) -> Image:
    """Return the preview of an image."""
    return Image(frame.preview, frame.preview_alpha)


def _decode(path: Path, codec: str) -> VideoFrame | None:
    try:
        decoder = cast(VideoCodecContext, CodecContext.create(codec, "r"))
        decoder.options = {"max_pixels": str(MAX_PIXELS)}
        frames = [*decoder.decode(Packet(path.read_bytes())), *decoder.decode(None)]
    except (*DECODE_ERRORS, OSError):
        return None
    return frames[0] if frames and not frames[0].is_corrupt else None


def _decode_avif(path: Path) -> VideoFrame | None:
    with suppress(*DECODE_ERRORS, InputError), open_input(path) as container:
        return next(container.decode(video_stream(container, path)), None)
    return None


def _gray_pixels(frame: VideoFrame) -> np.ndarray:
    """Return a gray frame as RGB, or as RGB with alpha."""
    channels = _GRAY_FORMATS[frame.format.name]
    plane = frame.planes[0]
    dtype = ">u2" if frame.format.name.endswith("be") else "<u2"
    rows = np.frombuffer(plane, dtype).reshape(-1, plane.line_size // 2)  # type: ignore[call-overload]
    values = rows[: frame.height, : frame.width * channels].reshape(frame.height, frame.width, channels)
    return np.ascontiguousarray(values[..., [0, 0, 0] if channels == 1 else [0, 0, 0, 1]], np.uint16)


def _wide_profile(image: Pillow.Image) -> bytes | None:
    """Return the ICC profile of an image, or None if there is none or it is that of sRGB."""
    profile = image.info.get("icc_profile")
    if not profile:
        return None
    try:
        description = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError, ValueError):  # damaged, and ignored as in images of 8 bits
        return None
    return None if "srgb" in description.lower() else profile
