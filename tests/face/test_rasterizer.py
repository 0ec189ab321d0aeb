"""The rasterizer: hidden surfaces, perspective interpolation, complete coverage."""

import numpy as np
import pytest

from mimaface_cli.face.rasterizer import interpolate, mark_jumps, rasterize, rasterize_positions

QUAD = np.array([[0, 1, 2], [0, 2, 3]])


def quad_corners(left, top, right, bottom):
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)


@pytest.mark.parametrize("nearer_first", [True, False])
def test_nearer_surface_hides_the_farther_one(nearer_first):
    xy = np.concatenate([quad_corners(1, 1, 7, 7), quad_corners(4, 4, 10, 10)])
    depth = np.repeat([2.0, 3.0], 4)
    near, far = QUAD, QUAD + 4
    triangles = np.concatenate([near, far] if nearer_first else [far, near])
    index, _, z = rasterize(xy, depth, triangles, 12, 12)
    expected = {0, 1} if nearer_first else {2, 3}
    assert set(np.unique(index[1:7, 1:7])) == expected
    assert np.allclose(z[1:7, 1:7], 2) and np.allclose(z[7:10, 4:10], 3)
    assert (index[0] == -1).all() and np.isinf(z[0]).all()


def test_intersecting_surfaces_swap_at_their_intersection():
    xy = np.tile(quad_corners(0, 0, 10, 10), (2, 1))
    depth = np.array([1.0, 3.0, 3.0, 1.0, 2.0, 2.0, 2.0, 2.0])  # the first quad recedes to the right
    index, _, _ = rasterize(xy, depth, np.concatenate([QUAD, QUAD + 4]), 10, 10)
    is_first = index < 2
    # 1/z is linear in screen space: from 1/1 to 1/3 it passes 1/2 at three quarters.
    assert is_first[:, :7].all() and not is_first[:, 8:].any()


def test_interpolate_is_perspective_correct():
    """On a floor in perspective, each pixel shows the point that its ray hits."""
    focal, height, size = 60.0, 1.0, 64
    z = np.array([2.0, 2.0, 12.0, 12.0])
    x = np.array([-4.0, 4.0, 4.0, -4.0])
    xy = np.stack([size / 2 + focal * x / z, size / 2 + focal * height / z], -1)
    index, weights, depth = rasterize(xy, z, QUAD, size, size)
    positions = interpolate(index, weights, QUAD, np.stack([x, z], -1))
    rows, columns = np.nonzero(index >= 0)
    assert len(rows) > 500
    hit_z = focal * height / (rows + 0.5 - size / 2)
    hit_x = (columns + 0.5 - size / 2) * hit_z / focal
    assert np.allclose(positions[rows, columns], np.stack([hit_x, hit_z], -1), atol=1e-4)
    assert np.allclose(depth[rows, columns], hit_z, atol=1e-4)


def test_rasterized_mesh_has_no_cracks_between_triangles():
    rng = np.random.default_rng(0)
    count, size = 24, 97
    grid = np.stack(np.meshgrid(np.linspace(-3, size + 3, count), np.linspace(-3, size + 3, count)), -1)
    grid[1:-1, 1:-1] += rng.uniform(-1.4, 1.4, (count - 2, count - 2, 2))
    vertex = np.arange(count * count).reshape(count, count)
    a, b, c, d = (part.ravel() for part in (vertex[:-1, :-1], vertex[:-1, 1:], vertex[1:, 1:], vertex[1:, :-1]))
    triangles = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)])
    index, weights, _ = rasterize(grid.reshape(-1, 2), rng.uniform(1, 2, count * count), triangles, size, size)
    assert (index >= 0).all()
    assert np.allclose(weights.sum(-1), 1, atol=1e-5) and weights.min() > -1e-5


