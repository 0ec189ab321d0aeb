"""Formats of still images: recognition by content, and what reads each of them."""

import importlib
import re
from pathlib import Path

from PIL import Image as Pillow

from mimaface_cli.files import input_error

HEAD_BYTES = 256
"""Number of the first bytes of a file that decide on its format."""

_TGA = "TGA"
_MAGIC_NUMBERS: dict[str, re.Pattern[bytes]] = {
    name: re.compile(pattern, re.DOTALL)
    for name, pattern in {
        "JPEG": rb"\xff\xd8\xff",
        "PNG": rb"\x89PNG\r\n",
        "GIF": rb"GIF8",
        "BMP": rb"BM",
        "TIFF": rb"II\*\0|MM\0\*",
        "PPM": rb"P[1-6]\s",
        "WEBP": rb"RIFF....WEBP",
        "AVIF": rb"....ftypavif|....ftypm[is]f1....(?:....){0,6}avif",
        "HEIF": rb"....ftyp(?:hei[cfmsx]|mif1|msf1)",
        "JXL": rb"\xff\x0a|\0\0\0\x0cJXL ",
        "JPEG2000": rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  ",
        "EXR": rb"\x76\x2f\x31\x01",
        "DPX": rb"SDPX|XPDS",
        "PSD": rb"8BPS",
        "SVG": rb"\s*<svg|\s*<\?xml.*<svg",
        "PDF": rb"%PDF",
        "PostScript": rb"%!PS|\xc5\xd0\xd3\xc6",
        "camera raw": rb"FUJIFILM|IIR[OS]|IIU\0|....ftypcrx|II\*\0....CR|\0MRM|FOVb",
        "JPEG XR": rb"II\xbc",
        "Radiance HDR": rb"#\?R(?:ADIANCE|GBE)",
        "XCF": rb"gimp xcf",
    }.items()
}
_PLUGINS = {"HEIF": ("pillow_heif", "pillow-heif"), "JXL": ("pillow_jxl", "pillow-jxl-plugin")}
_LABELS = {"HEIF": "HEIC", "JXL": "JPEG XL", "JPEG2000": "JPEG 2000", "TGA": "Targa"}
_BY_FFMPEG = ("EXR", "DPX")

# A list of plain decoders: Pillow's others start programs (EPS), or recognize almost any bytes.
Pillow.init()
_BY_PILLOW = {"AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP"} & set(Pillow.OPEN)


def detect_format(path: Path) -> str | None:
    """Return the name of a file's image format by its content, also of formats that cannot be read; or None.

    Raises:
        InputError: If the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise input_error(path, error) from error
    if _MAGIC_NUMBERS["camera raw"].match(head):  # some are TIFF with a small preview
        return "camera raw"
    name = next((name for name, pattern in _MAGIC_NUMBERS.items() if pattern.match(head)), None)
    return _TGA if name is None and _is_targa(path, head) else name


def _is_targa(path: Path, head: bytes) -> bool:
    """Return whether a file is Targa, which has no magic number, by its suffix and the values of its header."""
    if path.suffix.lower() != ".tga" or len(head) < 18:
        return False
    return head[1] in (0, 1) and head[2] in (1, 2, 3, 9, 10, 11) and head[16] in (8, 15, 16, 24, 32)


def pillow_formats(name: str) -> tuple[str, ...]:
    """Return the names under which Pillow reads a format, which may be none; installed plugins are loaded.

    Args:
        name: Name of the format.
    """
    if name in _PLUGINS:
        _load_plugin(name)
        return (name,) if name in Pillow.OPEN else ()
    if name not in _BY_PILLOW:
        return ()
    return ("JPEG", "MPO") if name == "JPEG" else (name,)


def _load_plugin(name: str) -> None:
    try:
        plugin = importlib.import_module(_PLUGINS[name][0])
    except ImportError:
        return
    if name == "HEIF":  # the other registers itself
        plugin.register_heif_opener()


def unreadable_reason(name: str | None) -> str:
    """Return why an image cannot be read and what to do about it.

    Args:
        name: Format of the file, or None if it is unknown.
    """
    if name is None:
        return "not a readable image. Convert it to PNG or JPEG."
    if name in _BY_FFMPEG or pillow_formats(name):
        return "the image is damaged or cut short. Get the complete file."
    label = _LABELS.get(name, name)
    if name in _PLUGINS:
        return (
            f"{label} images need the package {_PLUGINS[name][1]}. Convert it to JPEG or PNG, or run "
            'pip install "mimaface[images]".'
        )
    return f"{label} images are not supported. Convert it to PNG or JPEG."
