"""DPX images, decoded by FFmpeg."""

from pathlib import Path

import numpy as np
from av.codec.context import CodecContext
from av.packet import Packet
from av.video.frame import VideoFrame

from mimaface_cli.errors import InputError
from mimaface_cli.files import check_input_file
from mimaface_cli.media.color import RgbConverter
from mimaface_cli.media.libav import DECODE_ERRORS, MAX_PIXELS

_MAX_FILE_BYTES = 1 << 30
_TRANSFER = 801  # offset of the transfer characteristic of the first image element (SMPTE 268M)
_LOG_TRANSFERS = (1, 3)  # printing density, logarithmic


def load_dpx(path: Path) -> np.ndarray:
    """Read an image whose values are display-referred, as most programs write them.

    Returns:
        (H, W, 3), uint8, C-contiguous.

    Raises:
        InputError: If the file is damaged, cut short, too large, or a scan of film in logarithmic values.
    """
    frame = _decode(path)
    with open(path, "rb") as file:
        file.seek(_TRANSFER)
        transfer = file.read(1)
    if transfer and transfer[0] in _LOG_TRANSFERS:
        raise InputError(f"{path}: has logarithmic film values. Convert it to PNG, TIFF or OpenEXR.")
    frame.color_primaries = frame.color_trc = 2  # FFmpeg's own encoder states linear light for any values
    return RgbConverter(frame, None).convert(frame)


def dpx_size(path: Path) -> tuple[int, int]:
    """Return the (width, height) of an image. Raises InputError as `load_dpx`."""
    frame = _decode(path)
    return frame.width, frame.height


def _decode(path: Path) -> VideoFrame:
    check_input_file(path)
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise InputError(f"{path}: the file is larger than {_MAX_FILE_BYTES >> 20} MB. Convert it to PNG.")
    try:
        decoder = CodecContext.create("dpx", "r")
        decoder.options = {"max_pixels": str(MAX_PIXELS), "err_detect": "explode"}
        return [*decoder.decode(Packet(path.read_bytes())), *decoder.decode(None)][0]
    except (*DECODE_ERRORS, IndexError) as error:
        raise InputError(f"{path}: the image is damaged or cut short. Get the complete file.") from error
