"""Fréchet distances with known values, and streamed moments against NumPy."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from mimaface_cli.evaluation.functional.distribution import Gaussian, frechet_distance


def fit(features: np.ndarray) -> Gaussian:
    gaussian = Gaussian(features.shape[1])
    gaussian.add(features)
    return gaussian


def exact_gaussian(mean: np.ndarray, deviations: np.ndarray) -> Gaussian:
    """Return a Gaussian of exactly that mean and those deviations along the axes: two points on each axis."""
    size = len(mean)
    points = np.concatenate([np.diag(deviations), -np.diag(deviations)]) * np.sqrt((2 * size - 1) / 2)
    return fit(points + mean)


def test_frechet_distance_is_zero_to_itself_and_squared_for_a_shift():
    features = np.random.default_rng(0).normal(size=(500, 12))
    shift = np.arange(12.0)
    assert frechet_distance(fit(features), fit(features)) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(fit(features), fit(features + shift)) == pytest.approx(shift @ shift, rel=1e-9)


def test_frechet_distance_equals_the_formula_for_axis_parallel_gaussians():
    first = exact_gaussian(np.zeros(4), np.array([1.0, 2, 3, 4]))
    second = exact_gaussian(np.ones(4), np.array([2.0, 2, 1, 5]))
    assert np.allclose(first.covariance, np.diag([1, 4, 9, 16]))
    assert frechet_distance(first, second) == pytest.approx(4 + 1 + 0 + 4 + 1)  # |m|² + sum of (s1 - s2)²


def test_frechet_distance_agrees_with_scipy_matrix_root():
    rng = np.random.default_rng(1)
    first, second = (fit(rng.normal(size=(400, 30)) @ rng.normal(size=(30, 30))) for _ in range(2))
    root = sqrtm(first.covariance @ second.covariance).real
    expected = ((first.mean - second.mean) ** 2).sum() + np.trace(first.covariance + second.covariance - 2 * root)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_is_finite_with_fewer_features_than_dimensions():
    first, second = np.random.default_rng(2).normal(size=(2, 5, 64))
    distance = frechet_distance(fit(first), fit(second))
    assert np.isfinite(distance) and distance > 0


def test_gaussian_of_batches_equals_gaussian_of_all_features():
    features = 1e4 + np.random.default_rng(3).normal(size=(101, 7))  # a distant mean would break naive sums
    features = features.astype(np.float32).astype(np.float64)
    streamed = Gaussian(7)
    for start in range(0, 101, 9):
        streamed.add(features[start : start + 9])
    streamed.add(np.zeros((0, 7)))
    assert streamed.count == 101
    assert np.allclose(streamed.mean, features.mean(0)) and np.allclose(streamed.covariance, np.cov(features.T))


def test_gaussian_refuses_nan_and_single_features():
    with pytest.raises(ValueError, match="finite"):
        fit(np.array([[0.0, np.nan]]))
    with pytest.raises(ValueError, match="two"):
        fit(np.zeros((1, 2))).covariance  # noqa: B018  # the property raises
