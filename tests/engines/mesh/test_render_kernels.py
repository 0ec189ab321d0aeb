"""Inner loops of rendering, checked against plain sampling."""

import cv2
import numpy as np
import pytest

from mimaface_cli.engines.mesh.blend_kernels import (
    blend_texture,
    compose_opaque,
    fade_alpha,
    multiply_colors,
    underlay_texture,
)
from mimaface_cli.engines.mesh.render_kernels import blur_marked, sample_person
from mimaface_cli.face.rasterizer import NOWHERE, rasterize, rasterize_surface
from mimaface_cli.face.sampling import sample_image

SIZE = 64
CORNERS = np.array([[8.0, 8.0], [56.0, 10.0], [50.0, 54.0], [10.0, 50.0]])
TRIANGLES = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
EVERYWHERE = 0, 0, SIZE, SIZE
BLUR = np.array([0.25, 0.5, 0.25], np.float32)


@pytest.fixture
def raster():
    index, weights, _ = rasterize(CORNERS, np.ones(4), TRIANGLES, SIZE, SIZE)
    return index, weights, TRIANGLES


@pytest.fixture
def person():
    random = np.random.default_rng(1)
    return cv2.GaussianBlur(random.integers(0, 256, (SIZE, SIZE, 4), dtype=np.uint8), (0, 0), 1.5)


def sample(raster, texture, person):
    colors = np.full((SIZE, SIZE, 3), np.nan, np.float32)
    alpha, positions = np.full((SIZE, SIZE), np.nan, np.float32), np.full((SIZE, SIZE, 2), np.nan, np.float32)
    edge = np.zeros((SIZE, SIZE), np.uint8)
    jumps = sample_person(raster, texture.astype(np.float32), person, colors, alpha, positions, edge)
    assert jumps == edge.any() == 0
    return colors, alpha, positions


@pytest.mark.parametrize("shift", [(0.37, -0.81), (-30.3, 12.6), (25.5, 25.5)])
def test_person_is_sampled_as_opencv_samples_also_across_the_border(raster, person, shift):
    texture = CORNERS * 1.1 + shift
    colors, alpha, positions = sample(raster, texture, person)
    is_empty = raster[0] < 0
    assert 0.3 < is_empty.mean() < 0.7
    assert (positions[is_empty] == NOWHERE).all()
    assert not colors[is_empty].any()
    assert not alpha[is_empty].any()
    expected = sample_image(person[..., :3].astype(np.float32), positions, cv2.INTER_CUBIC, cv2.BORDER_REFLECT_101)
    # OpenCV rounds positions to 1/32 pixel.
    np.testing.assert_allclose(colors[~is_empty], np.clip(expected, 0, 255)[~is_empty], atol=3)
    assert np.abs(colors - expected)[~is_empty].mean() < 0.5
    opacity = sample_image(person[..., 3].astype(np.float32), positions, border=cv2.BORDER_REPLICATE)
    np.testing.assert_allclose(alpha[~is_empty] * 255, opacity[~is_empty], atol=2)


def test_unmoved_pixels_are_exactly_those_of_the_photo(raster, person):
    colors, alpha, _ = sample(raster, CORNERS - 0.5 + 1e-4, person)
    is_covered = raster[0] >= 0
    np.testing.assert_array_equal(colors[is_covered], person[..., :3][is_covered])
    np.testing.assert_allclose(alpha[is_covered] * 255, person[..., 3][is_covered], atol=1e-4)


def test_second_texture_is_blended_over_selected_triangles_alone(raster, person):
    colors, alpha = np.full((SIZE, SIZE, 3), 100, np.float32), np.full((SIZE, SIZE), 0.5, np.float32)
    attributes = np.column_stack([CORNERS - 0.5, np.full(4, 0.25), np.full((4, 3), 2.0)]).astype(np.float32)
    image = np.ascontiguousarray(person[..., :3])
    blend_texture(raster, np.array([True]), attributes, image, colors, alpha, True, EVERYWHERE)
    is_first = raster[0] == 0
    np.testing.assert_allclose(colors[is_first], 75 + 0.5 * image[is_first], atol=1e-2)
    np.testing.assert_allclose(alpha[is_first], 0.625, atol=1e-6)
    assert (colors[~is_first] == 100).all()
    assert (alpha[~is_first] == 0.5).all()


def test_light_and_fading_apply_where_the_surface_is(raster):
    colors, alpha = np.full((SIZE, SIZE, 3), 100, np.float32), np.ones((SIZE, SIZE), np.float32)
    alpha[:20] = 0
    multiply_colors(raster, np.full(4, 1.5, np.float32), colors, alpha)
    is_visible = (raster[0] >= 0) & (alpha > 0)
    np.testing.assert_allclose(colors[is_visible], 150, rtol=1e-5)
    assert (colors[~is_visible] == 100).all()
    alpha[:] = 1
    fade_alpha(raster, np.zeros(4, np.float32), np.array([False, True]), 0.5, alpha, EVERYWHERE)
    np.testing.assert_allclose(alpha[raster[0] == 1], 0.5, rtol=1e-5)
    assert (alpha[raster[0] != 1] == 1).all()


