"""OpenEXR out, linear light in half floats, as compositing programs expect it; and in again, to be inspected."""

import json
from pathlib import Path

import numpy as np
from av.codec.context import CodecContext
from av.error import FFmpegError
from av.packet import Packet

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.files import check_input_file
from mimaface_cli.media.libav import MAX_PIXELS

_LARGEST = 1 << 30  # bytes of a picture that is read
_MOST_ATTRIBUTES = 1000
_FORMATS = {"gbrpf16le": "<f2", "gbrapf16le": "<f2", "gbrpf32le": "<f4", "gbrapf32le": "<f4"}
_LONGEST_TEXT = 1 << 20


def check_exr(path: Path) -> None:
    """Raise OutputError where the package that writes EXR is not installed."""
    try:
        import OpenEXR  # noqa: F401
    except ImportError as error:
        raise OutputError(f'{path}: EXR needs the package OpenEXR; pip install "mimaface[exr]", or use .png') from error


def save_exr(path: Path, rgb: np.ndarray, alpha: np.ndarray | None, metadata: dict[str, str] | None) -> None:
    """Pictures (H×W×3 uint8 sRGB, alpha H×W uint8) as linear Rec. 709 light, multiplied by alpha where there is one."""
    import OpenEXR

    pixels = linear(rgb)
    if alpha is not None:
        cover = alpha[..., None].astype(np.float32) / 255
        pixels = np.concatenate([pixels * cover, cover], axis=2)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    if metadata:
        header["comments"] = json.dumps(metadata)
    channels = {"RGB" if alpha is None else "RGBA": np.ascontiguousarray(pixels, np.float16)}
    try:
        OpenEXR.File(header, channels).write(str(path))
    except RuntimeError as error:  # it knows no OSError
        raise OSError(f"OpenEXR: {' '.join(str(error).split())}") from error


def load_exr(path: Path) -> tuple[np.ndarray, dict[str, str]]:
    """The picture that `save_exr` has written (H×W×3 uint8 sRGB, no longer multiplied by alpha) and its texts. Decoded
    by FFmpeg: OpenEXR's own reader goes on past damage. Raises InputError, also for pictures of other channels.
    """
    check_input_file(path)
    if path.stat().st_size > _LARGEST:
        raise InputError(f"{path}: is larger than {_LARGEST >> 20} MB; convert it to PNG")
    data = path.read_bytes()
    try:
        decoder = CodecContext.create("exr", "r")
        decoder.options = {"max_pixels": str(MAX_PIXELS), "err_detect": "explode"}
        frame = [*decoder.decode(Packet(data)), *decoder.decode(None)][0]
    except (FFmpegError, ValueError, IndexError) as error:
        raise InputError(f"{path}: the picture is damaged or cut short; get the whole file") from error
    kind = _FORMATS.get(frame.format.name)
    if kind is None:
        raise InputError(f"{path}: holds other channels than red, green and blue; convert it to PNG")
    rows = (
        np.frombuffer(plane, kind).reshape(-1, plane.line_size // np.dtype(kind).itemsize) for plane in frame.planes
    )
    green, blue, red, *cover = (row[: frame.height, : frame.width].astype(np.float32) for row in rows)
    light = np.nan_to_num(np.stack([red, green, blue], axis=2), posinf=1.0, neginf=0.0)
    if cover:
        light = light / np.clip(np.nan_to_num(cover[0][..., None], nan=1.0), 1e-3, 1.0)
    return encoded(light), _texts(data)


def _texts(data: bytes) -> dict[str, str]:
    """What `save_exr` puts into the comments: attributes are a name, a type, a size and so many bytes, up to an empty
    name (OpenEXR's "File Layout").
    """
    place = 8
    for _ in range(_MOST_ATTRIBUTES):
        name, _, rest = data[place : place + 600].partition(b"\0")
        kind, end, rest = rest.partition(b"\0")
        if not name or not end or len(rest) < 4:
            break
        size = int.from_bytes(rest[:4], "little")
        place += len(name) + len(kind) + 6
        if (name, kind) == (b"comments", b"string") and size <= _LONGEST_TEXT:
            try:
                values = json.loads(data[place : place + size])
            except (ValueError, RecursionError):
                break
            return {k: v for k, v in values.items() if isinstance(v, str)} if isinstance(values, dict) else {}
        place += size
    return {}


def encoded(light: np.ndarray) -> np.ndarray:
    """Light to sRGB uint8 (IEC 61966-2-1), the inverse of `linear`."""
    light = np.clip(light, 0, 1)
    values = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(values * 255).astype(np.uint8)


def linear(values: np.ndarray) -> np.ndarray:
    """SRGB uint8 to light 0..1, float32 (IEC 61966-2-1)."""
    steps = np.arange(256) / 255
    table = np.where(steps <= 0.04045, steps / 12.92, ((steps + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return table[values]
