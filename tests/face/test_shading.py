"""Spherical-harmonic shading and vertex normals."""

import numpy as np

from mimaface_cli.face.shading import AMBIENT, sh_basis, shade, vertex_normals
from mimaface_cli.motion.rotation import rotation_matrix


def make_sphere(rows: int = 24, columns: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Return vertices on the unit sphere and triangles with outward normals."""
    polar, azimuth = np.meshgrid(
        np.linspace(0.05, np.pi - 0.05, rows), np.arange(columns) * 2 * np.pi / columns, indexing="ij"
    )
    vertices = np.stack([np.sin(polar) * np.cos(azimuth), np.cos(polar), np.sin(polar) * np.sin(azimuth)], -1)
    index = np.arange(rows * columns).reshape(rows, columns)
    upper, lower = index[:-1], index[1:]
    next_upper, next_lower = np.roll(upper, -1, 1), np.roll(lower, -1, 1)
    corners = [np.stack([upper, next_upper, lower], -1), np.stack([next_upper, next_lower, lower], -1)]
    return vertices.reshape(-1, 3), np.concatenate([part.reshape(-1, 3) for part in corners])


def test_vertex_normals_of_a_sphere_point_outward():
    vertices, triangles = make_sphere()
    normals = vertex_normals(vertices, triangles)
    inside = np.abs(vertices[:, 1]) < 0.95  # the rims around the poles are open
    assert ((normals * vertices).sum(1)[inside] > 0.995).all()


def test_vertex_normals_rotate_with_the_vertices():
    vertices, triangles = make_sphere()
    rotation = rotation_matrix([0.3, 0.5, 0.7])
    plain, rotated = vertex_normals(np.stack([vertices, vertices @ rotation.T]), triangles)
    assert np.allclose(rotated, plain @ rotation.T, atol=1e-9)


def test_zero_illumination_is_uniform_light():
    normals = np.random.default_rng(0).normal(size=(30, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    albedo = np.random.default_rng(1).uniform(50, 200, (30, 3))
    lit = shade(albedo, normals, np.zeros(27))
    assert np.allclose(lit / albedo, AMBIENT * np.pi / np.sqrt(4 * np.pi))


def test_frontal_light_brightens_surfaces_that_face_the_camera():
    light = np.zeros((3, 9))
    light[:, 2] = 0.2  # the harmonic of z
    frontal, lateral = shade(np.full((2, 3), 100.0), np.array([[0, 0, 1.0], [1.0, 0, 0]]), light.ravel())
    assert (frontal > lateral + 10).all()


def test_channels_are_lit_independently():
    light = np.zeros((3, 9))
    light[2, 0] = 0.5
    lit = shade(np.full((1, 3), 100.0), np.array([[0, 0, 1.0]]), light.ravel())[0]
    assert lit[2] > lit[0] + 30 and lit[0] == lit[1]


def test_sh_basis_is_orthogonal_over_the_sphere():
    normals = np.random.default_rng(2).normal(size=(200_000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    basis = sh_basis(normals)
    gram = basis.T @ basis / len(basis)
    norms = np.sqrt(np.diag(gram))
    assert np.abs(gram / np.outer(norms, norms) - np.eye(9)).max() < 0.02
