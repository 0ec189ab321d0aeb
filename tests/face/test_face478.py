"""The shipped face478 model: symmetric, closed and consistent; damaged files are rejected."""

import numpy as np
import pytest

from mimaface_cli.builders.face478.model_arrays import compute_fingerprint
from mimaface_cli.builders.face478.symmetry import pair_blendshapes, pair_vertices
from mimaface_cli.errors import WeightsError
from mimaface_cli.face import camera, face478, topology
from mimaface_cli.motion.coefficients import BLENDSHAPES, UNSCORED_BLENDSHAPES, blendshape_index
from tests.conftest import ROOT
from tests.face.mesh_edges import count_edges

SHIPPED = ROOT / "weights" / "face478.npz"
FLIP = np.array([-1, 1, 1])


@pytest.fixture(scope="module")
def shipped_arrays():
    with np.load(SHIPPED) as file:
        return {name: file[name] for name in file}


def test_shipped_file_is_small_and_its_version_is_the_fingerprint_of_its_content(shipped_arrays):
    assert SHIPPED.stat().st_size <= 4e6
    arrays = dict(shipped_arrays)
    version = str(arrays.pop("version"))
    assert version == compute_fingerprint(arrays)
    changed = arrays | {"mean": arrays["mean"] + np.float32(1e-3)}
    assert compute_fingerprint(changed) != version


def test_model_card_and_overview_image_belong_to_the_shipped_build(model):
    assert f"(version {model.version})" in SHIPPED.with_suffix(".md").read_text(encoding="utf-8")
    assert SHIPPED.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_left_and_right_are_mirror_images(model):
    mirror, names = pair_vertices(model.mean), pair_blendshapes()
    assert np.allclose(model.mean[mirror] * FLIP, model.mean, atol=1e-5)
    for name in BLENDSHAPES:
        if name not in UNSCORED_BLENDSHAPES:
            index = blendshape_index(name)
            column, other = (model.expression_basis[:, :, number] for number in (index, names[index]))
            assert np.allclose(column[mirror] * FLIP, other, atol=1e-5), name
    # Each principal component is symmetric or antisymmetric.
    for basis in (model.identity_basis, model.expression_basis[:, :, len(BLENDSHAPES) :]):
        columns = basis.reshape(-1, basis.shape[2])
        mirrored = (basis[mirror] * FLIP[:, None]).reshape(columns.shape)
        cosine = (columns * mirrored).sum(0) / (columns**2).sum(0)
        assert np.abs(np.abs(cosine) - 1).max() < 1e-3


def test_mean_face_has_the_size_and_place_that_pose_assumes(model):
    right, left = topology.five_points(model.mean)[:2]
    pixels, _ = camera.project(np.stack([right, left]))
    assert np.linalg.norm(pixels[1] - pixels[0]) == pytest.approx(70.47, abs=0.3)  # the release's 256 template
    assert np.abs(model.mean).max() < 1.1 and np.abs(model.mean[:, :2].mean(0)).max() < 1e-3
    assert model.mean[topology.NOSE_TIP, 2] > model.mean[topology.OVAL, 2].max()
    assert left[0] > right[0] and model.mean[10, 1] > model.mean[topology.CHIN, 1]


def ring_edges(points: np.ndarray) -> set[frozenset]:
    return {frozenset(pair) for pair in zip(points.tolist(), np.roll(points, -1).tolist(), strict=True)}


def test_skin_is_a_surface_with_holes_at_eyes_and_mouth(model):
    skin = count_edges(model.face)
    assert set(skin.values()) == {1, 2}
    holes = ring_edges(topology.LEFT_EYE) | ring_edges(topology.RIGHT_EYE) | ring_edges(topology.INNER_LIPS)
    rim = {edge for edge, count in skin.items() if count == 1}
    assert rim == holes | ring_edges(topology.OVAL)
    rim_of_all = {edge for edge, count in count_edges(model.triangles).items() if count == 1}
    assert rim_of_all == ring_edges(topology.OVAL)


def test_triangles_face_the_camera(model):
    a, b, c = (model.mean[model.face[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    assert (normals[:, 2] > -1e-9).all()


def test_shape_and_albedo_are_linear_in_the_coefficients(model):
    rng = np.random.default_rng(0)
    identity, expression, texture = rng.normal(size=80), rng.normal(size=64), rng.normal(size=80)
    assert np.array_equal(model.shape(np.zeros(80), np.zeros(64)), model.mean)
    both = model.shape(identity, expression) - model.mean
    separate = model.shape(identity, np.zeros(64)) + model.shape(np.zeros(80), expression) - 2 * model.mean
    assert np.allclose(both, separate)
    assert np.allclose(model.albedo(2 * texture) - model.albedo_mean, 2 * (model.albedo(texture) - model.albedo_mean))
    assert model.albedo_mean.min() > 0 and model.albedo_mean.max() < 256


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays: arrays.pop("mean"),
        lambda arrays: arrays.pop("version"),
        lambda arrays: arrays.pop("score_bias"),
        lambda arrays: arrays.update(score_error=-arrays["score_error"]),
        lambda arrays: arrays.update(mean=arrays["mean"][:-1]),
        lambda arrays: arrays.update(identity_basis=np.full_like(arrays["identity_basis"], np.nan)),
        lambda arrays: arrays.update(face=arrays["face"] + 400),
        lambda arrays: arrays.update(face=-arrays["face"]),
        lambda arrays: arrays.update(mouth=arrays["mouth"].ravel()),
        lambda arrays: arrays.update(mean=np.array([{"a": 1}], object)),
        lambda arrays: arrays.update(mean=np.array(["x"] * 478)),
    ],
    ids=[
        "no mean",
        "no version",
        "no score bias",
        "negative covariance",
        "short mean",
        "nan",
        "large index",
        "negative index",
        "flat triangles",
        "pickled object",
        "text",
    ],
)
def test_load_rejects_damaged_models_with_a_one_line_error(shipped_arrays, damage, tmp_path):
    arrays = dict(shipped_arrays)
    damage(arrays)
    path = tmp_path / "model.npz"
    np.savez(path, **arrays)
    with pytest.raises(WeightsError) as caught:
        face478.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a zip at all" * 100], ids=["empty", "zip start", "text"])
def test_load_rejects_files_of_another_kind(content, tmp_path):
    path = tmp_path / "model.npz"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="not a face478 model"):
        face478.load(path)


def test_load_rejects_a_missing_file(tmp_path):
    with pytest.raises(WeightsError):
        face478.load(tmp_path / "none.npz")


def test_load_rejects_truncated_files_and_changed_bytes(tmp_path):
    content = SHIPPED.read_bytes()
    middle = len(content) // 2
    damaged = {
        "0.3.npz": content[: int(0.3 * len(content))],
        "0.9.npz": content[: int(0.9 * len(content))],
        "flipped.npz": content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :],
    }
    for name, data in damaged.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(WeightsError):
            face478.load(tmp_path / name)
