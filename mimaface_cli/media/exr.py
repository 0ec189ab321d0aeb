"""OpenEXR out, linear light in half floats, as compositing programs expect it; and in again, to be inspected."""

import json
from pathlib import Path

import numpy as np

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.media.libav import MAX_PIXELS, check_file, too_large


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
    """The picture that `save_exr` has written (H×W×3 uint8 sRGB, no longer multiplied by alpha) and its texts. Raises
    InputError, also for pictures with other channels."""
    check_file(path)
    try:
        import OpenEXR
    except ImportError as error:
        raise InputError(f'{path}: EXR needs the package OpenEXR; pip install "mimaface[exr]"') from error
    try:
        header = OpenEXR.File(str(path), header_only=True).header()
        low, high = header["dataWindow"]
        width, height = (int(b) - int(a) + 1 for a, b in zip(low, high))
        if width * height > MAX_PIXELS:
            raise InputError(f"{path}: {too_large(width, height)}")
        channels = OpenEXR.File(str(path)).channels()
    except InputError:
        raise
    except Exception as error:  # a parser of damaged bytes may raise anything
        raise InputError(f"{path}: the picture is damaged or cut short; get the whole file") from error
    found = next((channels[name].pixels for name in ("RGB", "RGBA") if name in channels), None)
    if found is None or found.dtype.kind != "f" or found.shape[:2] != (height, width):
        raise InputError(f"{path}: holds other channels than red, green and blue in floats; convert it to PNG")
    light = np.nan_to_num(found[..., :3].astype(np.float32), posinf=1.0, neginf=0.0)
    if found.shape[2] == 4:
        light = light / np.clip(np.nan_to_num(found[..., 3:].astype(np.float32), nan=1.0), 1e-3, 1.0)
    try:
        texts = json.loads(header.get("comments", "{}"))
    except (ValueError, TypeError, RecursionError):
        texts = {}
    texts = texts if isinstance(texts, dict) else {}
    return encoded(light), {key: value for key, value in texts.items() if isinstance(value, str)}


def encoded(light: np.ndarray) -> np.ndarray:
    """Light to sRGB uint8 (IEC 61966-2-1), the inverse of `linear`."""
    light = np.clip(light, 0, 1)
    values = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(values * 255).astype(np.uint8)


def linear(values: np.ndarray) -> np.ndarray:
    """sRGB uint8 to light 0..1, float32 (IEC 61966-2-1)."""
    steps = np.arange(256) / 255
    table = np.where(steps <= 0.04045, steps / 12.92, ((steps + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return table[values]
