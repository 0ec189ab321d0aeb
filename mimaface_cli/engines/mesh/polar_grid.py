"""Closed curves and polar grids around a center."""

import numpy as np


def grid_triangles(rings: int, count: int) -> np.ndarray:
    """Return the triangles (T, 3) int32 of a closed polar grid, flattened ring by ring."""
    index = np.arange(rings * count).reshape(rings, count)
    inner, outer = index[:-1], index[1:]
    next_inner, next_outer = np.roll(inner, -1, 1), np.roll(outer, -1, 1)
    triangles = np.concatenate(
        [
            np.stack([inner, outer, next_outer], -1).reshape(-1, 3),
            np.stack([inner, next_outer, next_inner], -1).reshape(-1, 3),
        ]
    )
    return triangles.astype(np.int32)


def intersect_ring(
    center: np.ndarray, directions: np.ndarray, ring: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Intersect rays from a center with a closed polygon.

    A ray that misses (the polygon does not enclose the center) takes the corner nearest in angle.

    Args:
        center: (2,) origin of the rays.
        directions: (A, 2) unit vectors.
        ring: (K, 2) corners of the polygon.

    Returns:
        Distances (A,) from the center, the two corners (A, 2) of the edge, and the share (A,) of the second corner.
    """
    along = np.roll(ring, -1, 0) - ring
    offset = ring - center
    denominator = _cross(directions[:, None], along[None])
    safe = np.where(np.abs(denominator) < 1e-9, 1e-9, denominator)
    distance = _cross(offset[None], along[None]) / safe
    position = _cross(offset[None], directions[:, None]) / safe
    hit = (distance > 0) & (position >= -1e-6) & (position <= 1 + 1e-6) & (np.abs(denominator) >= 1e-9)
    reach = np.where(hit, distance, -1.0)
    edge = reach.argmax(1)
    rows = np.arange(len(directions))
    radius, share = reach[rows, edge], np.clip(position[rows, edge], 0, 1)
    missed = radius <= 0
    if missed.any():
        bearing = offset / np.linalg.norm(offset, axis=1, keepdims=True)
        edge[missed] = (directions[missed] @ bearing.T).argmax(1)
        share[missed] = 0.0
        radius[missed] = np.linalg.norm(offset[edge[missed]], axis=1)
    return radius, np.stack([edge, (edge + 1) % len(ring)], -1), share


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The cross product's third component of vectors in the plane."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def rim_points(oval: np.ndarray, rim: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return the points (A, 3) at shares (A,) of edges (A, 2) of an oval (K, 3)."""
    return (1 - share)[:, None] * oval[rim[:, 0]] + share[:, None] * oval[rim[:, 1]]


def blur_circular(values: np.ndarray, sigma: float) -> np.ndarray:
    """Blur a closed curve (A,) with a Gaussian, truncated at four standard deviations.

    Not by scipy.ndimage, which takes longer to import than a second of video takes to render.
    """
    shifts = np.arange(-round(4 * sigma), round(4 * sigma) + 1)
    weights = np.exp(-0.5 * (shifts / sigma) ** 2)
    weights = weights / weights.sum()
    blurred = np.zeros_like(values)
    for weight, shift in zip(weights, shifts, strict=True):
        blurred = blurred + weight * np.roll(values, shift)
    return blurred


def median_circular(values: np.ndarray, width: int) -> np.ndarray:
    """Return the running median of a closed curve (A,) over `width` neighbors, an odd number."""
    half = width // 2
    return np.median([np.roll(values, shift) for shift in range(-half, half + 1)], axis=0)
