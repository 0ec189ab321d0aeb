"""Agreement of events of two faces: closed lips and blinks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CLOSED_LIPS = 0.06  # gap between the inner lips, relative to the width of the mouth, below which lips count as closed
BLINK_LEVEL, BLINK_END = 0.5, 0.3  # eyeBlink above which a blink starts, and below which it ends
MATCH_TOLERANCE = 0.1  # seconds between two blinks that count as the same


@dataclass(frozen=True)
class EventMatch:
    """Numbers of events of result and driver, and of those that both have."""

    result: int
    driver: int
    both: int

    @property
    def precision(self) -> float | None:
        """Share of the result's events that the driver has, or None without events."""
        return self.both / self.result if self.result else None

    @property
    def recall(self) -> float | None:
        """Share of the driver's events that the result has, or None without events."""
        return self.both / self.driver if self.driver else None


def closed_lips(opening: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Return the mask (N, bool) of frames with closed lips from the opening and the width (N) of the mouth."""
    return opening < CLOSED_LIPS * width


def find_blinks(closure: np.ndarray, times: np.ndarray, is_usable: np.ndarray) -> list[tuple[float, float]]:
    """Return the start and the end in seconds of the blinks of a curve.

    Args:
        closure: (N) closure of the eyes, 0 (open) to 1.
        times: (N) seconds.
        is_usable: (N, bool) frames with a face; others end a blink.
    """
    blinks: list[tuple[float, float]] = []
    start: float | None = None
    last = 0.0
    for value, time, usable in zip(closure, times, is_usable, strict=True):
        if start is None:
            if usable and value >= BLINK_LEVEL:
                start = last = float(time)
        elif usable and value >= BLINK_END:
            last = float(time)
        else:
            blinks.append((start, last))
            start = None
    if start is not None:
        blinks.append((start, last))
    return blinks


def match_events(result: Sequence[tuple[float, float]], driver: Sequence[tuple[float, float]]) -> EventMatch:
    """Match the events of two ordered lists one to one; events match if they are MATCH_TOLERANCE apart or overlap."""
    both = first = second = 0
    while first < len(result) and second < len(driver):
        start, end = result[first]
        other_start, other_end = driver[second]
        if end + MATCH_TOLERANCE < other_start:
            first += 1
        elif other_end + MATCH_TOLERANCE < start:
            second += 1
        else:
            both, first, second = both + 1, first + 1, second + 1
    return EventMatch(len(result), len(driver), both)
