"""Closed curves and polar grids."""

import numpy as np
import pytest

from mimaface_cli.engines.mesh.polar_grid import (
    blur_circular,
    grid_triangles,
    intersect_ring,
    median_circular,
)


@pytest.mark.parametrize("corners", [3, 4, 12, 100])
def test_intersect_ring_hits_a_ring_around_the_center(corners):
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False) + 0.1
    center = np.array([5.0, -3.0])
    ring = center + 7 * np.stack([np.cos(angles), np.sin(angles)], -1)
    directions = np.stack([np.cos(np.arange(60) / 9), np.sin(np.arange(60) / 9)], -1)
    radius, edge, share = intersect_ring(center, directions, ring)
    met = (1 - share)[:, None] * ring[edge[:, 0]] + share[:, None] * ring[edge[:, 1]]
    assert np.allclose(center + radius[:, None] * directions, met, atol=1e-5)
    assert radius.min() >= 7 * np.cos(np.pi / corners) - 1e-6 and radius.max() <= 7 + 1e-6


def test_intersect_ring_from_outside_returns_finite_corners():
    ring = np.array([[10.0, 0], [12, 0], [12, 2], [10, 2]])
    directions = np.stack([np.cos(np.arange(8)), np.sin(np.arange(8))], -1)
    radius, edge, share = intersect_ring(np.zeros(2), directions, ring)
    assert (radius > 0).all() and np.isfinite(radius).all() and ((share >= 0) & (share <= 1)).all()
    assert edge.min() >= 0 and edge.max() < 4


def test_grid_triangles_cover_a_ring_once():
    triangles = grid_triangles(3, 8)
    angles = np.arange(8) / 8 * 2 * np.pi
    points = (np.array([1.0, 2, 3])[:, None, None] * np.stack([np.cos(angles), np.sin(angles)], -1)).reshape(-1, 2)
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    area = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
    octagon = 4 * np.sin(np.pi / 4)  # area of a regular octagon of radius 1
    assert (area > 0).all() or (area < 0).all()
    assert np.abs(area).sum() == pytest.approx((9 - 1) * octagon)


def test_blur_circular_wraps_around_and_keeps_the_mean():
    values = np.zeros(24)
    values[0] = 1.0
    blurred = blur_circular(values, 1.5)
    assert blurred.sum() == pytest.approx(1) and blurred[1] == pytest.approx(blurred[-1]) and blurred[1] > 0.1


def test_median_circular_removes_single_peaks_at_the_seam():
    values = np.ones(24)
    values[0] = 9.0
    assert np.array_equal(median_circular(values, 5), np.ones(24))
