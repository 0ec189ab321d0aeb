"""Fréchet distance of two Gaussians over a network's features: FID for pictures, FVD for videos."""

import numpy as np


class Gaussian:
    """Mean and covariance of features (D) that arrive in batches, in float64; memory does not grow with their
    number.
    """

    def __init__(self, size: int):
        self.count = 0
        self.mean = np.zeros(size)
        self._scatter = np.zeros((size, size))

    def add(self, features: np.ndarray) -> None:
        """Take in features B×D. Raises ValueError where one is not finite."""
        features = np.asarray(features, np.float64)
        if not np.isfinite(features).all():
            raise ValueError("features that are not finite have no distribution")
        if not len(features):
            return
        mean = features.mean(0)
        centerd = features - mean
        total = self.count + len(features)
        shift = mean - self.mean
        # Chan et al.: two parts' scatters, and what lies between their means.
        self._scatter += centerd.T @ centerd + np.outer(shift, shift) * (self.count * len(features) / total)
        self.mean = self.mean + shift * (len(features) / total)
        self.count = total

    @property
    def covariance(self) -> np.ndarray:
        """D×D, unbiased. Raises ValueError with fewer than two features."""
        if self.count < 2:
            raise ValueError("a covariance needs two features at least")
        return self._scatter / (self.count - 1)


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """Fréchet distance (Dowson and Landau 1982): |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½), never below 0.

    The trace of the root comes from the eigenvalues of √C1 C2 √C1, which is symmetric: no complex residues.
    """
    c1, c2 = first.covariance, second.covariance
    values, vectors = np.linalg.eigh(c1)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    between = np.linalg.eigvalsh(root @ c2 @ root)
    shift = first.mean - second.mean
    distance = shift @ shift + np.trace(c1) + np.trace(c2) - 2 * np.sqrt(np.clip(between, 0, None)).sum()
    return float(max(distance, 0.0))
