"""The learning-rate schedule of the optimizer's configuration."""

from itertools import pairwise

import pytest

from mimaface_cli.training.config import OptimizerConfig


def test_rate_rises_linearly_and_falls_along_a_cosine():
    optimizer = OptimizerConfig(steps=100, learning_rate=1.0, schedule="cosine", warm_up=10)
    rates = [optimizer.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1, rel=1e-3)
    assert max(rates) == rates[9] > 0.97
    assert 0.02 < rates[99] < 0.025
    assert all(earlier > later for earlier, later in pairwise(rates[9:]))


def test_rate_is_constant_without_schedule():
    assert {OptimizerConfig(learning_rate=1e-5).rate(step) for step in (0, 5, 29_999)} == {1e-5}
