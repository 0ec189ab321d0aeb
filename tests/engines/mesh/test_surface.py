"""The surface: subdivision of the face, and the sheet around it."""

import numpy as np
import pytest

from mimaface_cli.engines.mesh.surface import (
    FACE_RIM,
    SHEET_ANGLES,
    SHEET_RINGS,
    build_fine_face,
    build_surrounding_sheet,
    intersect_box,
    intersect_ring,
    subdivide_triangles,
)
from mimaface_cli.face import camera, face478, topology

POSE = np.array([0.1, -0.2, 0.05, 0.1, 0.05, 0.3])
FRAME = np.array([-200.0, -150.0, 500.0, 420.0])


@pytest.fixture(scope="module")
def model():
    return face478.load()


@pytest.fixture(scope="module")
def fine(model):
    return build_fine_face(model.face.tobytes())


@pytest.fixture(scope="module")
def rim(model):
    """Return the oval of a posed face: crop pixels and camera space."""
    placed = camera.apply_pose(model.mean, POSE)[topology.OVAL]
    return camera.project(placed)[0], placed


@pytest.fixture(scope="module")
def sheet(rim):
    return build_surrounding_sheet(*rim, POSE, FRAME)


def count_edges(triangles: np.ndarray) -> dict[frozenset, int]:
    count: dict[frozenset, int] = {}
    for corners in triangles.tolist():
        for k in range(3):
            edge = frozenset((corners[k], corners[(k + 1) % 3]))
            count[edge] = count.get(edge, 0) + 1
    return count


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


def test_sheet_at_rest_projects_onto_its_texture(sheet):
    placed = camera.apply_pose(sheet.head, POSE)
    assert np.allclose(camera.project(placed)[0], sheet.texture, atol=1e-6)


def test_sheet_follows_the_head_nearby_and_is_still_far_away(sheet):
    weight = sheet.weight.reshape(len(SHEET_RINGS), SHEET_ANGLES)
    stretch = sheet.stretch.reshape(len(SHEET_RINGS), SHEET_ANGLES)
    for values in (weight, stretch):
        assert values.min() >= 0 and values.max() <= 1
        assert (np.diff(values, axis=0) <= 1e-12).all()  # never more on the way out
        assert np.allclose(values[: FACE_RIM + 1], 1)
    assert np.allclose(weight[-1], 0) and np.allclose(stretch[-1], 0)
    height = sheet.texture.reshape(len(SHEET_RINGS), SHEET_ANGLES, 2)[-1, :, 1]
    ring = int(np.searchsorted(SHEET_RINGS, 1.3))
    assert weight[ring, height.argmin()] > 0.99  # hair follows the head
    assert weight[ring, height.argmax()] < 0.9  # the neck bends


def test_sheet_does_not_fold(sheet, rim):
    grid = sheet.texture.reshape(len(SHEET_RINGS), SHEET_ANGLES, 2)
    distance = np.linalg.norm(grid - rim[0].mean(0), axis=2)
    assert (np.diff(distance, axis=0) > 0).all()
    a, b, c = (sheet.texture[sheet.triangles[:, k]] for k in range(3))
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert (area > 0).all() or (area < 0).all()


def test_sheet_is_still_at_the_image_edge(rim):
    oval, placed = rim
    center, reach = oval.mean(0), np.abs(oval - oval.mean(0)).max(0)
    tight = np.concatenate([center - 1.6 * reach, center + 1.6 * reach])
    sheet = build_surrounding_sheet(oval, placed, POSE, tight)
    outside = (sheet.texture < tight[:2] - 1e-6).any(1) | (sheet.texture > tight[2:] + 1e-6).any(1)
    assert outside.any() and sheet.weight[outside].max() < 0.05


def test_sheet_rim_lies_on_the_oval(sheet, rim):
    oval, _ = rim
    rim_points = (1 - sheet.share)[:, None] * oval[sheet.rim[:, 0]] + sheet.share[:, None] * oval[sheet.rim[:, 1]]
    assert np.allclose(rim_points, sheet.texture.reshape(len(SHEET_RINGS), SHEET_ANGLES, 2)[FACE_RIM], atol=1e-6)


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


def test_intersect_box_returns_distances_to_the_sides():
    directions = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1], [np.sqrt(0.5), np.sqrt(0.5)]])
    reach = intersect_box(np.array([2.0, 3.0]), directions, np.array([0.0, 0.0, 10.0, 5.0]))
    assert np.allclose(reach, [8, 2, 2, 3, 2 * np.sqrt(2)])
