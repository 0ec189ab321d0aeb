"""Closed lips and blinks of curves with known events."""

import numpy as np
import pytest

from mimaface_cli.evaluation.functional.face_events import closed_lips, find_blinks, match_events

TIMES = np.arange(100) / 25


def blinking(*centers: int) -> np.ndarray:
    """Return the closure of eyes that blink at these frames, for five frames each."""
    curve = np.full(100, 0.1)
    for center in centers:
        curve[center - 2 : center + 3] = (0.35, 0.7, 0.9, 0.6, 0.35)
    return curve


def test_find_blinks_returns_their_times():
    blinks = find_blinks(blinking(20, 60), TIMES, np.ones(100, bool))
    assert blinks == [pytest.approx((19 / 25, 22 / 25)), pytest.approx((59 / 25, 62 / 25))]


def test_find_blinks_counts_a_blink_that_dips_once():
    curve = blinking(20)
    curve[21] = 0.4  # between both levels: still the same blink
    assert len(find_blinks(curve, TIMES, np.ones(100, bool))) == 1


def test_find_blinks_ignores_unusable_frames():
    usable = np.ones(100, bool)
    usable[15:25] = False
    assert find_blinks(blinking(20), TIMES, usable) == []


def test_match_events_counts_each_event_once():
    driver = find_blinks(blinking(20, 60, 80), TIMES, np.ones(100, bool))
    result = find_blinks(blinking(21, 40, 59), TIMES, np.ones(100, bool))
    match = match_events(result, driver)
    assert (match.result, match.driver, match.both) == (3, 3, 2)
    assert match.precision == pytest.approx(2 / 3) and match.recall == pytest.approx(2 / 3)
    assert match_events([], driver).precision is None and match_events(result, []).recall is None


def test_closed_lips_compares_the_gap_with_the_width():
    assert closed_lips(np.array([0.01, 0.2]), np.array([0.5, 0.5])).tolist() == [True, False]