def test_hidden_surface_shows_only_where_nothing_opaque_lies_over_it(raster, person):
    colors, alpha = np.full((SIZE, SIZE, 3), 200, np.float32), np.zeros((SIZE, SIZE), np.float32)
    alpha[:, :32] = 1
    alpha[32:, 32:] = 0.5
    attributes = np.column_stack([CORNERS - 0.5, np.ones((4, 3))]).astype(np.float32)
    is_inner = np.zeros((SIZE, SIZE), np.uint8)
    underlay_texture(raster, attributes, person, is_inner, BLUR, 1.0, colors, alpha)
    assert (colors[:, :32] == 200).all()
    place = np.s_[20:30, 34:46]
    np.testing.assert_allclose(colors[place], person[place][..., :3], atol=1e-2)
    np.testing.assert_allclose(alpha[place], 1, rtol=1e-6)
    place = np.s_[34:44, 34:46]
    np.testing.assert_allclose(colors[place], 100 + 0.5 * person[place][..., :3].astype(float), atol=1e-2)


def test_composition_rounds_and_leaves_transparent_pixels_alone(person):
    frame = np.ascontiguousarray(person[..., :3])
    before = frame.copy()
    colors, alpha = np.full((SIZE, SIZE, 3), 300.6, np.float32), np.zeros((SIZE, SIZE), np.float32)
    alpha[:10], colors[:5] = 1, 20.6
    rim = np.full((SIZE, SIZE, 3), 4, np.int16)
    compose_opaque(frame, colors, alpha, rim, 0.0)
    assert (frame[:5] == 21).all()
    assert (frame[5:10] == 255).all()
    np.testing.assert_array_equal(frame[10:], before[10:])
    compose_opaque(frame, colors, np.zeros_like(alpha), rim, 0.5)
    np.testing.assert_array_equal(frame[10:], np.minimum(before[10:].astype(int) + 2, 255))


def test_skipped_pixels_stay_empty_and_do_not_change_the_others():
    skip = np.zeros((SIZE, SIZE), bool)
    skip[20:30, 15:40] = True
    index, weights, depth = rasterize(CORNERS, np.ones(4), TRIANGLES, SIZE, SIZE)
    skipped = rasterize(CORNERS, np.ones(4), TRIANGLES, SIZE, SIZE, skip)
    assert (index[skip] >= 0).all()
    np.testing.assert_array_equal(skipped[0], np.where(skip, -1, index))
    np.testing.assert_array_equal(skipped[1][~skip], weights[~skip])
    np.testing.assert_array_equal(skipped[2][~skip], depth[~skip])


def test_triangles_in_skipped_pixels_alone_are_not_rendered(raster):
    skip = np.ones((SIZE, SIZE), bool)
    assert (rasterize_surface(CORNERS, np.ones(4), TRIANGLES, SIZE, SIZE, skip)[0] == -1).all()
    index, weights = rasterize_surface(CORNERS, np.ones(4), TRIANGLES, SIZE, SIZE)
    np.testing.assert_array_equal(index, raster[0])
    np.testing.assert_array_equal(weights[index >= 0], raster[1][index >= 0])


def test_edge_of_a_hidden_surface_is_soft_and_its_inside_opaque(raster, person):
    attributes = np.column_stack([CORNERS - 0.5, np.ones((4, 3))]).astype(np.float32)
    alphas = []
    for is_inner in (np.zeros((SIZE, SIZE), np.uint8), cv2.erode((raster[0] >= 0).view(np.uint8), np.ones((3, 3)))):
        alpha = np.zeros((SIZE, SIZE), np.float32)
        underlay_texture(raster, attributes, person, is_inner, BLUR, 1.0, np.zeros((SIZE, SIZE, 3), np.float32), alpha)
        alphas.append(alpha)
    np.testing.assert_allclose(*alphas, atol=1e-6)
    cover = cv2.sepFilter2D((raster[0] >= 0).astype(np.float32), -1, BLUR, BLUR)
    np.testing.assert_allclose(alphas[0], np.where(raster[0] >= 0, np.clip(2 * cover - 1, 0, 1), 0), atol=1e-6)
    assert 0 < alphas[0][raster[0] >= 0].min() < 0.9


def test_transparent_pixels_keep_their_alpha_where_sampling_skips_them(raster, person):
    person[20:40] = 0
    _, alpha, positions = sample(raster, CORNERS * 0.9 + 3.3, person)
    opacity = sample_image(person[..., 3].astype(np.float32), positions, border=cv2.BORDER_REPLICATE)
    is_covered = raster[0] >= 0
    np.testing.assert_allclose(alpha[is_covered] * 255, opacity[is_covered], atol=2)
    assert (alpha[is_covered] == 0).any()


def test_jumps_between_surfaces_are_marked_and_blurred(person):
    corners = np.array([[8.0, 8.0], [30.0, 8.0], [30.0, 56.0], [8.0, 56.0]])
    corners = np.concatenate([corners, corners + np.array([22, 0])])
    triangles = np.concatenate([TRIANGLES, TRIANGLES + 4]).astype(np.int32)
    index, weights = rasterize_surface(corners, np.ones(8), triangles, SIZE, SIZE)
    texture = corners.copy()
    texture[4:, 0] += 6
    colors, alpha = np.empty((SIZE, SIZE, 3), np.float32), np.empty((SIZE, SIZE), np.float32)
    positions, edge = np.empty((SIZE, SIZE, 2), np.float32), np.zeros((SIZE, SIZE), np.uint8)
    jumps = sample_person(
        (index, weights, triangles), texture.astype(np.float32), person, colors, alpha, positions, edge
    )
    assert jumps == 48
    expected = np.zeros((SIZE, SIZE), np.uint8)
    expected[8:56, 29:31] = 1
    np.testing.assert_array_equal(edge, expected)
    before = colors.copy()
    blur_marked(colors, edge, BLUR)
    smooth = cv2.sepFilter2D(before, -1, BLUR, BLUR)
    np.testing.assert_allclose(colors, np.where(edge[..., None] > 0, smooth, before), atol=1e-3)
