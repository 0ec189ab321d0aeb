"""Photometric alignment: movement is estimated from the image, and only from skin."""

from typing import NamedTuple

import cv2
import numpy as np
import pytest

from mimaface_cli.face import camera, topology
from mimaface_cli.face.photometric import SkinSurface, match_lighting

SIZE = 320
SHIFT = np.array([[1, 0, 0.6], [0, 1, -0.35]])


class TexturedFace(NamedTuple):
    """A face's surface, its vertices in an image of smooth noise, and the image."""

    surface: SkinSurface
    points: np.ndarray
    depth: np.ndarray
    image: np.ndarray


@pytest.fixture(scope="module")
def face(model):
    points, depth = camera.project(camera.apply_pose(model.mean, np.array([0.05, -0.1, 0.02, 0, 0, 0])), SIZE)
    noise = np.random.default_rng(0).uniform(0, 255, (SIZE, SIZE)).astype(np.float32)
    smooth = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.0), None, 0, 255, cv2.NORM_MINMAX)
    return TexturedFace(SkinSurface.from_triangles(model.triangles), points, depth, smooth.astype(np.uint8))


def shift_image(image: np.ndarray) -> np.ndarray:
    return cv2.warpAffine(image, SHIFT, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT)


def estimate_shift(face: TexturedFace, image: np.ndarray, start=(0.0, 0.0)) -> np.ndarray:
    """Estimate the common shift of all vertices in a few Gauss–Newton steps."""
    shift = np.array(start, float)
    for _ in range(8):
        hessian, gradient = face.surface.compare(face.image, face.points, image, face.points + shift, face.depth)
        total_hessian = hessian.toarray().reshape(-1, 2, gradient.size // 2, 2).sum((0, 2))
        shift -= np.linalg.solve(total_hessian, gradient.reshape(-1, 2).sum(0))
    return shift


@pytest.mark.parametrize("start", [(0, 0), (1.5, 0.5)])
def test_compare_finds_a_subpixel_shift(face, start):
    assert np.abs(estimate_shift(face, shift_image(face.image), start) - SHIFT[:, 2]).max() < 0.05


def test_compare_is_robust_to_an_occluded_part(face):
    image = shift_image(face.image)
    left, top = face.points.min(0).astype(int)
    image[top : top + 45, left:] = 200
    assert np.abs(estimate_shift(face, image) - SHIFT[:, 2]).max() < 0.1


def test_compare_is_robust_to_fading_light(face):
    image = (0.45 * shift_image(face.image) + 20).astype(np.uint8)
    assert np.abs(estimate_shift(face, image) - SHIFT[:, 2]).max() < 0.06


def test_surface_excludes_mouth_eyes_and_outline(face):
    """Not skin: triangles with all corners on the rim of an opening, or one corner on the outline."""
    surface = face.surface
    for ring in (topology.INNER_LIPS, topology.LEFT_EYE):
        assert not surface.is_skin[np.isin(surface.triangles, ring).all(1)].any()
    assert not surface.is_skin[np.isin(surface.triangles, topology.OVAL).any(1)].any()


def test_compare_ignores_changes_inside_the_mouth(face):
    image = np.array(face.image)
    cv2.fillPoly(image, [face.points[topology.INNER_LIPS].round().astype(np.int32)], 0)
    before, after = (
        face.surface.compare(face.image, face.points, other, face.points, face.depth)[1]
        for other in (face.image, image)
    )
    on_lips = np.isin(np.arange(len(before) // 2), topology.INNER_LIPS)
    change = np.abs(after - before).reshape(-1, 2).max(1)
    assert not change[~on_lips].max() > change[on_lips].max()
    # The painted pixels at the rim of the lips; the fitted lighting changes everything else a little.
    assert np.count_nonzero(change > 0.05 * change.max()) < 80  # of 468


def test_hessian_predicts_the_change_of_the_gradient(face):
    """Moving one vertex of an even ramp changes the gradient by the Hessian, minus what Cauchy's loss removes."""
    surface, points, depth, _ = face
    rows, columns = np.mgrid[:SIZE, :SIZE]
    reference = np.clip(columns - rows + 128, 0, 255).astype(np.uint8)
    hessian, gradient = surface.compare(reference, points, reference, points, depth)
    vertex, movement = topology.NOSE_TIP, np.array([1.0, -0.5])
    moved = np.array(points)
    moved[vertex] += movement
    _, moved_gradient = surface.compare(reference, points, reference, moved, depth)
    expected = hessian[:, [2 * vertex, 2 * vertex + 1]].toarray() @ movement
    assert np.corrcoef(moved_gradient - gradient, expected)[0, 1] > 0.98
    assert 0.4 < np.linalg.norm(moved_gradient - gradient) / np.linalg.norm(expected) < 1.1
    assert np.allclose(hessian.toarray(), hessian.toarray().T)


def pair_levels(warped: np.ndarray, image: np.ndarray) -> np.ndarray:
    return np.stack([warped, image], -1).reshape(-1, 2).astype(np.float32)


def test_match_lighting_recovers_gain_and_offset(face):
    dark = (0.45 * face.image + 20).astype(np.uint8)
    (gain, offset), difference = match_lighting(pair_levels(face.image, dark))
    assert np.abs(gain * face.image + offset - (0.45 * face.image + 20)).max() < 1.6 and difference < 1.5
    assert match_lighting(np.empty((0, 2), np.float32)) == ((1.0, 0.0), 0.0)


def test_match_lighting_is_stable_on_flat_images(face):
    flat = np.full_like(face.image, 90)
    assert match_lighting(pair_levels(flat, flat))[1] < 1
    assert match_lighting(pair_levels(face.image, flat))[1] < 10


def test_deformation_equals_a_linear_map_on_skin_and_zero_elsewhere(face):
    surface = face.surface
    linear = np.array([[1.2, 0.3], [-0.1, 0.8]])
    deformation = surface.deformation(face.points, face.points @ linear.T + [3.0, -2.0])
    assert np.allclose(deformation[surface.is_skin_vertex], linear, atol=1e-6)
    assert not deformation[~surface.is_skin_vertex].any()
    assert surface.is_skin_vertex.sum() > 300 and not surface.is_skin_vertex[topology.OVAL].any()


def test_roughness_is_zero_for_equal_movements_and_positive_for_single_ones(face):
    roughness, movement = face.surface.roughness(), np.zeros(len(face.surface.is_skin_vertex))
    movement[topology.NOSE_TIP] = 1.0
    assert np.allclose(roughness, roughness.T) and np.abs(roughness.sum(0)).max() < 1e-9
    assert movement @ roughness @ movement > 10 and np.linalg.eigvalsh(roughness).min() > -1e-9