def test_triangle_covers_the_pixels_whose_centers_it_contains():
    triangle = np.array([[0, 1, 2]])
    around_center = np.array([[1.4, 1.4], [1.6, 1.4], [1.5, 1.7]])
    index, _, _ = rasterize(around_center, np.ones(3), triangle, 3, 3)
    assert index[1, 1] == 0 and (index >= 0).sum() == 1
    index, _, _ = rasterize(around_center + 0.3, np.ones(3), triangle, 3, 3)
    assert (index == -1).all()


def test_back_faces_are_rendered():
    corners = np.array([[0, 0], [8, 0], [0, 8]], float)
    front, _, _ = rasterize(corners, np.ones(3), np.array([[0, 1, 2]]), 8, 8)
    back, _, _ = rasterize(corners, np.ones(3), np.array([[0, 2, 1]]), 8, 8)
    assert np.array_equal(front, back) and (front == 0).sum() > 25


@pytest.mark.parametrize(
    ("xy", "depth"),
    [
        ([[0, 0], [9, 0], [0, 9]], [1.0, 1.0, -1.0]),
        ([[0, 0], [9, 0], [0, 9]], [1.0, 0.0, 1.0]),
        ([[0, 0], [4, 4], [9, 9]], [1.0, 1.0, 1.0]),
        ([[20, 20], [29, 20], [20, 29]], [1.0, 1.0, 1.0]),
        ([[-20, -20], [-9, -20], [-20, -9]], [1.0, 1.0, 1.0]),
    ],
    ids=["behind the camera", "at the camera", "degenerate", "right of the image", "left of the image"],
)
def test_invisible_triangles_are_not_rendered(xy, depth):
    index, _, z = rasterize(np.array(xy, float), np.array(depth), np.array([[0, 1, 2]]), 10, 10)
    assert (index == -1).all() and np.isinf(z).all()


def test_interpolate_fills_empty_pixels_with_the_background():
    index, weights, _ = rasterize(quad_corners(2, 2, 4, 4), np.ones(4), QUAD, 6, 6)
    on_number = interpolate(index, weights, QUAD, np.ones((4, 2)), background=-5.0)
    assert (on_number[index < 0] == -5).all() and np.allclose(on_number[index >= 0], 1)
    image = np.random.default_rng(0).random((6, 6, 2)).astype(np.float32)
    on_image = interpolate(index, weights, QUAD, np.ones((4, 2)), background=image)
    assert np.array_equal(on_image[index < 0], image[index < 0]) and np.allclose(on_image[index >= 0], 1)


def test_mark_jumps_marks_both_sides_of_a_step():
    field = np.zeros((5, 6, 2), np.float32)
    field[:, 3:] = 10
    mask = np.zeros((5, 6), np.uint8)
    assert mark_jumps(field, 3.0, mask) > 0
    assert np.array_equal(mask, np.tile(np.array([0, 0, 1, 1, 0, 0], np.uint8), (5, 1)))
    smooth_mask = np.zeros_like(mask)
    assert mark_jumps(np.full((5, 6, 2), 7, np.float32), 3.0, smooth_mask) == 0 and not smooth_mask.any()


def test_rasterize_positions_equals_rasterize_and_interpolate():
    rng = np.random.default_rng(0)
    xy, depth = rng.uniform(-5, 45, (30, 2)), rng.uniform(2, 9, 30)
    triangles = rng.permuted(np.tile(np.arange(30, dtype=np.int32), (40, 1)), axis=1)[:, :3].copy()
    positions = rng.uniform(0, 100, (30, 2))
    index, weights, _ = rasterize(xy, depth, triangles, 40, 32)
    face_index, interpolated = rasterize_positions(xy, depth, triangles, positions, 40, 32)
    assert (index == -1).any() and np.array_equal(face_index, index)
    expected = interpolate(index, weights, triangles, positions)
    assert np.abs(interpolated - expected)[index >= 0].max() < 1e-3
    assert (interpolated[index < 0] < -1000).all()
