"""Fréchet distance of two Gaussians of network features, for FID and FVD."""

import numpy as np


class Gaussian:
    """Mean and covariance of features that arrive in batches.

    Memory does not grow with their number.

    Args:
        size: Dimension D of a feature. Sums are float64.
    """

    def __init__(self, size: int) -> None:
        self.count = 0
        self.mean = np.zeros(size)
        self._scatter = np.zeros((size, size))

    def add(self, features: np.ndarray) -> None:
        """Add features (B, D). Raises ValueError if one is not finite."""
        features = np.asarray(features, np.float64)
        if not np.isfinite(features).all():
            raise ValueError("features must be finite")
        if not len(features):
            return
        mean = features.mean(0)
        centered = features - mean
        total = self.count + len(features)
        shift = mean - self.mean
        # Chan et al. 1983: the scatter of the union is the sum of both scatters and a term for the shift of the mean.
        self._scatter += centered.T @ centered + np.outer(shift, shift) * (self.count * len(features) / total)
        self.mean = self.mean + shift * (len(features) / total)
        self.count = total

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased covariance (D, D). Raises ValueError with fewer than two features."""
        if self.count < 2:
            raise ValueError("a covariance needs at least two features")
        return self._scatter / (self.count - 1)


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """Return |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½), at least 0.

    The trace of the root comes from the eigenvalues of √C1 C2 √C1, which is symmetric and has no complex residues.

    Source: Dowson and Landau 1982, "The Fréchet distance between multivariate normal distributions".
    """
    c1, c2 = first.covariance, second.covariance
    values, vectors = np.linalg.eigh(c1)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    product_values = np.linalg.eigvalsh(root @ c2 @ root)
    shift = first.mean - second.mean
    trace_of_root = np.sqrt(np.clip(product_values, 0, None)).sum()
    distance = shift @ shift + np.trace(c1) + np.trace(c2) - 2 * trace_of_root
    return float(max(distance, 0.0))
