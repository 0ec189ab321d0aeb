"""Aligning a mesh by pixels: a movement is found from the picture, and only from skin."""

import cv2
import numpy as np
import pytest

from mimaface_cli.face import camera, face478, topology
from mimaface_cli.face.photometric import LIGHTING_GRID, SkinSurface, match_lighting

SIZE = 320


@pytest.fixture(scope="module")
def drawn():
    """A face's surface, where its vertices are in a picture of noise, and the picture."""
    model = face478.load()
    pixels, depth = camera.project(camera.apply_pose(model.mean, np.array([0.05, -0.1, 0.02, 0, 0, 0])), SIZE)
    noise = np.random.default_rng(0).uniform(0, 255, (SIZE, SIZE)).astype(np.float32)
    smooth = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.0), None, 0, 255, cv2.NORM_MINMAX)
    return SkinSurface.from_triangles(model.triangles), pixels, depth, smooth.astype(np.uint8)


def found_shift(surface, reference, at, picture, depth, start):
    """The shift of all vertices that a few steps of Gauss and Newton find."""
    shift = np.array(start, float)
    for _ in range(8):
        curvature, slope = surface.compare(reference, at, picture, at + shift, depth)
        total = curvature.toarray().reshape(-1, 2, slope.size // 2, 2).sum((0, 2))
        shift -= np.linalg.solve(total, slope.reshape(-1, 2).sum(0))
    return shift


def test_a_shift_of_less_than_a_pixel_is_found(drawn):
    surface, pixels, depth, reference = drawn
    move = np.array([[1, 0, 0.6], [0, 1, -0.35]])
    picture = cv2.warpAffine(reference, move, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT)
    assert np.abs(found_shift(surface, reference, pixels, picture, depth, (0, 0)) - move[:, 2]).max() < 0.05
    assert np.abs(found_shift(surface, reference, pixels, picture, depth, (1.5, 0.5)) - move[:, 2]).max() < 0.05


def test_what_covers_a_part_hardly_counts(drawn):
    surface, pixels, depth, reference = drawn
    picture = cv2.warpAffine(reference, np.array([[1, 0, 0.6], [0, 1, -0.35]]), (SIZE, SIZE))
    left, top = pixels.min(0).astype(int)
    picture[top : top + 45, left:] = 200
    shift = found_shift(surface, reference, pixels, picture, depth, (0, 0))
    assert np.abs(shift - [0.6, -0.35]).max() < 0.1


def test_mouth_eyes_and_outline_tell_nothing(drawn):
    """Where all three corners are on the rim of a hole, or one on the outline or an iris, pixels are not skin."""
    surface, pixels, depth, reference = drawn
    for ring in (topology.INNER_LIPS, topology.LEFT_EYE, topology.OVAL[:0]):
        inside = np.isin(surface.triangles, ring).all(1)
        assert not surface.is_skin[inside].any()
    assert not surface.is_skin[np.isin(surface.triangles, topology.OVAL).any(1)].any()
    picture = np.array(reference)
    cv2.fillPoly(picture, [pixels[topology.INNER_LIPS].round().astype(np.int32)], 0)
    before = surface.compare(reference, pixels, reference, pixels, depth)[1]
    after = surface.compare(reference, pixels, picture, pixels, depth)[1]
    chin = np.isin(np.arange(len(before) // 2), topology.INNER_LIPS)
    changed = np.abs(after - before).reshape(-1, 2).max(1)
    assert not changed[~chin].max() > changed[chin].max()
    assert np.count_nonzero(changed) < 80  # of 468: the lips beside the rim, whose pixels were painted over


def test_curvature_is_that_of_the_slope(drawn):
    """Moving one vertex of an even slope changes the slopes as the matrix says, less what large differences lose."""
    surface, pixels, depth, _ = drawn
    down, across = np.mgrid[:SIZE, :SIZE]
    reference = (0.9 * across + 0.31 * down).astype(np.uint8)
    curvature, slope = surface.compare(reference, pixels, reference, pixels, depth)
    vertex, move = topology.NOSE_TIP, np.array([1.0, -0.5])
    moved = np.array(pixels)
    moved[vertex] += move
    _, other = surface.compare(reference, pixels, reference, moved, depth)
    expected = curvature[:, [2 * vertex, 2 * vertex + 1]].toarray() @ move
    assert np.corrcoef(other - slope, expected)[0, 1] > 0.98
    assert 0.4 < np.linalg.norm(other - slope) / np.linalg.norm(expected) < 1.1
    assert np.allclose(curvature.toarray(), curvature.toarray().T)


def test_light_that_fades_hides_nothing(drawn):
    surface, pixels, depth, reference = drawn
    picture = cv2.warpAffine(
        reference, np.array([[1, 0, 0.6], [0, 1, -0.35]]), (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT
    )
    dark = (0.45 * picture + 20).astype(np.uint8)
    assert np.abs(found_shift(surface, reference, pixels, dark, depth, (0, 0)) - [0.6, -0.35]).max() < 0.06
    everywhere = np.ones_like(reference[::LIGHTING_GRID, ::LIGHTING_GRID], bool)
    drawn_alike, usual = match_lighting(reference, (0.45 * reference + 20).astype(np.uint8), everywhere)
    assert np.abs(drawn_alike - (0.45 * reference + 20)).max() < 1.6 and usual < 1.5
    assert match_lighting(reference, dark, ~everywhere)[1] == 0
    flat = np.full_like(reference, 90)
    assert match_lighting(flat, flat, everywhere)[1] < 1 and match_lighting(reference, flat, everywhere)[1] < 10


def test_how_the_skin_is_stretched(drawn):
    """Under a linear map that is the map wherever there is skin, and zero where there is none."""
    surface, pixels, *_ = drawn
    map_ = np.array([[1.2, 0.3], [-0.1, 0.8]])
    stretched = surface.deformation(pixels, pixels @ map_.T + [3.0, -2.0])
    assert np.allclose(stretched[surface.is_skin_vertex], map_, atol=1e-6) and not stretched[~surface.is_skin_vertex].any()
    assert surface.is_skin_vertex.sum() > 300 and not surface.is_skin_vertex[topology.OVAL].any()


def test_what_moves_alike_is_not_rough(drawn):
    surface, *_ = drawn
    roughness, beside = surface.roughness(), np.zeros(len(surface.is_skin_vertex))
    beside[topology.NOSE_TIP] = 1.0
    assert np.allclose(roughness, roughness.T) and np.abs(roughness.sum(0)).max() < 1e-9
    assert beside @ roughness @ beside > 10 and np.linalg.eigvalsh(roughness).min() > -1e-9
