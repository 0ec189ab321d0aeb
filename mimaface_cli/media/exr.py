"""OpenEXR images: written as linear light in half floats for compositing, read to be inspected."""

import json
from collections.abc import Mapping
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
_SAMPLE_TYPES = {"gbrpf16le": "<f2", "gbrapf16le": "<f2", "gbrpf32le": "<f4", "gbrapf32le": "<f4"}


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
    import OpenEXR

    pixels = srgb_to_linear(rgb)
    if alpha is not None:
        coverage = alpha[..., None].astype(np.float32) / 255
        pixels = np.concatenate([pixels * coverage, coverage], axis=2)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    if tags:
        header["comments"] = json.dumps(dict(tags))
    channels = {"RGB" if alpha is None else "RGBA": np.ascontiguousarray(pixels, np.float16)}
    try:
        OpenEXR.File(header, channels).write(str(path))
    except RuntimeError as error:  # OpenEXR never raises OSError
        raise OSError(f"OpenEXR: {' '.join(str(error).split())}") from error


def load_exr(path: Path) -> tuple[np.ndarray, dict[str, str]]:
    """Read an image and its tags as `save_exr` wrote them.

    FFmpeg decodes it. Rows that it cannot decode, as in a truncated file, are black.

    Returns:
        (H, W, 3) uint8 sRGB pixels, not premultiplied by alpha, and the tags.

    Raises:
        InputError: If the header is damaged, or if the file is too large or has other channels than RGB and alpha.
    """
    check_input_file(path)
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise InputError(f"{path}: the file is larger than {_MAX_FILE_BYTES >> 20} MB. Convert it to PNG.")
    data = path.read_bytes()
    frame = _decode(path, data)
    sample_type = _SAMPLE_TYPES.get(frame.format.name)
    if sample_type is None:
        raise InputError(f"{path}: has other channels than red, green and blue. Convert it to PNG.")
    green, blue, red, *coverage = (
        np.frombuffer(memoryview(plane), sample_type)
        .reshape(-1, plane.line_size // np.dtype(sample_type).itemsize)[: frame.height, : frame.width]
        .astype(np.float32)
        for plane in frame.planes
    )
    light: np.ndarray = np.nan_to_num(np.stack([red, green, blue], axis=2), posinf=1.0, neginf=0.0)
    if coverage:
        light = light / np.clip(np.nan_to_num(coverage[0][..., None], nan=1.0), 1e-3, 1.0)
    return linear_to_srgb(light), _read_tags(data)


def _decode(path: Path, data: bytes) -> VideoFrame:
    try:
        decoder = CodecContext.create("exr", "r")
        decoder.options = {"max_pixels": str(MAX_PIXELS), "err_detect": "explode"}
        return [*decoder.decode(Packet(data)), *decoder.decode(None)][0]
    except (FFmpegError, ValueError, IndexError) as error:
        raise InputError(f"{path}: the image is damaged or cut short. Get the complete file.") from error


def _read_tags(data: bytes) -> dict[str, str]:
    """Return the tags that `save_exr` stored in the comments.

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
        if (name, kind) == (b"comments", b"string") and size <= _MAX_COMMENT_BYTES:
            return _parse_tags(data[position : position + size])
        position += size
    return {}


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
