"""Prepared portraits: lid curves, and the surface without holes."""

import numpy as np
import pytest

from mimaface_cli.engines.mesh.fine_face import build_fine_face
from mimaface_cli.engines.mesh.head_geometry import triangulate_openings
from mimaface_cli.engines.mesh.prepared_portrait import fit_lid_curve
from mimaface_cli.face import face478
from tests.face.mesh_edges import count_edges


def test_openings_close_the_surface_except_its_outline():
    fine = build_fine_face(face478.load().face.tobytes())
    closed = count_edges(np.concatenate([fine.triangles, triangulate_openings(fine)]))
    oval = fine.rings["oval"]
    outline = {frozenset(pair) for pair in zip(oval.tolist(), np.roll(oval, -1).tolist(), strict=True)}
    assert {edge for edge, count in closed.items() if count == 1} == outline


@pytest.mark.parametrize("openness", [0.0, 0.05, 0.2, 0.34, 0.36, 0.8, 1.2])
def test_lid_curve_reproduces_the_photo_and_opens_narrow_eyes(openness):
    knots, heights = fit_lid_curve(openness, 0.03, 0.08)
    photo_height = np.interp(openness, knots, heights)
    assert np.interp(0.0, knots, heights) == 0
    assert photo_height == pytest.approx(0.03, abs=1e-6) if openness > 0.12 else photo_height < 0.03
    assert (np.diff(knots) > 0).all() and (np.diff(heights) >= 0).all()
    assert np.interp(1.0, knots, heights) > 0.05 or openness > 0.5


def test_lid_curve_is_continuous_in_the_photos_openness():
    curves = [fit_lid_curve(openness, 0.1 * openness, 0.08) for openness in np.linspace(0.01, 1.4, 400)]
    heights = np.array([np.interp([0.1, 0.3, 0.6, 1.0], *curve) for curve in curves])
    assert np.abs(np.diff(heights, axis=0)).max() < 2e-3
