"""Still pictures in and out (Pillow)."""

import io
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import ExifTags, ImageCms
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.files import atomic_path, check_input_file
from mimaface_cli.media.encoding import IMAGE_OUTPUT_SUFFIXES
from mimaface_cli.media.exr import check_exr, save_exr
from mimaface_cli.media.libav import MAX_PIXELS, too_large

IMAGE_SUFFIXES = frozenset((".avif", ".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp"))
"""What counts as a frame in a folder of pictures."""

# Pillow complains on stderr of damaged tags and large pictures: the first do no harm, the second get our own line.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)

# Only plain decoders: Pillow's full list has ones that start other programs (EPS) or guess from almost nothing (TGA).
Pillow.init()
_FORMATS = {"AVIF", "BMP", "GIF", "JPEG", "MPO", "PNG", "PPM", "TIFF", "WEBP"} & set(Pillow.OPEN)
_MAGIC = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n|GIF8|BM|II\*\0|MM\0\*|P[1-6]\s|RIFF....WEBP|....ftyp(?:avif|hei[cfmsx]|mif1|msf1)",
    re.DOTALL,
)
_TURN = {  # EXIF orientation -> what makes it upright
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
_SAVE = {".jpg": {"quality": 95, "subsampling": 0}, ".png": {"compress_level": 3}, ".webp": {"quality": 95}}
_SAVE[".jpeg"] = _SAVE[".jpg"]


@dataclass(frozen=True, eq=False, slots=True)
class Image:
    """An upright picture: `rgb` HxWx3 uint8 C-contiguous sRGB; `alpha` HxW uint8, None where all is opaque."""

    rgb: np.ndarray
    alpha: np.ndarray | None


def image_kind(path: Path) -> Literal["image", "animation"] | None:
    """What the first bytes of an existing file say: a still picture, a moving one, or neither (perhaps a video)."""
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not _MAGIC.match(head):
        return None
    if head[:4] in (b"GIF8", b"\x89PNG", b"RIFF"):
        with _opened(path) as image, _decoding(path):
            return "animation" if getattr(image, "is_animated", False) else "image"
    return "image"


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) of a picture, upright, from its header alone. Raises InputError like `read_image`."""
    with _opened(path) as image:
        return image.size[::-1] if _orientation(image) >= 5 else image.size


def read_image(path: Path) -> Image:
    """Read a picture (the first one of an animation) as 8-bit sRGB, its EXIF orientation and color profile applied.

    Raises InputError when the file is missing, no picture, damaged, cut short, or above 100 megapixels.
    """
    check_input_file(path)
    with _opened(path) as image, _decoding(path):
        image.load()
        image = _oriented(image)
        has_alpha = image.has_transparency_data
        image = _eight_bit(image, path)
        pixels = np.array(_srgb(image, has_alpha))
    if not has_alpha:
        return Image(pixels, None)
    alpha = np.ascontiguousarray(pixels[..., 3])
    return Image(np.ascontiguousarray(pixels[..., :3]), None if alpha.min() == 255 else alpha)


def write_image(
    path: Path,
    rgb: np.ndarray,
    alpha: np.ndarray | None = None,
    *,
    metadata: dict[str, str] | None = None,
    xmp: bytes | None = None,
    seal: Callable[[Path], None] | None = None,
) -> None:
    """Write `rgb` (HxWx3 uint8) as the picture format of `path`'s suffix; it appears whole or not at all.

    `metadata` goes into the EXIF image description as JSON, `xmp` is a packet as it is, `seal` is called with the
    finished file before it gets its name. Raises OutputError for a suffix that is not in
    IMAGE_OUTPUT_SUFFIXES, alpha in a JPEG, or a write the system refuses.
    """
    check_image_suffix(path, alpha is not None)
    with atomic_path(path) as temporary:
        save_image(temporary, rgb, alpha, metadata=metadata, xmp=xmp)
        if seal is not None:
            seal(temporary)


def save_image(
    path: Path,
    rgb: np.ndarray,
    alpha: np.ndarray | None = None,
    *,
    metadata: dict[str, str] | None = None,
    xmp: bytes | None = None,
) -> None:
    """`write_image` without the checks and the renaming. Raises OSError when the system refuses."""
    if path.suffix.lower() == ".exr":
        save_exr(path, rgb, alpha, metadata)
        return
    pixels = rgb if alpha is None else np.dstack((rgb, alpha))
    exif = Pillow.Exif()
    if metadata:
        exif[ExifTags.Base.ImageDescription] = json.dumps(metadata)
    suffix = path.suffix.lower()
    settings = dict(_SAVE.get(suffix, {}))
    if xmp is not None and suffix == ".png":
        settings["pnginfo"] = PngInfo()
        settings["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    elif xmp is not None and suffix in (".tif", ".tiff"):
        exif[ExifTags.Base.XMLPacket] = xmp
    elif xmp is not None:
        settings["xmp"] = xmp
    Pillow.fromarray(np.ascontiguousarray(pixels)).save(path, exif=exif, **settings)


def check_image_suffix(path: Path, alpha: bool = False) -> None:
    """Raise OutputError unless pictures can be written under this name."""
    suffix = path.suffix.lower()
    if suffix not in IMAGE_OUTPUT_SUFFIXES:
        raise OutputError(
            f"{path}: pictures cannot be written as '{suffix}'; use one of {' '.join(IMAGE_OUTPUT_SUFFIXES)}"
        )
    if suffix == ".exr":
        check_exr(path)
    if alpha and suffix in (".jpg", ".jpeg"):
        raise OutputError(f"{path}: JPEG keeps no transparency; use .png")


def _opened(path: Path) -> Pillow.Image:
    """The picture with only its header read and its size checked."""
    check_input_file(path)
    try:
        image = Pillow.open(path, formats=tuple(_FORMATS))
    except Pillow.DecompressionBombError as error:
        raise InputError(f"{path}: the picture is too large (at most {MAX_PIXELS // 1_000_000} megapixels)") from error
    except Exception as error:  # a header parser may raise anything on damaged bytes
        raise InputError(f"{path}: {_not_a_picture(path)}") from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise InputError(f"{path}: {too_large(image.width, image.height)}")
    if 0 in image.size:
        image.close()
        raise InputError(f"{path}: the picture has no pixels; choose another")
    return image


@contextmanager
def _decoding(path: Path) -> Iterator[None]:
    """Turn what decoders raise on damaged bytes, which may be anything, into an InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: the picture is damaged or cut short; get the whole file") from error


