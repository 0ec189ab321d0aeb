"""Times in a video as users write them, and the span of a video to use."""

import re
from dataclasses import dataclass
from fractions import Fraction

from mimaface_cli.errors import InputError
from mimaface_cli.media.timecode import frame_number, is_timecode
from mimaface_cli.options import option

_CLOCK = re.compile(r"(?:(?:([0-9]{1,3}):)?([0-9]{1,2}):)?([0-9]{1,7}(?:[.,][0-9]{1,9})?)")


@dataclass(frozen=True)
class Moment:
    """Time since the first frame.

    Attributes:
        text: The time as the user wrote it.
        seconds: Exact time in seconds; None for a timecode HH:MM:SS:FF (;FF: drop-frame), which needs a frame rate.
    """

    text: str
    seconds: Fraction | None = None

    @classmethod
    def parse(cls, text: str, field: str) -> "Moment":
        """Parse a time.

        Args:
            text: Seconds (12.5), a clock time (1:30, 00:01:30.500) or a timecode (00:01:30:12).
            field: Name of the option, for the error.

        Raises:
            InputError: For any other text.
        """
        text = text.strip()
        if is_timecode(text):
            return cls(text)
        if (match := _CLOCK.fullmatch(text)) is None:
            raise InputError(
                f"{text[:30]!r} is not a time. Give seconds (12.5), HH:MM:SS.mmm or a timecode HH:MM:SS:FF.",
                field=field,
            )
        hours, minutes, rest = match.groups()
        seconds = Fraction(rest.replace(",", "."))
        if (minutes is not None and seconds >= 60) or (hours is not None and int(minutes) >= 60):
            raise InputError(
                f"{text[:30]!r} is not a time. Minutes and seconds after a colon go up to 59.", field=field
            )
        return cls(text, int(hours or 0) * 3600 + int(minutes or 0) * 60 + seconds)

    def to_seconds(self, rate: Fraction) -> Fraction:
        """Return the time in seconds.

        Args:
            rate: Frame rate of the video.

        Raises:
            InputError: For a timecode that does not exist at this frame rate.
        """
        return self.seconds if self.seconds is not None else Fraction(frame_number(self.text, rate)) / rate


@dataclass(frozen=True)
class Trim:
    """Span of a video or audio file to use.

    Attributes:
        start: Start of the span.
        duration: Duration of the span; None for up to the end.
    """

    start: Moment = option(
        Moment("0", Fraction(0)),
        metavar="TIME",
        help="Start in the input: seconds, HH:MM:SS.mmm or timecode HH:MM:SS:FF.",
    )
    duration: Moment | None = option(None, metavar="TIME", help="Duration to use, in the same forms.")

    @classmethod
    def parse(cls, start: str | None, duration: str | None) -> "Trim":
        """Parse the texts of the options `start` and `duration`; None means the default.

        Raises:
            InputError: For a text that is not a time, and for a duration of zero.
        """
        trim = cls(
            cls.start if start is None else Moment.parse(start, "start"),
            None if duration is None else Moment.parse(duration, "duration"),
        )
        if trim.duration is not None and not re.search("[1-9]", trim.duration.text):
            raise InputError(f"{duration} is out of range. Give a duration above zero.", field="duration")
        return trim

    def __bool__(self) -> bool:
        """Return whether anything is cut off."""
        return self != Trim()

    def seconds(self, rate: Fraction) -> tuple[float, float | None]:
        """Return start and duration in seconds for a video of this frame rate."""
        duration = None if self.duration is None else float(self.duration.to_seconds(rate))
        return float(self.start.to_seconds(rate)), duration
