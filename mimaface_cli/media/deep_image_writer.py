"""Writing of still images with 16 bits per channel: PNG, TIFF and OpenEXR."""

import json
import struct
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags
from PIL import Image as Pillow

from mimaface_cli.media.color_space import HLG, PQ, REFERENCE_WHITE, ColorSpace, hlg_to_light, pq_to_light
from mimaface_cli.media.deep_frame import DeepFrame
from mimaface_cli.media.exr import write_exr

DEEP_IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".exr")
"""Suffixes of the images that can store more than 8 bits per channel."""

_PNG_HEADER_BYTES = 33  # the signature and the first chunk
_XMP_KEYWORD = b"XML:com.adobe.xmp"
_HLG_WHITE = 0.75  # value of diffuse white in HLG; ITU-R BT.2408
_CHROMATICITIES = {  # x and y of red, green, blue and white
    1: (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, 0.3127, 0.3290),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.3140, 0.3510),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.3127, 0.3290),
}


def can_store_space(suffix: str, space: ColorSpace) -> bool:
    """Return whether an image of 16 bits can state a color space.

    Args:
        suffix: Suffix of the image, in lower case.
        space: The color space.
    """
    match suffix:
        case ".png":
            return True
        case ".tif" | ".tiff":
            return space.profile is not None or not space.is_wide
        case ".exr":
            return space.profile is None
    return False


def save_deep_image(
    path: Path, frame: DeepFrame, *, tags: Mapping[str, str] | None = None, xmp: bytes | None = None
) -> None:
    """Write an image in place in the format of its suffix.

    Args:
        path: File to write, with a suffix of DEEP_IMAGE_SUFFIXES.
        frame: The image; `can_store_space` is true for its color space.
        tags: Texts for the EXIF description (EXR: the comments), or None.
        xmp: XMP packet, or None; EXR ignores it.

    Raises:
        OSError: If the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix == ".exr":
        _save_exr(path, frame, tags or {})
    elif suffix == ".png":
        path.write_bytes(_encode_png(frame, tags or {}, xmp))
    else:
        path.write_bytes(_encode_tiff(frame, tags or {}, xmp))


def _encode_png(frame: DeepFrame, tags: Mapping[str, str], xmp: bytes | None) -> bytes:
    order = cv2.COLOR_RGB2BGR if frame.pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
    pixels = cv2.cvtColor(np.ascontiguousarray(frame.pixels), order)
    encoded = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes()
    chunks = []
    space = frame.space
    if space.profile is not None:
        chunks.append(_chunk(b"iCCP", b"profile\0\0" + zlib.compress(space.profile)))
    elif space.is_wide:
        chunks.append(_chunk(b"cICP", bytes((space.primaries, space.transfer, 0, 1))))
    if tags:
        exif = Pillow.Exif()
        exif[ExifTags.Base.ImageDescription] = json.dumps(dict(tags))
        chunks.append(_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
    if xmp is not None:
        chunks.append(_chunk(b"iTXt", _XMP_KEYWORD + b"\0\0\0\0\0" + xmp))
    return encoded[:_PNG_HEADER_BYTES] + b"".join(chunks) + encoded[_PNG_HEADER_BYTES:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _encode_tiff(frame: DeepFrame, tags: Mapping[str, str], xmp: bytes | None) -> bytes:
    """Return an uncompressed TIFF file. Source: TIFF 6.0, section 2."""
    height, width, channels = frame.pixels.shape
    pixels = np.ascontiguousarray(frame.pixels, "<u2").tobytes()
    byte, text, short, long, undefined = 1, 2, 3, 4, 7  # types of values
    entries = [
        (256, long, struct.pack("<I", width)),
        (257, long, struct.pack("<I", height)),
        (258, short, struct.pack(f"<{channels}H", *(16,) * channels)),
        (259, short, struct.pack("<H", 1)),  # no compression
        (262, short, struct.pack("<H", 2)),  # RGB
        (273, long, struct.pack("<I", 8)),  # the pixels follow the header
        (277, short, struct.pack("<H", channels)),
        (278, long, struct.pack("<I", height)),
        (279, long, struct.pack("<I", len(pixels))),
        (284, short, struct.pack("<H", 1)),  # channels are interleaved
    ]
    if tags:
        entries.append((270, text, json.dumps(dict(tags)).encode() + b"\0"))
    if channels == 4:
        entries.append((338, short, struct.pack("<H", 2)))  # straight alpha
    if xmp is not None:
        entries.append((700, byte, xmp))
    if frame.space.profile is not None:
        entries.append((34675, undefined, frame.space.profile))
    return b"".join(_tiff_parts(pixels, sorted(entries)))


def _tiff_parts(pixels: bytes, entries: list[tuple[int, int, bytes]]) -> list[bytes]:
    sizes = {3: 2, 4: 4}  # bytes of a value by its type; 1 for others
    directory_at = 8 + len(pixels)
    values_at = directory_at + 2 + 12 * len(entries) + 4
    directory, values = struct.pack("<H", len(entries)), b""
    for tag, kind, value in entries:
        directory += struct.pack("<HHI", tag, kind, len(value) // sizes.get(kind, 1))
        if len(value) <= 4:
            directory += value.ljust(4, b"\0")
        else:
            directory += struct.pack("<I", values_at + len(values))
            values += value + b"\0" * (len(value) % 2)
    return [b"II*\0", struct.pack("<I", directory_at), pixels, directory, b"\0\0\0\0", values]


def _save_exr(path: Path, frame: DeepFrame, tags: Mapping[str, str]) -> None:
    """Write linear Rec. 709 light, 1.0 for diffuse white; wide gamuts and HDR as 32-bit floats.

    Colors outside of Rec. 709 have negative values.
    """
    light = np.take(_light_curve(frame.space.transfer), frame.pixels[..., :3])
    if frame.space.primaries in _CHROMATICITIES and frame.space.primaries != 1:
        light = cv2.transform(light, _to_rec709(frame.space.primaries))
    if frame.pixels.shape[2] == 4:
        coverage = frame.pixels[..., 3:].astype(np.float32) / 65535
        light = np.concatenate([light * coverage, coverage], axis=2)
    write_exr(path, light.astype(np.float32 if frame.space.is_wide else np.float16), tags)


@cache
def _light_curve(transfer: int) -> np.ndarray:
    """Return the light of each 16-bit value, float32; diffuse white is 1."""
    values = np.arange(65536) / 65535
    if transfer == PQ:
        light = pq_to_light(values) / REFERENCE_WHITE
    elif transfer == HLG:
        light = hlg_to_light(values) / hlg_to_light(np.array(_HLG_WHITE))
    else:  # sRGB, as for images of 8 bits
        light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


@cache
def _to_rec709(primaries: int) -> np.ndarray:
    """Return the (3, 3) transform of linear light from other primaries to Rec. 709. Source: SMPTE RP 177."""
    return np.linalg.inv(_to_xyz(1)) @ _to_xyz(primaries)


def _to_xyz(primaries: int) -> np.ndarray:
    pairs = np.array(_CHROMATICITIES[primaries]).reshape(4, 2)
    xyz = np.hstack([pairs, 1 - pairs.sum(axis=1, keepdims=True)]) / pairs[:, 1:]
    colors, white = xyz[:3].T, xyz[3]
    return colors * np.linalg.solve(colors, white)
