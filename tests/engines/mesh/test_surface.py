"""Subdivision, and the sheet around the face."""

import numpy as np
import pytest

from mimaface_cli.engines.mesh.prepared_portrait import triangulate_openings
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
    """The oval of a posed face: crop pixels and camera space."""
    placed = camera.apply_pose(model.mean, POSE)[topology.OVAL]
    return camera.project(placed)[0], placed


@pytest.fixture(scope="module")
def sheet(rim):
    return build_surrounding_sheet(*rim, POSE, FRAME)


def edges_of(triangles: np.ndarray) -> dict[frozenset, int]:
    count: dict[frozenset, int] = {}
    for corners in triangles.tolist():
        for k in range(3):
            edge = frozenset((corners[k], corners[(k + 1) % 3]))
            count[edge] = count.get(edge, 0) + 1
    return count


def test_each_triangle_becomes_four_over_the_same_surface(model, fine):
    before, after = edges_of(model.face), edges_of(fine.triangles)
    assert len(fine.triangles) == 4 * len(model.face)
    assert fine.matrix.shape == (478 + len(before), 478)
    assert set(after.values()) == {1, 2}
    rim_before, rim_after = (sum(count == 1 for count in edges.values()) for edges in (before, after))
    assert rim_after == 2 * rim_before


def test_new_vertices_are_averages_so_any_affine_motion_carries_over(model, fine):
    assert np.allclose(np.asarray(fine.matrix.sum(1)).ravel(), 1)
    assert fine.matrix.data.min() >= 0
    turn, shift = np.random.default_rng(0).normal(size=(3, 3)), np.array([1.0, -2.0, 3.0])
    assert np.allclose(fine.matrix @ (model.mean @ turn.T + shift), (fine.matrix @ model.mean) @ turn.T + shift)


def test_subdivision_keeps_the_face_where_it_is(model, fine):
    used = np.unique(model.face)  # irises have no skin
    moved = np.linalg.norm((fine.matrix @ model.mean)[used] - model.mean[used], axis=1)
    assert moved.max() < 0.035 and moved.mean() < 0.01  # model units: 3.6 mm, 1 mm
    alone = np.setdiff1d(np.arange(478), used)
    assert np.allclose((fine.matrix @ model.mean)[alone], model.mean[alone])


def test_a_flat_sheet_stays_flat_and_a_closed_one_shrinks():
    grid = np.stack([*np.meshgrid(np.arange(5.0), np.arange(5.0)), np.zeros((5, 5))], -1).reshape(-1, 3)
    at = np.arange(25).reshape(5, 5)
    a, b, c, d = (part.ravel() for part in (at[:-1, :-1], at[:-1, 1:], at[1:, 1:], at[1:, :-1]))
    triangles = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)])
    finer, matrix, _ = subdivide_triangles(triangles, 25)
    made = matrix @ grid
    assert np.allclose(made[:, 2], 0) and made[:, :2].min() >= 0 and made[:, :2].max() <= 4
    x, y = (made[finer][:, :, axis] for axis in (0, 1))
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    assert (area > 0).all() or (area < 0).all()  # nothing folds over
    tetrahedron = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.0]])
    _, matrix, _ = subdivide_triangles(tetrahedron, 4)
    assert np.linalg.norm(matrix @ corners, axis=1).max() < np.sqrt(3)


def test_rings_run_through_old_vertices_and_the_middles_of_edges(model, fine):
    for name, old in (("oval", topology.OVAL), ("mouth", topology.INNER_LIPS), ("left_eye", topology.LEFT_EYE)):
        ring = fine.rings[name]
        assert np.array_equal(ring[::2], old)
        middle = (model.mean[old] + model.mean[np.roll(old, -1)]) / 2
        assert np.allclose((fine.matrix @ model.mean)[ring[1::2]], middle)
    rims = {edge for edge, count in edges_of(fine.triangles).items() if count == 1}
    around = {
        frozenset(pair) for ring in fine.rings.values() for pair in zip(ring.tolist(), np.roll(ring, -1).tolist())
    }
    assert rims == around


def test_openings_close_the_surface_but_for_its_outline(fine):
    closed = edges_of(np.concatenate([fine.triangles, triangulate_openings(fine)]))
    oval = fine.rings["oval"]
    outline = {frozenset(pair) for pair in zip(oval.tolist(), np.roll(oval, -1).tolist())}
    assert {edge for edge, count in closed.items() if count == 1} == outline


