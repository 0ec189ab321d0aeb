"""OpenEXR images: linear light, premultiplied by alpha; written in half floats for compositing."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from av.codec.context import CodecContext
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.files import check_input_file
from mimaface_cli.media.libav import MAX_PIXELS

_MAX_FILE_BYTES = 1 << 30
_MAX_ATTRIBUTES = 1000
_MAX_COMMENT_BYTES = 1 << 20
_SAMPLE_TYPES = {
    "gbrpf16le": "<f2",
    "gbrapf16le": "<f2",
    "gbrpf32le": "<f4",
    "gbrapf32le": "<f4",
    "grayf16le": "<f2",
    "grayf32le": "<f4",
}
_MULTI_PART = 1 << 12  # flag in the version field
_TILED = 1 << 9


def check_exr_support(path: Path) -> None:
    """Raise OutputError if the package that writes EXR files is not installed."""
    try:
        import OpenEXR  # noqa: F401 (only its presence matters)
    except ImportError as error:
        raise OutputError(
            f'{path}: EXR needs the package OpenEXR. Run pip install "mimaface[exr]", or use .png.'
        ) from error


def save_exr(path: Path, rgb: np.ndarray, alpha: np.ndarray | None, tags: Mapping[str, str]) -> None:
    """Write an image as linear Rec. 709 light, premultiplied by alpha.

    Args:
        path: File to write.
        rgb: (H, W, 3), uint8, sRGB.
        alpha: (H, W), uint8, or None.
        tags: Texts to store as JSON in the comments.

    Raises:
        OSError: If the file cannot be written.
    """
    pixels = srgb_to_linear(rgb)
    if alpha is not None:
        coverage = alpha[..., None].astype(np.float32) / 255
        pixels = np.concatenate([pixels * coverage, coverage], axis=2)
    write_exr(path, pixels.astype(np.float16), tags)


def write_exr(path: Path, pixels: np.ndarray, tags: Mapping[str, str]) -> None:
    """Write an image of linear Rec. 709 light.

    Args:
        path: File to write.
        pixels: (H, W, 3), or (H, W, 4) premultiplied by alpha, float16 or float32.
        tags: Texts to store as JSON in the comments.

    Raises:
        OSError: If the file cannot be written.
    """
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    if tags:
        header["comments"] = json.dumps(dict(tags))
    channels = {"RGB" if pixels.shape[2] == 3 else "RGBA": np.ascontiguousarray(pixels)}
    try:
        OpenEXR.File(header, channels).write(str(path))
    except RuntimeError as error:  # OpenEXR never raises OSError
        raise OSError(f"OpenEXR: {' '.join(str(error).split())}") from error


def load_exr(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Read an image of RGB or gray, with or without alpha.

    Returns:
        (H, W, 3) uint8 sRGB pixels, not premultiplied by alpha, and alpha (H, W) uint8 or None.

    Raises:
        InputError: If the file is damaged, cut short or too large, or has other channels.
    """
    data = _read_bytes(path)
    frame = _decode(path, data)
    sample_type = _SAMPLE_TYPES.get(frame.format.name)
    if sample_type is None:
        raise InputError(f"{path}: has other channels than red, green and blue. Convert it to PNG.")
    if _is_cut_short(data):
        raise InputError(f"{path}: the image is damaged or cut short. Get the complete file.")
    planes = [
        np.frombuffer(memoryview(plane), sample_type)
        .reshape(-1, plane.line_size // np.dtype(sample_type).itemsize)[: frame.height, : frame.width]
        .astype(np.float32)
        for plane in frame.planes
    ]
    green, blue, red, *coverage = planes if len(planes) > 1 else planes * 3
    light: np.ndarray = np.nan_to_num(np.stack([red, green, blue], axis=2), posinf=1.0, neginf=0.0)
    if not coverage:
        return linear_to_srgb(light), None
    alpha = np.clip(np.nan_to_num(coverage[0], nan=1.0), 0, 1)
    light = light / np.maximum(alpha, 1e-3)[..., None]
    return linear_to_srgb(light), np.rint(alpha * 255).astype(np.uint8)


def exr_size(path: Path) -> tuple[int, int]:
    """Return the (width, height) of an image. Raises InputError as `load_exr`."""
    frame = _decode(path, _read_bytes(path))
    return frame.width, frame.height


def read_exr_tags(path: Path) -> dict[str, str]:
    """Return the tags that `save_exr` wrote, or {}. Raises InputError if the file cannot be read or is too large."""
    for name, kind, value in _attributes(_read_bytes(path)):
        if (name, kind) == (b"comments", b"string") and len(value) <= _MAX_COMMENT_BYTES:
            return _parse_tags(value)
    return {}


def _read_bytes(path: Path) -> bytes:
    check_input_file(path)
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise InputError(f"{path}: the file is larger than {_MAX_FILE_BYTES >> 20} MB. Convert it to PNG.")
    return path.read_bytes()


def _decode(path: Path, data: bytes) -> VideoFrame:
    try:
        decoder = CodecContext.create("exr", "r")
        decoder.options = {"max_pixels": str(MAX_PIXELS), "err_detect": "explode"}
        return [*decoder.decode(Packet(data)), *decoder.decode(None)][0]
    except (FFmpegError, ValueError, IndexError) as error:
        raise InputError(f"{path}: the image is damaged or cut short. Get the complete file.") from error


def _attributes(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield the name, type and value of each attribute of the header, the last one with empty name and type.

    Source: OpenEXR, "File Layout". A header is a list of attributes (name, type, size, value) up to an empty name.
    """
    position = 8  # after the magic number and the version
    for _ in range(_MAX_ATTRIBUTES):
        name, _, rest = data[position : position + 600].partition(b"\0")
        kind, end, rest = rest.partition(b"\0")
        if not name or not end or len(rest) < 4:
            break
        size = int.from_bytes(rest[:4], "little")
        position += len(name) + len(kind) + 6
        yield name, kind, data[position : position + size]
        position += size


def _is_cut_short(data: bytes) -> bool:
    """Return whether the last block of pixels lies beyond the end of the file; FFmpeg leaves missing rows black.

    Source: OpenEXR, "File Layout". The header is followed by a table of the blocks' offsets, and the blocks follow it.
    Files of several parts are not checked.
    """
    version = int.from_bytes(data[4:8], "little")
    if version & _MULTI_PART:
        return False
    start = 9 + sum(len(name) + len(kind) + 6 + len(value) for name, kind, value in _attributes(data))
    end = int.from_bytes(data[start : start + 8], "little")
    if not start < end <= len(data):
        return True
    offsets = np.frombuffer(data[start : start + (end - start) // 8 * 8], "<u8")
    last = int(offsets.max())
    size_at = last + (16 if version & _TILED else 4)
    size = int.from_bytes(data[size_at : size_at + 4], "little")
    return size_at + 4 + size > len(data)


def _parse_tags(comments: bytes) -> dict[str, str]:
    try:
        tags = json.loads(comments)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(tags, dict):
        return {}
    return {name: text for name, text in tags.items() if isinstance(text, str)}


def linear_to_srgb(light: np.ndarray) -> np.ndarray:
    """Convert linear light to sRGB; the inverse of `srgb_to_linear`.

    Args:
        light: Linear light of any shape; values outside 0..1 are clipped.

    Returns:
        sRGB values, uint8, of the same shape.

    Source: IEC 61966-2-1.
    """
    light = np.clip(light, 0, 1)
    values = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(values * 255).astype(np.uint8)


def srgb_to_linear(values: np.ndarray) -> np.ndarray:
    """Convert sRGB to linear light.

    Args:
        values: sRGB values of any shape, uint8.

    Returns:
        Linear light in 0..1, float32, of the same shape.

    Source: IEC 61966-2-1.
    """
    steps = np.arange(256) / 255
    table = np.where(steps <= 0.04045, steps / 12.92, ((steps + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return table[values]
