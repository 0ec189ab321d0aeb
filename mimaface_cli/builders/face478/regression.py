"""Weighted regression and principal components of face samples."""

import numpy as np


def solve_ridge(predictors: np.ndarray, values: np.ndarray, weight: np.ndarray, ridge: float) -> np.ndarray:
    """Solve weighted ridge regression.

    Args:
        predictors: N×P.
        values: N×D.
        weight: N sample weights.
        ridge: Penalty, relative to the sum of the weights.

    Returns:
        P×D coefficients.
    """
    weighted = predictors * weight[:, None]
    gram = predictors.T @ weighted + ridge * weight.sum() * np.eye(predictors.shape[1])
    return np.linalg.solve(gram, weighted.T @ values)


def fit_logistic(
    features: np.ndarray, target: np.ndarray, weight: np.ndarray, ridge: float, rounds: int = 14
) -> np.ndarray:
    """Fit weighted ridge logistic regression by damped Newton steps.

    Args:
        features: N×F; the last feature is the constant 1, which is hardly penalized.
        target: N targets, 0..1.
        weight: N sample weights.
        ridge: Penalty.
        rounds: Number of Newton steps.

    Returns:
        F coefficients.
    """
    mean = float(np.clip(np.average(target, weights=weight), 1e-3, 1 - 1e-3))
    theta = np.zeros(features.shape[1])
    theta[-1] = np.log(mean / (1 - mean))
    penalty = np.full(len(theta), ridge)
    penalty[-1] = 1e-9
    for _ in range(rounds):
        prediction = 1 / (1 + np.exp(-np.clip(features @ theta, -12, 12)))
        gradient = features.T @ (weight * (prediction - target)) + penalty * theta
        curvature = weight * prediction * (1 - prediction) + 1e-6
        step = np.linalg.solve((features * curvature[:, None]).T @ features + np.diag(penalty), gradient)
        theta -= step * min(1.0, 8.0 / max(float(np.abs(step).max()), 1e-9))
    return theta


def compute_covariance(samples: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the weighted D×D covariance of N×D centered samples."""
    return samples.T @ (samples * (weight / weight.sum())[:, None])


def compute_principal_columns(covariance: np.ndarray, count: int) -> np.ndarray:
    """Return the leading directions of a 3V×3V covariance, scaled to one standard deviation: V×3×count."""
    variance, directions = np.linalg.eigh(covariance)
    columns = directions[:, : -count - 1 : -1] * np.sqrt(np.clip(variance[: -count - 1 : -1], 0, None))
    # The sign of a direction is arbitrary: make its largest component positive.
    columns = columns * np.sign(columns[np.abs(columns).argmax(0), np.arange(count)] + 1e-300)
    return columns.reshape(-1, 3, count)


def apply_columns(columns: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Multiply V×3×K columns with N×K scores to N×V×3 displacements."""
    return (scores @ columns.reshape(-1, columns.shape[2]).T).reshape(-1, *columns.shape[:2])


def center_within(values: np.ndarray, subject: np.ndarray) -> np.ndarray:
    """Subtract from each row the mean of its subject's rows."""
    centered = np.empty_like(values)
    for number in np.unique(subject):
        rows = subject == number
        centered[rows] = values[rows] - values[rows].mean(0)
    return centered


def project_out(values: np.ndarray, nuisance: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Remove the weighted linear dependence of N×… values on N×K nuisance variables."""
    flat, root = values.reshape(len(values), -1), np.sqrt(weight)[:, None]
    slope = np.linalg.lstsq(nuisance * root, flat * root, rcond=None)[0]
    return (flat - nuisance @ slope).reshape(values.shape)


def remove_dependence(points: np.ndarray, regressors: np.ndarray) -> np.ndarray:
    """Remove the linear dependence of N×V×3 points on N×K regressors and keep the mean."""
    regressors = regressors - regressors.mean(0)
    flat = (points - points.mean(0)).reshape(len(points), -1)
    slope = np.linalg.lstsq(regressors, flat, rcond=None)[0]
    return points - (regressors @ slope).reshape(points.shape)


def correlate_weighted(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> float:
    """Return Pearson's correlation of N values under N weights."""
    a, b = a - np.average(a, weights=weight), b - np.average(b, weights=weight)
    return float((weight * a * b).sum() / np.sqrt((weight * a * a).sum() * (weight * b * b).sum() + 1e-30))
