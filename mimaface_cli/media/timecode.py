"""Moments in a video as people write them, what is cut out by them, and the timecode that files carry (SMPTE 12-1)."""

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from mimaface_cli.errors import InputError
from mimaface_cli.media.image import image_kind
from mimaface_cli.media.libav import open_input

_CLOCK = re.compile(r"(?:(?:([0-9]{1,3}):)?([0-9]{1,2}):)?([0-9]{1,7}(?:[.,][0-9]{1,9})?)")
_FRAMES = re.compile(r"([0-9]{1,2}):([0-9]{2}):([0-9]{2})([:;])([0-9]{2,3})")
_DROPPING = {Fraction(30000, 1001): 2, Fraction(60000, 1001): 4}  # labels left out each minute but the tenth
_DAY = 24 * 3600
TOLERANCE = 0.001  # seconds by which times may miss a frame: Matroska counts milliseconds, people write few digits


@dataclass(frozen=True)
class Moment:
    """A time from the beginning: exact `seconds`, or a timecode HH:MM:SS:FF (;FF: drop-frame) that needs a rate."""

    text: str
    seconds: Fraction | None = None

    @classmethod
    def parse(cls, text: str, name: str) -> "Moment":
        """Of seconds (12.5), a clock (1:30, 00:01:30.500) or a timecode (00:01:30:12). Raises InputError, which calls
        the text by `name`.
        """
        text = text.strip()
        if _FRAMES.fullmatch(text):
            return cls(text)
        if (found := _CLOCK.fullmatch(text)) is None:
            raise InputError(f"{name} {text[:30]}: give seconds (12.5), HH:MM:SS.mmm or a timecode HH:MM:SS:FF")
        hours, minutes, rest = found.groups()
        seconds = Fraction(rest.replace(",", "."))
        if (minutes is not None and seconds >= 60) or (hours is not None and int(minutes) >= 60):
            raise InputError(f"{name} {text[:30]}: minutes and seconds go up to 59")
        return cls(text, int(hours or 0) * 3600 + int(minutes or 0) * 60 + seconds)

    def at(self, rate: Fraction) -> Fraction:
        """Seconds in a video of `rate` frames a second. Raises InputError for a timecode that it does not have."""
        return self.seconds if self.seconds is not None else Fraction(number(self.text, rate)) / rate


@dataclass(frozen=True)
class Trim:
    """What is taken of a video or sound: from `start` on, for `duration` (None: to its end)."""

    start: Moment = Moment("0", Fraction(0))
    duration: Moment | None = None

    @classmethod
    def parse(cls, start: str | None, duration: str | None) -> "Trim":
        """Of the texts of --start and --duration. Raises InputError."""
        made = cls(
            cls.start if start is None else Moment.parse(start, "--start"),
            None if duration is None else Moment.parse(duration, "--duration"),
        )
        if made.duration is not None and not re.search("[1-9]", made.duration.text):
            raise InputError(f"--duration {duration}: must be longer than nothing")
        return made

    def __bool__(self) -> bool:
        return self != Trim()

    def seconds(self, rate: Fraction) -> tuple[float, float | None]:
        """Start and duration in a video of that rate."""
        return float(self.start.at(rate)), None if self.duration is None else float(self.duration.at(rate))


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


def read_timecode(path: Path) -> str | None:
    """The timecode of a video's first frame as its container says, None where it says none."""
    if path.is_dir() or image_kind(path) is not None:
        return None
    with open_input(path) as container:
        for tags in (*(stream.metadata for stream in container.streams), container.metadata):
            value = next((value for name, value in tags.items() if name.lower() == "timecode"), None)
            if value is not None and _FRAMES.fullmatch(value):
                return value
    return None
