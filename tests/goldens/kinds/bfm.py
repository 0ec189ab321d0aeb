"""The face model, its light, projection and render (mimaface_cli.face.bfm, .bfm_render)."""

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mimaface_cli.face.bfm import Bfm09, Camera, PosedFace, from_arrays
from mimaface_cli.face.bfm_render import Render, render_face
from mimaface_cli.face.d3dfr import split_coefficients
from mimaface_cli.face.shading import shade
from mimaface_cli.motion.rotation import rotation_matrix
from tests.goldens.fixture import Check, Fixture, absolute, share_beyond

_GRAY = 127.0  # the albedo behind the fixture's gray colors
_GRAY_RENDER = "gray_rgb_channel0_float16"  # the only render that is stored unclamped


def camera_of(fixture: Fixture) -> Camera:
    """Return the fixture's camera."""
    return Camera(fixture.spec["focal"], fixture.spec["img_size"])


def percent(text: str) -> float:
    """Return the share that a tolerance's text allows."""
    return float(re.search(r"([\d.]+)%", text)[1]) / 100


def check(fixture: Fixture) -> Iterator[Check]:
    model, camera = from_arrays(fixture.arrays), camera_of(fixture)
    for index, coefficients in enumerate(fixture.arrays["coeffs"]):
        expected = {name: values[index] for name, values in fixture.arrays.items() if index < values.shape[0]}
        groups = split_coefficients(coefficients)
        face = model.face(groups)
        yield from _check_face(model, groups, face, camera, expected, fixture.spec["tolerance"])
        yield from _check_render(model, groups, face, camera, expected, fixture.spec["tolerance"])


def _check_face(model: Bfm09, groups, face: PosedFace, camera: Camera, expected, tolerance) -> Iterator[Check]:
    shape = model.shape(groups["identity"], groups["expression"])
    landmarks = camera.project(face.vertices[model.landmarks])[0]
    upright = np.stack([landmarks[:, 0], camera.size - landmarks[:, 1]], 1)
    for name, computed, allowed in (
        ("vs_before_rigid", shape, "vertices"),
        ("rotation", rotation_matrix(groups["angles"]).T, "rotation"),
        ("vs", face.vertices, "vertices"),
        ("normals", model.normals(shape), "normals"),
        ("normals_rotated", face.normals, "normals"),
        ("face_texture", model.albedo(groups["texture"]), "colors_0_255"),
        ("color", face.colors, "colors_0_255"),
        ("gray_color", _gray(face, groups), "colors_0_255"),
        ("lms_proj", landmarks, "landmarks_pixels"),
        ("lms_proj_before_flip", upright, "landmarks_pixels"),
    ):
        if name in expected:
            yield absolute(name, computed, expected[name], tolerance[allowed])


def _check_render(model: Bfm09, groups, face: PosedFace, camera: Camera, expected, tolerance) -> Iterator[Check]:
    render_result, few = render_face(model, face, camera), percent(tolerance["rgb_note"])
    alpha = _alpha(render_result, model, face, camera)
    gray = render_face(model, replace(face, colors=_gray(face, groups)), camera).rgb[..., 0]
    expected = {**expected, _GRAY_RENDER: expected[_GRAY_RENDER].clip(0, 255)} if _GRAY_RENDER in expected else expected
    half, rim = tolerance["rendered_rgb_float16"], percent(tolerance["mask"])
    for name, computed, allowed, share, channel_axis in (
        ("mask", render_result.mask, 0, rim, None),
        ("pix_to_face", render_result.face_index, 0, percent(tolerance["pix_to_face"]), None),
        ("rendered_rgb_float16", render_result.rgb, half, few, -1),
        ("alpha_float16", alpha, 1e-3, rim, None),
        (_GRAY_RENDER, gray, half, few, None),
    ):
        if name in expected:
            yield share_beyond(name, computed, expected[name], allowed, share, channel_axis)
    rgba = np.concatenate([render_result.rgb, alpha[..., None]], -1)
    for name, values in expected.items():
        if match := re.fullmatch(r"(rendered_rgb_float32|zbuf)_rows_(\d+)_(\d+)", name):
            start, stop = int(match[2]), int(match[3])
            rows = np.arange(start, stop, (stop - start) // len(values))
            if match[1] == "zbuf":
                both = render_result.mask[rows] & (values > 0)
                yield absolute(name, render_result.depth[rows][both], values[both], tolerance["zbuf"])
            else:
                yield share_beyond(name, rgba[rows], values, tolerance["rendered_rgb_float32"], few, channel_axis=-1)


def _gray(face: PosedFace, groups) -> np.ndarray:
    return shade(np.full_like(face.colors, _GRAY), face.normals, groups["illumination"])


def _alpha(render_result: Render, model: Bfm09, face: PosedFace, camera: Camera) -> np.ndarray:
    """Compute PyTorch3D's soft opacity of one face per pixel.

    That is sigmoid(d² / 1e-4), with d the distance to the face's nearest edge and the image 2 wide; 0 outside. It shows
    the position of the edges to a fraction of a pixel.
    """
    rows, columns = np.nonzero(render_result.mask)
    pixel = np.stack([columns, rows], -1) + 0.5
    corners = camera.project(face.vertices)[0][model.triangles[render_result.face_index[rows, columns]]]
    nearest = np.full(len(rows), np.inf)
    for i in range(3):
        start, along = corners[:, i], corners[:, (i + 1) % 3] - corners[:, i]
        position = ((pixel - start) * along).sum(1) / (along**2).sum(1)
        distance = pixel - start - position.clip(0, 1)[:, None] * along
        nearest = np.minimum(nearest, (distance**2).sum(1))
    alpha = np.zeros(render_result.mask.shape)
    alpha[rows, columns] = 1 / (1 + np.exp(-nearest / (camera.size / 2) ** 2 / 1e-4))
    return alpha
