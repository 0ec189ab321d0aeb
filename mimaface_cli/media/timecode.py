"""Timecode arithmetic (SMPTE 12-1)."""

import re
from fractions import Fraction

from mimaface_cli.errors import InputError

_FRAMES = re.compile(r"([0-9]{1,2}):([0-9]{2}):([0-9]{2})([:;])([0-9]{2,3})")
_DROPPING = {Fraction(30000, 1001): 2, Fraction(60000, 1001): 4}  # labels left out each minute but the tenth
_DAY = 24 * 3600
TOLERANCE = 0.001  # seconds by which times may miss a frame: Matroska counts milliseconds, people write few digits


def is_timecode(text: str) -> bool:
    """Return whether a text has the form HH:MM:SS:FF of a timecode, or HH:MM:SS;FF of a drop-frame timecode."""
    return _FRAMES.fullmatch(text) is not None


def number(timecode: str, rate: Fraction) -> int:
    """The frame, counted from 00:00:00:00, that a timecode names at a rate. Raises InputError where it names none."""
    if (found := _FRAMES.fullmatch(timecode)) is None:
        raise InputError(f"{timecode[:30]}: is no timecode HH:MM:SS:FF")
    hours, minutes, seconds = (int(part) for part in found.group(1, 2, 3))
    frames, base = int(found.group(5)), round(rate)
    if minutes > 59 or seconds > 59 or frames >= base:
        raise InputError(
            f"{timecode}: no such timecode at {float(rate):g} frames a second (frames count to {base - 1})"
        )
    count = ((hours * 60 + minutes) * 60 + seconds) * base + frames
    if found.group(4) == ":":
        return count
    if (left_out := _DROPPING.get(rate)) is None:
        raise InputError(f"{timecode}: drop-frame timecode belongs to 29.97 and 59.94 frames a second; write it with :")
    if frames < left_out and seconds == 0 and minutes % 10:
        raise InputError(f"{timecode}: drop-frame timecode leaves this frame out")
    total = hours * 60 + minutes
    return count - left_out * (total - total // 10)


def advance_timecode(timecode: str, frames: int, rate: Fraction) -> str:
    """The timecode that many frames after another one, in its own way of counting; it begins anew each day."""
    base, dropping = round(rate), ";" in timecode
    count = number(timecode, rate) + frames
    left_out = _DROPPING[rate] if dropping else 0
    per_minute, per_ten = base * 60 - left_out, base * 600 - 9 * left_out
    if dropping:
        tens, rest = divmod(count, per_ten)
        count += 9 * left_out * tens + (left_out * ((rest - left_out) // per_minute) if rest > left_out else 0)
    seconds, frame = divmod(count % (_DAY * base), base)
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}{';' if dropping else ':'}{frame:02}"
