"""The frame rate of a video: that of its header if the timestamps agree, otherwise that of the timestamps."""

from fractions import Fraction
from itertools import pairwise
from statistics import median

from av.video.stream import VideoStream

from mimaface_cli.media.libav import time_base

FALLBACK_RATE = Fraction(25)
"""Frame rate of a video that has no plausible one."""

_PLAUSIBLE_RATES = (Fraction(1, 10), Fraction(1000))
_MAX_UNCONFIRMED_RATE = 240  # frames per second that are accepted without two timestamps
_NTSC_RATES = tuple(Fraction(rate * 1000, 1001) for rate in (24, 30, 48, 60, 120))
_STANDARD_RATES = (
    *map(Fraction, (5, 10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 72, 75, 90, 100, 120, 144, 240)),
    *_NTSC_RATES,
)
_ROUNDING = Fraction(1, 1000)  # seconds; browsers and Matroska round times to milliseconds
_NEAR = 0.1  # relative deviation of a typical step from that of a rate


def header_rates(stream: VideoStream) -> list[Fraction]:
    """Return the plausible frame rates in the header, at least one.

    Whole and NTSC rates come first, because the others may be estimates.
    """
    low, high = _PLAUSIBLE_RATES
    candidates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    rates = [rate for rate in candidates if rate and low <= rate <= high]
    return sorted(rates, key=lambda rate: rate.denominator not in (1, 1001)) or [FALLBACK_RATE]


def measure_rate(stream: VideoStream, times: list[int]) -> tuple[Fraction, bool | None]:
    """Return the nominal frame rate and whether it varies (None without timestamps).

    The rate is constant if all times lie on the grid i / rate.

    Args:
        stream: The video stream.
        times: Times of the first frames in order, in ticks of the stream.
    """
    rates = header_rates(stream)
    if len(times) < 2:
        plausible = [rate for rate in rates if rate <= _MAX_UNCONFIRMED_RATE] or [FALLBACK_RATE]
        return plausible[0], False if times else None
    tick = time_base(stream)
    tolerance = max(tick, _ROUNDING)  # a coarse time base rounds
    seconds = [(time - times[0]) * tick for time in times]
    typical = median(second - first for first, second in pairwise(seconds))
    standard = sorted(_STANDARD_RATES, key=lambda rate: abs(1 / rate - typical))
    near = [rate for rate in standard if abs(1 / rate - typical) <= tolerance + typical * Fraction(_NEAR)]
    for rate in (*rates, *near):
        if all(abs(second - index / rate) <= tolerance for index, second in enumerate(seconds)):
            return rate, False
    plausible = [rate for rate in rates if abs(1 / rate - typical) <= tolerance]
    return _typical_rate(plausible, near, typical), True


def _typical_rate(plausible: list[Fraction], near: list[Fraction], typical: Fraction) -> Fraction:
    """Return the rate of a typical step: one of the header, or a standard rate, or the step's own."""
    if plausible:
        return plausible[0]
    if near and abs(1 / near[0] - typical) <= _ROUNDING:
        return near[0]
    low, high = _PLAUSIBLE_RATES
    if typical <= 0:  # damaged: most timestamps are equal
        return FALLBACK_RATE
    return min(max((1 / typical).limit_denominator(1001), low), high)
