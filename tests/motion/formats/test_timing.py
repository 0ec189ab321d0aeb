"""Estimation of frame rates from times."""

from fractions import Fraction

import numpy as np
import pytest

from mimaface_cli.motion.formats.timing import estimate_frame_rate
from tests.motion.tracks import NTSC


@pytest.mark.parametrize("rate", [24, 25, 30, 60, 120, NTSC, Fraction(24000, 1001), Fraction(60000, 1001)])
def test_estimate_frame_rate_recognizes_usual_rates(rate):
    assert estimate_frame_rate(np.arange(100) * float(1 / rate)) == rate


def test_estimate_frame_rate_of_one_frame_is_25():
    assert estimate_frame_rate(np.array([0.0])) == 25
