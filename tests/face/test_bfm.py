"""The Basel Face Model: geometry, light, projection and the model file."""

import numpy as np
import pytest
from scipy.io import savemat

from mimaface_cli.errors import InputError, WeightsError
from mimaface_cli.face import bfm
from mimaface_cli.face.bfm_render import render_face
from mimaface_cli.face.d3dfr import COEFFICIENT_COUNT, COEFFICIENT_WIDTHS, split_coefficients


def pyramid_arrays() -> dict[str, np.ndarray]:
    """Return the fields of a model file: a square pyramid that points at the camera, with indices from 1."""
    vertices = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 0.5]], np.float32)
    triangles = np.array([[1, 2, 5], [2, 3, 5], [3, 4, 5], [4, 1, 5]], np.int32)
    none = len(triangles) + 1
    rng = np.random.default_rng(0)
    return {
        "meanshape": vertices.reshape(1, -1),
        "idBase": rng.normal(0, 0.01, (15, 80)).astype(np.float32),
        "exBase": rng.normal(0, 0.01, (15, 64)).astype(np.float32),
        "meantex": np.full((1, 15), 100, np.float32),
        "texBase": rng.normal(0, 1, (15, 80)).astype(np.float32),
        "tri": triangles,
        "point_buf": np.array(
            [[1, 4, none, none], [1, 2, none, none], [2, 3, none, none], [3, 4, none, none], [1, 2, 3, 4]], np.int32
        ),
        "keypoints": np.array([[5, 1]], np.int32),
    }


@pytest.fixture
def pyramid():
    return bfm.from_arrays(pyramid_arrays())


def coefficient_groups(**changes):
    groups = split_coefficients(np.zeros(COEFFICIENT_COUNT, np.float32))
    for name, value in changes.items():
        groups[name][...] = value
    return groups


def test_shape_and_albedo_add_the_bases_to_the_means(pyramid):
    rng = np.random.default_rng(1)
    arrays = {name: value.astype(np.float64) for name, value in pyramid_arrays().items()}
    identity, expression, texture = (
        rng.normal(size=COEFFICIENT_WIDTHS[name]) for name in ("identity", "expression", "texture")
    )
    mean = arrays["meanshape"].reshape(-1, 3)
    offset = (arrays["idBase"] @ identity + arrays["exBase"] @ expression).reshape(-1, 3)
    np.testing.assert_allclose(pyramid.shape(identity, expression), mean - mean.mean(0) + offset, atol=1e-6)
    np.testing.assert_allclose(pyramid.albedo(texture), 100 + (arrays["texBase"] @ texture).reshape(-1, 3), atol=1e-4)
    with pytest.raises(InputError, match="takes 80 coefficients"):
        pyramid.shape(identity[:79], expression)


def test_normals_turn_with_the_head(pyramid):
    vertices = pyramid.shape(np.zeros(80), np.zeros(64))
    np.testing.assert_allclose(pyramid.normals(vertices)[4], [0, 0, 1], atol=1e-6)
    turned = pyramid.face(coefficient_groups(angles=[0, np.pi / 2, 0]))
    np.testing.assert_allclose(turned.normals[4], [1, 0, 0], atol=1e-6)


def test_camera_projects_a_translation_in_proportion_to_depth(pyramid):
    camera = bfm.Camera(focal=580, size=128)

    def project_apex(**changes):
        face = pyramid.face(coefficient_groups(**changes))
        return camera.project(face.vertices[pyramid.landmarks])[0][0]

    apex_depth = 10 - (0.5 - 0.1)  # the mean's centroid is the origin
    np.testing.assert_allclose(project_apex(), [64, 64], atol=1e-4)
    shift = project_apex(translation=[0.1, 0.2, 0]) - project_apex()
    np.testing.assert_allclose(shift, [580 * 0.1 / apex_depth, -580 * 0.2 / apex_depth], atol=1e-4)


def test_render_face_shows_the_albedo_in_proportion_to_the_light(pyramid):
    rendered = render_face(pyramid, pyramid.face(coefficient_groups()))
    center = rendered.rgb[128, 128]
    assert rendered.mask[128, 128] and not rendered.mask[2, 2]
    assert (rendered.rgb[~rendered.mask] == 0).all() and (rendered.face_index[~rendered.mask] == -1).all()
    np.testing.assert_allclose(center, 100 * 0.8 * np.pi / np.sqrt(4 * np.pi), rtol=1e-4)
    assert rendered.depth[128, 128] == pytest.approx(10 - 0.4, abs=0.01)
    brighter = render_face(pyramid, pyramid.face(coefficient_groups(illumination=[5] + [0] * 26)))
    assert brighter.rgb[128, 128].tolist() == pytest.approx([255, center[1], center[2]], rel=1e-4)


def test_load_reads_a_saved_model(tmp_path, pyramid):
    savemat(tmp_path / "BFM09_model_info.mat", pyramid_arrays())
    loaded = bfm.load(tmp_path / "BFM09_model_info.mat")
    for name in ("mean", "triangles", "vertex_faces", "landmarks", "texture_basis"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(pyramid, name))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("idBase", None, "no field idBase"),
        ("exBase", np.zeros((14, 64)), "exBase"),
        ("texBase", np.full((15, 80), np.inf), "NaN or Inf"),
        ("tri", np.array([[1, 2, 6]]), "indices outside"),
        ("keypoints", np.array([[0]]), "indices outside"),
        ("meantex", np.zeros((1, 12)), "different numbers of vertices"),
        ("point_buf", np.ones((4, 4), int), "5 vertices"),
        ("meanshape", np.array(["x"]), "meanshape"),
    ],
)
def test_from_arrays_names_the_damaged_field(field, value, message):
    arrays = pyramid_arrays()
    if value is None:
        del arrays[field]
    else:
        arrays[field] = value
    with pytest.raises(WeightsError, match=message) as caught:
        bfm.from_arrays(arrays, "face.mat")
    assert str(caught.value).startswith("face.mat: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [None, b"", b"MATLAB 5.0" + bytes(200), bytes(range(256)) * 8],
    ids=["missing", "empty", "header only", "other bytes"],
)
def test_load_rejects_files_of_another_kind(tmp_path, content):
    path = tmp_path / "face.mat"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"face\.mat"):
        bfm.load(path)
