"""The Fréchet distance where the answer is known, and streaming against numpy."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from mimaface_cli.evaluation.functional.distribution import Gaussian, frechet_distance


def gaussian(features: np.ndarray) -> Gaussian:
    out = Gaussian(features.shape[1])
    out.add(features)
    return out


def exactly(mean: np.ndarray, deviations: np.ndarray) -> Gaussian:
    """A Gaussian of exactly that mean and those deviations along the axes: two points on each axis."""
    size = len(mean)
    points = np.concatenate([np.diag(deviations), -np.diag(deviations)]) * np.sqrt((2 * size - 1) / 2)
    return gaussian(points + mean)


def test_it_is_zero_from_itself_and_the_square_of_a_shift():
    features = np.random.default_rng(0).normal(size=(500, 12))
    shift = np.arange(12.0)
    assert frechet_distance(gaussian(features), gaussian(features)) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(gaussian(features), gaussian(features + shift)) == pytest.approx(shift @ shift, rel=1e-9)


def test_two_axis_parallel_gaussians():
    first, second = exactly(np.zeros(4), np.array([1.0, 2, 3, 4])), exactly(np.ones(4), np.array([2.0, 2, 1, 5]))
    assert np.allclose(first.covariance, np.diag([1, 4, 9, 16]))
    assert frechet_distance(first, second) == pytest.approx(4 + 1 + 0 + 4 + 1)  # |m|² + sum of (s1 - s2)²


def test_it_agrees_with_the_matrix_root_that_others_take():
    draw = np.random.default_rng(1)
    first, second = (draw.normal(size=(400, 30)) @ draw.normal(size=(30, 30)) for _ in range(2))
    a, b = gaussian(first), gaussian(second)
    root = sqrtm(a.covariance @ b.covariance).real
    wanted = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance + b.covariance - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-6)


def test_fewer_features_than_dimensions_stay_finite():
    first, second = np.random.default_rng(2).normal(size=(2, 5, 64))
    distance = frechet_distance(gaussian(first), gaussian(second))
    assert np.isfinite(distance) and distance > 0


def test_batches_give_what_all_at_once_gives():
    features = 1e4 + np.random.default_rng(3).normal(size=(101, 7))  # a far mean would eat naive sums
    streamed = Gaussian(7)
    for start in range(0, 101, 9):
        streamed.add(features[start : start + 9].astype(np.float32).astype(np.float64))
    streamed.add(np.zeros((0, 7)))
    kept = features.astype(np.float32).astype(np.float64)
    assert streamed.count == 101
    assert np.allclose(streamed.mean, kept.mean(0)) and np.allclose(streamed.covariance, np.cov(kept.T))


def test_what_is_not_finite_or_too_few_is_refused():
    with pytest.raises(ValueError, match="finite"):
        gaussian(np.array([[0.0, np.nan]]))
    with pytest.raises(ValueError, match="two"):
        gaussian(np.zeros((1, 2))).covariance
