"""Light: spherical harmonics, normals, and telling light from skin."""

import numpy as np
import pytest

from mimaface_cli.face import face478
from mimaface_cli.face.shading import AMBIENT, sh_basis, shade, vertex_normals
from mimaface_cli.face.skin_color import fit_illumination, fit_texture
from mimaface_cli.motion.rotation import rotation_matrix


@pytest.fixture(scope="module")
def model():
    return face478.load()


def sphere(rows: int = 24, columns: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Vertices on the unit sphere and triangles whose normals point outwards."""
    polar, around = np.meshgrid(
        np.linspace(0.05, np.pi - 0.05, rows), np.arange(columns) * 2 * np.pi / columns, indexing="ij"
    )
    vertices = np.stack([np.sin(polar) * np.cos(around), np.cos(polar), np.sin(polar) * np.sin(around)], -1)
    at = np.arange(rows * columns).reshape(rows, columns)
    upper, lower = at[:-1], at[1:]
    aside = lambda grid: np.roll(grid, -1, 1)  # noqa: E731
    corners = [np.stack([upper, aside(upper), lower], -1), np.stack([aside(upper), aside(lower), lower], -1)]
    return vertices.reshape(-1, 3), np.concatenate([part.reshape(-1, 3) for part in corners])


def test_normals_of_a_sphere_point_outwards():
    vertices, triangles = sphere()
    normals = vertex_normals(vertices, triangles)
    inside = np.abs(vertices[:, 1]) < 0.95  # the rims about the poles are open
    assert ((normals * vertices).sum(1)[inside] > 0.995).all()
    turn = rotation_matrix([0.3, 0.5, 0.7])
    both = vertex_normals(np.stack([vertices, vertices @ turn.T]), triangles)
    assert np.allclose(both[1], both[0] @ turn.T, atol=1e-9)


def test_no_coefficients_are_even_light():
    normals = np.random.default_rng(0).normal(size=(30, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    albedo = np.random.default_rng(1).uniform(50, 200, (30, 3))
    lit = shade(albedo, normals, np.zeros(27))
    assert np.allclose(lit / albedo, AMBIENT * np.pi / np.sqrt(4 * np.pi))


def test_light_from_ahead_brightens_what_faces_the_camera():
    light = np.zeros((3, 9))
    light[:, 2] = 0.2  # the harmonic of z
    ahead, aside = shade(np.full((2, 3), 100.0), np.array([[0, 0, 1.0], [1.0, 0, 0]]), light.ravel())
    assert (ahead > aside + 10).all()


def test_channels_are_lit_apart():
    light = np.zeros((3, 9))
    light[2, 0] = 0.5
    lit = shade(np.full((1, 3), 100.0), np.array([[0, 0, 1.0]]), light.ravel())[0]
    assert lit[2] > lit[0] + 30 and lit[0] == lit[1]


def test_harmonics_are_orthogonal_over_the_sphere():
    normals = np.random.default_rng(2).normal(size=(200_000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    basis = sh_basis(normals)
    gram = basis.T @ basis / len(basis)
    size = np.sqrt(np.diag(gram))
    off = gram / np.outer(size, size) - np.eye(9)
    assert np.abs(off).max() < 0.02


def test_light_on_a_known_face_comes_back(model):
    normals = vertex_normals(model.mean, model.triangles)
    light = np.zeros((3, 9))
    light[:, 0], light[:, 1], light[:, 3] = 0.1, [0.1, 0.15, 0.2], -0.1
    found = fit_illumination(model.albedo_mean, normals, shade(model.albedo_mean, normals, light.ravel()))
    again = shade(model.albedo_mean, normals, found)
    assert np.abs(again - shade(model.albedo_mean, normals, light.ravel())).mean() < 3.0
    assert np.abs(found.reshape(3, 9)[:, [1, 3]] - light[:, [1, 3]]).max() < 0.08


def test_skin_comes_back_from_under_different_lights(model):
    rng = np.random.default_rng(3)
    texture = np.zeros(80)
    texture[1:6] = 1.5 * rng.normal(size=5)
    normals = vertex_normals(model.mean, model.triangles)
    lights = 0.12 * rng.normal(size=(6, 3, 1)) * np.eye(9)[[1, 2, 3, 1, 2, 3]][:, None]
    rotations = np.stack([rotation_matrix(0.2 * rng.normal(size=3)) for _ in lights])
    colors = [shade(model.albedo(texture), normals @ r.T, one.ravel()) for one, r in zip(lights, rotations)]
    found = model.albedo(fit_texture(model, np.stack(colors), normals, rotations))
    missed = np.abs(found - model.albedo(texture)).mean()
    assert missed < 0.6 * np.abs(model.albedo_mean - model.albedo(texture)).mean()
