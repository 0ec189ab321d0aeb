"""Significance against SciPy and known values."""

import numpy as np
import pytest
from scipy import stats

from mimaface_cli.evaluation.functional.bootstrap import (
    MIN_PAIRS,
    correct_holm,
    paired_bootstrap,
    sign_test,
    wilson_interval,
)


def test_paired_bootstrap_agrees_with_scipy():
    rng = np.random.default_rng(0)
    second = rng.normal(10, 3, 40)
    first = second + rng.normal(0.4, 1, 40)
    result = paired_bootstrap(first, second)
    expected = stats.bootstrap((first - second,), np.mean, n_resamples=10_000, method="percentile", rng=1)
    interval = expected.confidence_interval
    assert result.mean == pytest.approx((first - second).mean(), abs=1e-12) and result.count == 40
    assert (result.low, result.high) == pytest.approx((interval.low, interval.high), abs=0.02)
    assert result.p == pytest.approx(stats.ttest_rel(first, second).pvalue, abs=0.02)


def test_paired_bootstrap_of_equal_systems_is_not_significant():
    values = np.random.default_rng(1).normal(size=30)
    assert paired_bootstrap(values, values).p == 1.0
    noise = np.random.default_rng(2).normal(size=(2, 60))
    assert paired_bootstrap(values.repeat(2) + noise[0], values.repeat(2) + noise[1]).p > 0.05


def test_paired_bootstrap_of_a_clear_difference_is_significant_and_repeats():
    first = np.arange(20.0)
    assert paired_bootstrap(first + 1 + first / 100, first).p < 0.001
    assert paired_bootstrap(first + 1, first) == paired_bootstrap(first + 1, first)


def test_paired_bootstrap_of_few_pairs_has_no_p_value():
    few = [1.0] * (MIN_PAIRS - 1)
    assert paired_bootstrap(few, few).p is None
    with pytest.raises(ValueError, match="same length"):
        paired_bootstrap([], [])
    with pytest.raises(ValueError):
        paired_bootstrap([1.0, 2.0], [1.0])


def test_correct_holm_equals_a_known_example():
    assert correct_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert correct_holm([]) == [] and correct_holm([0.7, 0.9]) == [1.0, 1.0]


@pytest.mark.parametrize(("wins", "losses"), [(0, 5), (8, 2), (7, 7), (30, 12)])
def test_sign_test_and_interval_agree_with_scipy(wins, losses):
    expected = stats.binomtest(wins, wins + losses)
    assert sign_test(wins, losses) == pytest.approx(expected.pvalue, rel=1e-9)
    interval = expected.proportion_ci(method="wilson")
    assert wilson_interval(wins, wins + losses) == pytest.approx((interval.low, interval.high), abs=1e-6)
