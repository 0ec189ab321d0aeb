"""Timecode arithmetic.

Source: SMPTE ST 12-1.
"""

import re
from fractions import Fraction

from mimaface_cli.errors import InputError

TIME_TOLERANCE = 0.001
"""Tolerance in seconds for the time of a frame: Matroska rounds to milliseconds, and users write few digits."""

_TIMECODE = re.compile(r"([0-9]{1,2}):([0-9]{2}):([0-9]{2})([:;])([0-9]{2,3})")
# Frame numbers that drop-frame timecode skips at the start of every minute except every tenth, by frame rate.
_DROPPED_PER_MINUTE = {Fraction(30000, 1001): 2, Fraction(60000, 1001): 4}
_SECONDS_PER_DAY = 24 * 3600


def is_timecode(text: str) -> bool:
    """Return whether a text has the form HH:MM:SS:FF of a timecode, or HH:MM:SS;FF of a drop-frame timecode."""
    return _TIMECODE.fullmatch(text) is not None


def frame_number(timecode: str, rate: Fraction) -> int:
    """Return the number of a timecode's frame, counted from 00:00:00:00.

    Args:
        timecode: HH:MM:SS:FF, or HH:MM:SS;FF for drop-frame.
        rate: Frame rate.

    Raises:
        InputError: If no frame has this timecode at this frame rate.
    """
    match = _TIMECODE.fullmatch(timecode)
    if match is None:
        raise InputError(f"{timecode[:30]}: not a timecode. Write it as HH:MM:SS:FF.")
    hours, minutes, seconds, frames = (int(part) for part in match.group(1, 2, 3, 5))
    base = round(rate)
    if minutes > 59 or seconds > 59 or frames >= base:
        raise InputError(
            f"{timecode}: no frame has this timecode at {float(rate):g} frames per second. "
            f"Give minutes and seconds up to 59 and frames up to {base - 1}."
        )
    count = ((hours * 60 + minutes) * 60 + seconds) * base + frames
    if match.group(4) == ":":
        return count
    dropped = _DROPPED_PER_MINUTE.get(rate)
    if dropped is None:
        raise InputError(f"{timecode}: only 29.97 and 59.94 frames per second have drop-frame timecode. Write : for ;.")
    if frames < dropped and seconds == 0 and minutes % 10:
        raise InputError(f"{timecode}: drop-frame timecode skips this frame number. Give the next one.")
    total_minutes = hours * 60 + minutes
    return count - dropped * (total_minutes - total_minutes // 10)


def advance_timecode(timecode: str, frames: int, rate: Fraction) -> str:
    """Return the timecode of a later frame in the same notation; it wraps around at 24 hours.

    Args:
        timecode: HH:MM:SS:FF, or HH:MM:SS;FF for drop-frame.
        frames: Number of frames to advance.
        rate: Frame rate.

    Raises:
        InputError: If no frame has this timecode at this frame rate.
    """
    count = frame_number(timecode, rate) + frames
    base = round(rate)
    separator = ":"
    if ";" in timecode:
        separator = ";"
        count += _skipped_numbers(count, base, _DROPPED_PER_MINUTE[rate])
    seconds, frame = divmod(count % (_SECONDS_PER_DAY * base), base)
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}{separator}{frame:02}"


def _skipped_numbers(count: int, base: int, dropped: int) -> int:
    """Return how many frame numbers drop-frame timecode skips before a frame.

    Args:
        count: Index of the frame from 00:00:00;00.
        base: Frame numbers per second.
        dropped: Frame numbers that are skipped per minute.
    """
    frames_per_minute = base * 60 - dropped
    frames_per_ten_minutes = base * 600 - 9 * dropped
    ten_minutes, rest = divmod(count, frames_per_ten_minutes)
    minutes = (rest - dropped) // frames_per_minute if rest > dropped else 0
    return 9 * dropped * ten_minutes + dropped * minutes
