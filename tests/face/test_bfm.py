"""The BFM09 model file, its geometry and render."""

import numpy as np
import pytest
from scipy.io import savemat

from mimaface_cli.errors import InputError, WeightsError
from mimaface_cli.face import bfm
from mimaface_cli.face.bfm_render import render_face
from mimaface_cli.face.d3dfr import COEFFICIENT_COUNT, COEFFICIENT_WIDTHS, split_coefficients


def _arrays() -> dict[str, np.ndarray]:
    """A square pyramid that points at the camera; indices count from 1, as in the released file."""
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
def model():
    return bfm.from_arrays(_arrays())


def _groups(**changes):
    groups = split_coefficients(np.zeros(COEFFICIENT_COUNT, np.float32))
    for name, value in changes.items():
        groups[name][...] = value
    return groups


def test_the_bases_add_up(model):
    rng = np.random.default_rng(1)
    arrays = {name: value.astype(np.float64) for name, value in _arrays().items()}
    identity, expression, texture = (
        rng.normal(size=COEFFICIENT_WIDTHS[n]) for n in ("identity", "expression", "texture")
    )
    mean = arrays["meanshape"].reshape(-1, 3)
    offset = (arrays["idBase"] @ identity + arrays["exBase"] @ expression).reshape(-1, 3)
    np.testing.assert_allclose(model.shape(identity, expression), mean - mean.mean(0) + offset, atol=1e-6)
    np.testing.assert_allclose(model.albedo(texture), 100 + (arrays["texBase"] @ texture).reshape(-1, 3), atol=1e-4)
    with pytest.raises(InputError, match="takes 80 coefficients"):
        model.shape(identity[:79], expression)


def test_the_apex_looks_at_the_camera(model):
    vertices = model.shape(np.zeros(80), np.zeros(64))
    np.testing.assert_allclose(model.normals(vertices)[4], [0, 0, 1], atol=1e-6)
    turned = model.face(_groups(angles=[0, np.pi / 2, 0]))
    np.testing.assert_allclose(turned.normals[4], [1, 0, 0], atol=1e-6)


def test_projection_and_translation(model):
    camera = bfm.Camera(focal=580, size=128)
    still = camera.project(model.face(_groups()).vertices[model.landmarks])[0]
    apex_depth = 10 - (0.5 - 0.1)  # the mean's centroid is the origin
    np.testing.assert_allclose(still[0], [64, 64], atol=1e-4)
    moved = camera.project(model.face(_groups(translation=[0.1, 0.2, 0])).vertices[model.landmarks])[0]
    np.testing.assert_allclose(moved[0] - still[0], [580 * 0.1 / apex_depth, -580 * 0.2 / apex_depth], atol=1e-4)


def test_even_light_shows_the_albedo_in_proportion(model):
    drawn = render_face(model, model.face(_groups()))
    middle = drawn.rgb[128, 128]
    assert drawn.mask[128, 128] and not drawn.mask[2, 2]
    assert (drawn.rgb[~drawn.mask] == 0).all() and (drawn.face_index[~drawn.mask] == -1).all()
    np.testing.assert_allclose(middle, 100 * 0.8 * np.pi / np.sqrt(4 * np.pi), rtol=1e-4)
    assert drawn.depth[128, 128] == pytest.approx(10 - 0.4, abs=0.01)
    brighter = render_face(model, model.face(_groups(illumination=[5] + [0] * 26)))
    assert brighter.rgb[128, 128].tolist() == pytest.approx([255, middle[1], middle[2]], rel=1e-4)


def test_a_saved_model_loads(tmp_path, model):
    savemat(tmp_path / "BFM09_model_info.mat", _arrays())
    loaded = bfm.load(tmp_path / "BFM09_model_info.mat")
    for name in ("mean", "triangles", "vertex_faces", "landmarks", "texture_basis"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(model, name))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("idBase", None, "no field idBase"),
        ("exBase", np.zeros((14, 64)), "exBase"),
        ("texBase", np.full((15, 80), np.inf), "NaN or Inf"),
        ("tri", np.array([[1, 2, 6]]), "indices outside"),
        ("keypoints", np.array([[0]]), "indices outside"),
        ("meantex", np.zeros((1, 12)), "different numbers"),
        ("point_buf", np.ones((4, 4), int), "5 vertices"),
        ("meanshape", np.array(["x"]), "meanshape"),
    ],
)
def test_a_damaged_model_is_named(field, value, message):
    arrays = _arrays()
    if value is None:
        del arrays[field]
    else:
        arrays[field] = value
    with pytest.raises(WeightsError, match=message) as caught:
        bfm.from_arrays(arrays, "face.mat")
    assert str(caught.value).startswith("face.mat: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"MATLAB 5.0" + bytes(200), bytes(range(256)) * 8])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "face.mat"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match="face.mat"):
        bfm.load(path)