def test_the_sheet_at_rest_lies_where_its_picture_does(sheet):
    placed = camera.apply_pose(sheet.head, POSE)
    assert np.allclose(camera.project(placed)[0], sheet.texture, atol=1e-6)


def test_the_sheet_follows_the_head_near_it_and_rests_far_from_it(sheet):
    weight = sheet.weight.reshape(len(SHEET_RINGS), SHEET_ANGLES)
    stretch = sheet.stretch.reshape(len(SHEET_RINGS), SHEET_ANGLES)
    for values in (weight, stretch):
        assert values.min() >= 0 and values.max() <= 1
        assert (np.diff(values, axis=0) <= 1e-12).all()  # less and less on the way out
        assert np.allclose(values[: FACE_RIM + 1], 1)
    assert np.allclose(weight[-1], 0) and np.allclose(stretch[-1], 0)
    height = sheet.texture.reshape(len(SHEET_RINGS), SHEET_ANGLES, 2)[-1, :, 1]
    ring = int(np.searchsorted(SHEET_RINGS, 1.3))
    assert weight[ring, height.argmin()] > 0.99 > 0.9 > weight[ring, height.argmax()]  # hair goes along, the neck bends


def test_the_sheet_does_not_fold(sheet, rim):
    grid = sheet.texture.reshape(len(SHEET_RINGS), SHEET_ANGLES, 2)
    distance = np.linalg.norm(grid - rim[0].mean(0), axis=2)
    assert (np.diff(distance, axis=0) > 0).all()
    a, b, c = (sheet.texture[sheet.triangles[:, k]] for k in range(3))
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert (area > 0).all() or (area < 0).all()


def test_what_touches_the_pictures_edge_stays(rim):
    oval, placed = rim
    center, reach = oval.mean(0), np.abs(oval - oval.mean(0)).max(0)
    tight = np.concatenate([center - 1.6 * reach, center + 1.6 * reach])
    sheet = build_surrounding_sheet(oval, placed, POSE, tight)
    outside = (sheet.texture < tight[:2] - 1e-6).any(1) | (sheet.texture > tight[2:] + 1e-6).any(1)
    assert outside.any() and sheet.weight[outside].max() < 0.05


def test_the_rim_of_the_sheet_is_the_oval(sheet, rim):
    oval, _ = rim
    seen = (1 - sheet.share)[:, None] * oval[sheet.rim[:, 0]] + sheet.share[:, None] * oval[sheet.rim[:, 1]]
    assert np.allclose(seen, sheet.texture.reshape(len(SHEET_RINGS), SHEET_ANGLES, 2)[FACE_RIM], atol=1e-6)


@pytest.mark.parametrize("corners", [3, 4, 12, 100])
def test_rays_meet_a_ring_around_their_center(corners):
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False) + 0.1
    center = np.array([5.0, -3.0])
    ring = center + 7 * np.stack([np.cos(angles), np.sin(angles)], -1)
    directions = np.stack([np.cos(np.arange(60) / 9), np.sin(np.arange(60) / 9)], -1)
    radius, edge, share = intersect_ring(center, directions, ring)
    met = (1 - share)[:, None] * ring[edge[:, 0]] + share[:, None] * ring[edge[:, 1]]
    assert np.allclose(center + radius[:, None] * directions, met, atol=1e-5)
    assert radius.min() >= 7 * np.cos(np.pi / corners) - 1e-6 and radius.max() <= 7 + 1e-6


def test_rays_of_a_center_outside_still_have_an_end():
    ring = np.array([[10.0, 0], [12, 0], [12, 2], [10, 2]])
    directions = np.stack([np.cos(np.arange(8)), np.sin(np.arange(8))], -1)
    radius, edge, share = intersect_ring(np.zeros(2), directions, ring)
    assert (radius > 0).all() and np.isfinite(radius).all() and ((share >= 0) & (share <= 1)).all()
    assert edge.min() >= 0 and edge.max() < 4


def test_rays_meet_the_sides_of_a_box():
    directions = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1], [np.sqrt(0.5), np.sqrt(0.5)]])
    reach = intersect_box(np.array([2.0, 3.0]), directions, np.array([0.0, 0.0, 10.0, 5.0]))
    assert np.allclose(reach, [8, 2, 2, 3, 2 * np.sqrt(2)])
