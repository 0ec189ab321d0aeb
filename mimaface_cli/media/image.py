"""Reading and writing of still images with Pillow."""

import json
import logging
import warnings
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import ExifTags
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.files import atomic_path, check_input_file
from mimaface_cli.media.attachments import Attachments
from mimaface_cli.media.dpx import dpx_size, load_dpx
from mimaface_cli.media.encoding import IMAGE_OUTPUT_SUFFIXES
from mimaface_cli.media.exr import check_exr_support, exr_size, load_exr, read_exr_tags, save_exr
from mimaface_cli.media.image_color import read_wide_gamut, states_hdr, to_srgb
from mimaface_cli.media.image_formats import detect_format, pillow_formats, unreadable_reason
from mimaface_cli.media.libav import MAX_PIXELS, check_pixel_count

IMAGE_SUFFIXES = frozenset(
    (".avif", ".bmp", ".dpx", ".exr", ".heic", ".heif", ".j2k", ".jp2", ".jpeg", ".jpg", ".jxl", ".pgm", ".png", ".ppm")
) | {".tga", ".tif", ".tiff", ".webp"}
"""Suffixes of the files that count as frames in a folder of images."""

# Pillow warns on stderr about damaged tags, which are harmless, and about large images, which `open_image` refuses.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)

_UPRIGHT_TRANSPOSE = {  # by EXIF orientation
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
_ANIMATED_FORMATS = ("GIF", "PNG", "WEBP")
_JPEG_SETTINGS = {"quality": 95, "subsampling": 0}
_SAVE_SETTINGS: dict[str, dict[str, Any]] = {
    ".jpg": _JPEG_SETTINGS,
    ".jpeg": _JPEG_SETTINGS,
    ".png": {"compress_level": 3},
    ".webp": {"quality": 95},
}


@dataclass(frozen=True, eq=False, slots=True)
class Image:
    """An upright image.

    Args:
        rgb: (H, W, 3), uint8, sRGB, C-contiguous.
        alpha: (H, W), uint8, or None if every pixel is opaque.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None


def flatten_alpha(image: Image) -> np.ndarray:
    """Return the image (H, W, 3) uint8 on a black background."""
    if image.alpha is None:
        return image.rgb
    return ((image.rgb.astype(np.uint16) * image.alpha[..., None] + 127) // 255).astype(np.uint8)


def image_kind(path: Path) -> Literal["image", "animation"] | None:
    """Return the kind of an existing file by its first bytes: still, animated, or None (perhaps a video).

    Raises:
        InputError: If the file cannot be read.
    """
    name = detect_format(path)
    if name is None:
        return None
    if name in _ANIMATED_FORMATS and pillow_formats(name):
        with open_image(path) as image, _decode_errors(path):
            return "animation" if getattr(image, "is_animated", False) else "image"
    return "image"


def image_size(path: Path) -> tuple[int, int]:
    """Return the (width, height) of an image turned upright; reads the header only.

    Raises:
        InputError: As `read_image`.
    """
    check_input_file(path)
    match detect_format(path):
        case "EXR":
            return exr_size(path)
        case "DPX":
            return dpx_size(path)
    with open_image(path) as image:
        return image.size[::-1] if exif_orientation(image) >= 5 else image.size


def is_hdr_image(path: Path) -> bool:
    """Return whether an image states that it is HDR (PQ or HLG); reads the header only. Raises InputError."""
    if detect_format(path) not in ("AVIF", "HEIF", "PNG"):
        return False
    with open_image(path) as image, _decode_errors(path):
        return states_hdr(path, image)


def read_image(path: Path) -> Image:
    """Read an image as 8-bit sRGB, with its EXIF orientation and color profile applied.

    For an animation, the first frame is read.

    Raises:
        InputError: If the file is missing, not an image, damaged, cut short, or larger than 100 megapixels.
    """
    check_input_file(path)
    match detect_format(path):
        case "EXR":
            rgb, coverage = load_exr(path)
            return Image(rgb, None if coverage is None or coverage.min() == 255 else coverage)
        case "DPX":
            return Image(load_dpx(path), None)
    with open_image(path) as file, _decode_errors(path):
        return _convert(file, path)


def decode_animation(path: Path) -> Generator[Image, None, None]:
    """Decode the frames of an animation that Pillow reads, as `read_image` does. Raises InputError."""
    with open_image(path) as file, _decode_errors(path):
        for index in range(getattr(file, "n_frames", 1)):
            file.seek(index)
            yield _convert(file, path)


def _convert(file: Pillow.Image, path: Path) -> Image:
    """Return the current frame of an open image, upright and in sRGB."""
    file.load()
    has_alpha = file.has_transparency_data
    wide_gamut = read_wide_gamut(path, file)
    if wide_gamut is None:
        image = to_srgb(_to_eight_bits(file, path), file.info.get("icc_profile"), has_alpha)
    else:
        image = Pillow.fromarray(wide_gamut)
        if has_alpha:
            image.putalpha(file.convert("RGBA").getchannel("A"))
    pixels = np.array(_turn_upright(image, exif_orientation(file)))
    if not has_alpha:
        return Image(pixels, None)
    alpha = np.ascontiguousarray(pixels[..., 3])
    return Image(np.ascontiguousarray(pixels[..., :3]), None if alpha.min() == 255 else alpha)


def read_image_tags(path: Path) -> dict[str, str]:
    """Return the tags that `save_image` wrote into an image, or {}.

    Raises:
        InputError: As `read_image`.
    """
    check_input_file(path)
    match detect_format(path):
        case "EXR":
            return read_exr_tags(path)
        case "DPX":
            return {}
    try:
        with open_image(path) as image:
            description = image.getexif().get(ExifTags.Base.ImageDescription, "")
        tags = json.loads(description) if isinstance(description, str) else {}
    except InputError:
        raise
    except Exception:  # the EXIF parser may raise anything for damaged bytes; the pixels are still valid
        return {}
    return {key: text for key, text in tags.items() if isinstance(text, str)} if isinstance(tags, dict) else {}


def write_image(
    path: Path, rgb: np.ndarray, alpha: np.ndarray | None = None, *, attachments: Attachments = Attachments()
) -> None:
    """Write an image atomically in the format of the path's suffix.

    Args:
        path: File to write, with a suffix of IMAGE_OUTPUT_SUFFIXES.
        rgb: (H, W, 3), uint8, sRGB.
        alpha: (H, W), uint8, or None.
        attachments: Metadata to write.

    Raises:
        OutputError: For an unknown suffix, alpha in a JPEG, or a failed write.
    """
    check_image_suffix(path, alpha is not None)
    with atomic_path(path) as temporary:
        save_image(temporary, rgb, alpha, tags=attachments.tags, xmp=attachments.xmp)
        if attachments.seal is not None:
            attachments.seal(temporary)


def save_image(
    path: Path,
    rgb: np.ndarray,
    alpha: np.ndarray | None = None,
    *,
    tags: Mapping[str, str] | None = None,
    xmp: bytes | None = None,
) -> None:
    """Write an image in place: `write_image` without the checks and the temporary file.

    Args:
        path: File to write, with a suffix of IMAGE_OUTPUT_SUFFIXES.
        rgb: (H, W, 3), uint8, sRGB.
        alpha: (H, W), uint8, or None.
        tags: Texts for the EXIF description (EXR: the comments), or None.
        xmp: XMP packet, or None.

    Raises:
        OSError: If the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix == ".exr":
        save_exr(path, rgb, alpha, tags or {})
        return
    pixels = rgb if alpha is None else np.dstack((rgb, alpha))
    settings = dict(_SAVE_SETTINGS.get(suffix, {}))
    exif = Pillow.Exif()
    if tags:
        exif[ExifTags.Base.ImageDescription] = json.dumps(dict(tags))
    if xmp is not None:
        if suffix == ".png":
            texts = PngInfo()
            texts.add_itxt("XML:com.adobe.xmp", xmp.decode())
            settings["pnginfo"] = texts
        elif suffix in (".tif", ".tiff"):
            exif[ExifTags.Base.XMLPacket] = xmp
        else:
            settings["xmp"] = xmp
    Pillow.fromarray(np.ascontiguousarray(pixels)).save(path, exif=exif, **settings)


def check_image_suffix(path: Path, has_alpha: bool = False) -> None:
    """Check that an image can be written under a name.

    Args:
        path: File to write.
        has_alpha: Whether the image has transparency.

    Raises:
        OutputError: If it cannot.
    """
    suffix = path.suffix.lower()
    if suffix not in IMAGE_OUTPUT_SUFFIXES:
        known = " ".join(IMAGE_OUTPUT_SUFFIXES)
        raise OutputError(f"{path}: images cannot be written as '{suffix}'. Use one of {known}.")
    if suffix == ".exr":
        check_exr_support(path)
    if has_alpha and suffix in (".jpg", ".jpeg"):
        raise OutputError(f"{path}: JPEG has no transparency. Use .png.")


def open_image(path: Path) -> Pillow.Image:
    """Open an image and check its size; only the header is read. Raises InputError."""
    check_input_file(path)
    name = detect_format(path)
    formats = () if name is None else pillow_formats(name)
    if not formats:
        raise InputError(f"{path}: {unreadable_reason(name)}")
    try:
        image = Pillow.open(path, formats=formats)
    except Pillow.DecompressionBombError as error:
        limit = MAX_PIXELS // 1_000_000
        raise InputError(f"{path}: the image is too large (at most {limit} megapixels). Scale it down.") from error
    except Exception as error:  # a header parser may raise anything for damaged bytes
        raise InputError(f"{path}: {unreadable_reason(name)}") from error
    try:
        check_pixel_count(path, image.width, image.height)
        if 0 in image.size:
            raise InputError(f"{path}: the image has no pixels. Choose another.")
    except InputError:
        image.close()
        raise
    return image


@contextmanager
def _decode_errors(path: Path) -> Iterator[None]:
    """Turn any exception that a decoder raises for damaged bytes into an InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: the image is damaged or cut short. Get the complete file.") from error


def exif_orientation(image: Pillow.Image) -> int:
    """Return the EXIF orientation (1 to 8); 1 if it is missing or the EXIF block is damaged."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # the EXIF parser may raise anything for damaged bytes; the pixels are still valid
        return 1
    return value if value in range(1, 9) else 1


def _turn_upright(image: Pillow.Image, orientation: int) -> Pillow.Image:
    transpose = _UPRIGHT_TRANSPOSE.get(orientation)
    return image if transpose is None else image.transpose(transpose)


def _to_eight_bits(image: Pillow.Image, path: Path) -> Pillow.Image:
    """Scale 16-bit grayscale to 8 bits (Pillow's conversion clips); return other modes unchanged."""
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint32)
        return Pillow.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise InputError(f"{path}: 32-bit pixels have no defined white level. Convert the image to 8 or 16 bits.")
    return image
