"""Animated WebP, which FFmpeg's demuxers do not read, decoded by Pillow as videos are: frames with times."""

from collections.abc import Generator
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

from mimaface_cli.errors import InputError
from mimaface_cli.media.image import Image, decode_animation, image_size
from mimaface_cli.media.image_formats import detect_format
from mimaface_cli.media.video import MediaInfo

_CHUNKS_START = 12  # after RIFF, the size, and WEBP
_DURATION = slice(12, 15)  # of a frame in its chunk, in milliseconds
_SHORTEST, _DEFAULT = 11, 100  # milliseconds; browsers show frames with shorter durations for the default
_COMMON_RATES = [Fraction(rate) for rate in (10, 12, 15, 20, 24, 25, 30, 50, 60)]


def is_animated_webp(path: Path) -> bool:
    """Return whether an existing file is an animated WebP."""
    return detect_format(path) == "WEBP" and len(_durations(path)) > 1


def probe_animation(path: Path) -> MediaInfo:
    """Describe an animated WebP; one frame is decoded. Raises InputError if it cannot be read."""
    width, height = image_size(path)
    durations = _durations(path)
    times = [0, *accumulate(durations)]
    rate, is_variable = _frame_rate(times)
    return MediaInfo(
        path,
        "video",
        width,
        height,
        rate,
        len(durations),
        times[-1] / 1000,
        is_variable,
        has_audio=False,
        codec="webp",
        pixel_format="rgba",
        has_alpha=next(decode_animation(path)).alpha is not None,
    )


def decode_animated_webp(path: Path) -> Generator[tuple[Image, float, float], None, None]:
    """Decode the frames of an animated WebP, each with its time and duration in seconds.

    Raises InputError if it is damaged.
    """
    time = 0
    durations = _durations(path)
    index = -1
    for index, image in enumerate(decode_animation(path)):
        yield image, time / 1000, durations[index] / 1000
        time += durations[index]
    if index + 1 < len(durations):
        raise InputError(f"{path}: the image is damaged or cut short. Get the complete file.")


def _durations(path: Path) -> list[int]:
    """Return the durations of the frames in milliseconds, from the chunks of the file.

    Source: WebP Container Specification, "Animation".
    """
    durations = []
    with open(path, "rb") as file:
        file.seek(_CHUNKS_START)
        while len(header := file.read(8)) == 8:
            size = int.from_bytes(header[4:], "little")
            start = file.tell()
            if header[:4] == b"ANMF":
                duration = int.from_bytes(file.read(_DURATION.stop)[_DURATION], "little")
                durations.append(duration if duration >= _SHORTEST else _DEFAULT)
            file.seek(start + size + size % 2)
    return durations


def _frame_rate(times: list[int]) -> tuple[Fraction, bool]:
    """Return the frame rate and whether it varies; times in whole milliseconds fit a rate if they are its rounding."""
    average = Fraction(1000 * (len(times) - 1), times[-1])
    for rate in (*_COMMON_RATES, *(rate * 1000 / 1001 for rate in _COMMON_RATES), average):
        if all(abs(time - 1000 * index / rate) <= 1 for index, time in enumerate(times)):
            return rate, False
    return average, True
