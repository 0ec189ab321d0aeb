"""Light on a turning head."""

from dataclasses import replace

import numpy as np
import pytest

from mimaface_cli.engines.mesh.head_geometry import build_head_geometry
from mimaface_cli.engines.mesh.head_light import build_head_light
from mimaface_cli.engines.mesh.vertex_smoothing import smooth_over_mesh
from mimaface_cli.face import camera, face478
from mimaface_cli.face.portrait import Portrait

POSE = np.array([0.0, 0, 0, 0, 0.1, -2])


def make_light(illumination):
    model = face478.load()
    points = camera.project(camera.apply_pose(model.mean, POSE))[0]
    to_crop = np.array([[1.0, 0, 0], [0, 1, 0]])
    image = np.full((256, 256, 3), 128, np.uint8)
    portrait = Portrait(image, None, points, to_crop, np.zeros(80), np.zeros(64), POSE, np.zeros(4))
    portrait = replace(portrait, illumination=illumination)
    geometry = build_head_geometry(portrait, model, np.ones((256, 256), np.float32))
    return build_head_light(portrait, geometry), geometry


@pytest.fixture(scope="module")
def side_light():
    """Light from the subject's left."""
    light = np.zeros((3, 9))
    light[:, 3] = -0.3
    return make_light(light.ravel())


def test_light_is_unchanged_at_the_photos_pose(side_light):
    light, _ = side_light
    assert light.ratio(POSE) is None
    assert light.ratio(POSE + np.array([0, 0, 0, 0.2, 0, 0])) is None  # moved, not turned


def test_light_falls_on_the_side_that_turns_away(side_light):
    light, geometry = side_light
    to_left, to_right = (light.ratio(POSE + np.array([0, yaw, 0, 0, 0, 0])) for yaw in (0.4, -0.4))
    nose = 4
    assert to_left[nose].min() > 1.02 and to_right[nose].max() < 0.98
    for ratio in (to_left, to_right):
        assert ratio.shape == (len(geometry.texture), 3)
        assert np.exp(-0.13) < ratio.min() and ratio.max() < np.exp(0.13)


def test_light_has_no_edge_between_face_and_hair(side_light):
    light, geometry = side_light
    ratio = light.ratio(POSE + np.array([0.2, 0.4, 0, 0, 0, 0]))
    count = len(geometry.placed)
    surface = geometry.surfaces[0]
    oval = geometry.fine.rings["oval"][surface.rim[:, 0]]
    rings = ratio[count : count + len(surface.head)].reshape(-1, len(oval), 3)
    weight = surface.weight.reshape(rings.shape[:2])[..., None]
    assert np.allclose(rings, 1 + weight * (ratio[oval] - 1))
    assert np.allclose(rings[weight[..., 0] == 1], np.broadcast_to(ratio[oval], rings.shape)[weight[..., 0] == 1])


def test_light_on_still_shoulders_does_not_change(side_light):
    light, geometry = side_light
    still = geometry.weight == 0
    assert still.sum() > 100
    assert np.array_equal(light.ratio(POSE + np.array([0.2, 0.4, 0, 0, 0, 0]))[still], np.ones((still.sum(), 3)))


def test_light_of_an_unknown_illumination_never_changes():
    light, _ = make_light(None)
    assert light.ratio(POSE + np.array([0.3, 0.3, 0, 0, 0, 0])) is None


def test_diffusion_keeps_known_vertices_and_fills_the_others():
    triangles = np.array([[0, 1, 2], [1, 2, 3], [2, 3, 4]])
    values = np.array([[1.0], [0], [0], [0], [5]])
    is_known = np.array([True, False, False, False, True])
    filled = smooth_over_mesh(values, triangles, 500, is_known)
    assert filled[0] == 1 and filled[4] == 5
    assert 1 < filled[1] < filled[3] < 5
    assert np.array_equal(smooth_over_mesh(values, triangles, 5, np.zeros(5, bool)), np.zeros((5, 1)))


def test_diffusion_of_all_vertices_smooths_them():
    triangles = np.array([[0, 1, 2], [1, 2, 3]])
    smoothed = smooth_over_mesh(np.array([[4.0], [0], [0], [0]]), triangles, 1)
    assert np.allclose(smoothed.ravel(), [0, 4 / 3, 4 / 3, 0])
