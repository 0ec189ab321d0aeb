"""Illumination and texture from the colors at the landmarks."""

import numpy as np

from mimaface_cli.face.shading import shade, vertex_normals
from mimaface_cli.face.skin_color import fit_illumination, fit_texture, sample_colors
from mimaface_cli.motion.rotation import rotation_matrix


def test_sample_colors_uses_the_nearest_pixel_outside_the_image():
    image = np.arange(5 * 6 * 3, dtype=np.uint8).reshape(5, 6, 3)
    colors = sample_colors(image, np.array([[-4.0, -4.0], [2.6, 1.2], [100.0, 100.0]]))
    assert np.array_equal(colors, [image[0, 0], image[1, 2], image[4, 5]])


def test_fit_illumination_recovers_the_light_on_a_known_face(model):
    normals = vertex_normals(model.mean, model.triangles)
    light = np.zeros((3, 9))
    light[:, 0], light[:, 1], light[:, 3] = 0.1, [0.1, 0.15, 0.2], -0.1
    lit = shade(model.albedo_mean, normals, light.ravel())
    fitted = fit_illumination(model.albedo_mean, normals, lit)
    assert np.abs(shade(model.albedo_mean, normals, fitted) - lit).mean() < 3.0
    assert np.abs(fitted.reshape(3, 9)[:, [1, 3]] - light[:, [1, 3]]).max() < 0.08


def test_fit_texture_recovers_skin_under_different_lights(model):
    rng = np.random.default_rng(3)
    texture = np.zeros(80)
    texture[1:6] = 1.5 * rng.normal(size=5)
    normals = vertex_normals(model.mean, model.triangles)
    lights = 0.12 * rng.normal(size=(6, 3, 1)) * np.eye(9)[[1, 2, 3, 1, 2, 3]][:, None]
    rotations = np.stack([rotation_matrix(0.2 * rng.normal(size=3)) for _ in lights])
    albedo = model.albedo(texture)
    colors = [
        shade(albedo, normals @ rotation.T, light.ravel()) for light, rotation in zip(lights, rotations, strict=True)
    ]
    fitted = model.albedo(fit_texture(model, np.stack(colors), normals, rotations))
    assert np.abs(fitted - albedo).mean() < 0.6 * np.abs(model.albedo_mean - albedo).mean()
