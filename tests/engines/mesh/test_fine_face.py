"""Subdivision of the face."""

import numpy as np
import pytest

from mimaface_cli.engines.mesh.fine_face import build_fine_face, subdivide_triangles
from mimaface_cli.face import topology
from tests.face.mesh_edges import count_edges


@pytest.fixture(scope="module")
def fine(model):
    return build_fine_face(model.face.tobytes())


def test_subdivision_turns_each_triangle_into_four(model, fine):
    before, after = count_edges(model.face), count_edges(fine.triangles)
    assert len(fine.triangles) == 4 * len(model.face)
    assert fine.matrix.shape == (478 + len(before), 478)
    assert set(after.values()) == {1, 2}
    rim_before, rim_after = (sum(count == 1 for count in edges.values()) for edges in (before, after))
    assert rim_after == 2 * rim_before


def test_subdivision_commutes_with_affine_motion(model, fine):
    assert np.allclose(np.asarray(fine.matrix.sum(1)).ravel(), 1)
    assert fine.matrix.data.min() >= 0
    turn, shift = np.random.default_rng(0).normal(size=(3, 3)), np.array([1.0, -2.0, 3.0])
    assert np.allclose(fine.matrix @ (model.mean @ turn.T + shift), (fine.matrix @ model.mean) @ turn.T + shift)


def test_subdivision_keeps_the_face_in_place(model, fine):
    used = np.unique(model.face)  # irises have no skin
    moved = np.linalg.norm((fine.matrix @ model.mean)[used] - model.mean[used], axis=1)
    assert moved.max() < 0.035 and moved.mean() < 0.01  # model units: 3.6 mm, 1 mm
    alone = np.setdiff1d(np.arange(478), used)
    assert np.allclose((fine.matrix @ model.mean)[alone], model.mean[alone])


def test_subdivision_keeps_flat_surfaces_flat_and_shrinks_closed_ones():
    grid = np.stack([*np.meshgrid(np.arange(5.0), np.arange(5.0)), np.zeros((5, 5))], -1).reshape(-1, 3)
    index = np.arange(25).reshape(5, 5)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    triangles = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)])
    finer, matrix, _ = subdivide_triangles(triangles, 25)
    refined = matrix @ grid
    assert np.allclose(refined[:, 2], 0) and refined[:, :2].min() >= 0 and refined[:, :2].max() <= 4
    x, y = (refined[finer][:, :, axis] for axis in (0, 1))
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    assert (area > 0).all() or (area < 0).all()  # nothing folds over
    tetrahedron = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.0]])
    _, matrix, _ = subdivide_triangles(tetrahedron, 4)
    assert np.linalg.norm(matrix @ corners, axis=1).max() < np.sqrt(3)


def test_fine_rings_alternate_old_vertices_and_edge_middles(model, fine):
    for name, old in (("oval", topology.OVAL), ("mouth", topology.INNER_LIPS), ("left_eye", topology.LEFT_EYE)):
        ring = fine.rings[name]
        assert np.array_equal(ring[::2], old)
        middle = (model.mean[old] + model.mean[np.roll(old, -1)]) / 2
        assert np.allclose((fine.matrix @ model.mean)[ring[1::2]], middle)
    rims = {edge for edge, count in count_edges(fine.triangles).items() if count == 1}
    around = {
        frozenset(pair)
        for ring in fine.rings.values()
        for pair in zip(ring.tolist(), np.roll(ring, -1).tolist(), strict=True)
    }
    assert rims == around
