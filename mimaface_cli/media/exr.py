"""OpenEXR out: linear light in half floats, as compositing programs expect it."""

import json
from pathlib import Path

import numpy as np

from mimaface_cli.errors import OutputError


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


def linear(values: np.ndarray) -> np.ndarray:
    """sRGB uint8 to light 0..1, float32 (IEC 61966-2-1)."""
    steps = np.arange(256) / 255
    table = np.where(steps <= 0.04045, steps / 12.92, ((steps + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return table[values]