def _not_a_picture(path: Path) -> str:
    with open(path, "rb") as file:
        head = file.read(16)
    if re.match(rb"....ftyp(?:hei[cfmsx]|mif1|msf1)", head, re.DOTALL):
        return "is an HEIC picture, which cannot be read here; convert it to JPEG or PNG"
    if _MAGIC.match(head):
        return "the picture is damaged or cut short; get the whole file"
    return "is not a picture that can be read; convert it to PNG or JPEG"


def _orientation(image: Pillow.Image) -> int:
    """EXIF orientation 1..8; 1 where it is missing or the EXIF block is damaged (the pixels are still good)."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # the EXIF parser may raise anything on damaged bytes
        return 1
    return value if value in range(1, 9) else 1


def _oriented(image: Pillow.Image) -> Pillow.Image:
    turn = _TURN.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _eight_bit(image: Pillow.Image, path: Path) -> Pillow.Image:
    """16-bit grayscale scaled to 8 bits (Pillow's own conversion clips); other modes as they are."""
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint32)
        return Pillow.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise InputError(f"{path}: 32-bit pixels have no agreed white; convert the picture to 8 or 16 bits")
    return image


def _srgb(image: Pillow.Image, alpha: bool) -> Pillow.Image:
    """The picture as RGB or RGBA, brought to sRGB when it carries a usable color profile."""
    wanted = "RGBA" if alpha else "RGB"
    profile = image.info.get("icc_profile")
    if profile and image.mode in ("RGB", "RGBA", "CMYK"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            mode = "RGB" if image.mode == "CMYK" else image.mode
            image = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
        except (ImageCms.PyCMSError, OSError, ValueError):
            return image.convert(wanted)  # a damaged or foreign profile: take the numbers as they are
    return image.convert(wanted)
