"""The shipped model: sound, symmetric, closed; damaged ones are refused."""

from pathlib import Path

import numpy as np
import pytest

from mimaface_cli.builders.face478.bases import fingerprint
from mimaface_cli.builders.face478.learning import mirror_index, mirror_names
from mimaface_cli.errors import WeightsError
from mimaface_cli.face import camera, face478, topology
from mimaface_cli.face.blendshape_scores import logits_to_scores, match_scores, predict_logits
from mimaface_cli.motion.coefficients import BLENDSHAPES, UNSCORED_BLENDSHAPES, blendshape_index

SHIPPED = Path(__file__).parents[2] / "weights" / "face478.npz"
FLIP = np.array([-1, 1, 1])


@pytest.fixture(scope="module")
def model():
    return face478.load(SHIPPED)


@pytest.fixture
def arrays():
    with np.load(SHIPPED) as file:
        return {name: file[name] for name in file}


def test_the_file_is_small_and_its_version_names_its_content(arrays):
    assert SHIPPED.stat().st_size <= 4e6
    version = str(arrays.pop("version"))
    assert version == fingerprint(arrays)
    changed = arrays | {"mean": arrays["mean"] + np.float32(1e-3)}
    assert fingerprint(changed) != version


def test_the_card_and_the_picture_are_of_this_build(model):
    assert f"(version {model.version})" in SHIPPED.with_suffix(".md").read_text(encoding="utf-8")
    assert SHIPPED.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_left_and_right_are_mirror_images(model):
    mirror, names = mirror_index(model.mean), mirror_names()
    assert np.allclose(model.mean[mirror] * FLIP, model.mean, atol=1e-5)
    for name in BLENDSHAPES:
        if name not in UNSCORED_BLENDSHAPES:
            column, other = (
                model.expression_basis[:, :, k] for k in (blendshape_index(name), names[blendshape_index(name)])
            )
            assert np.allclose(column[mirror] * FLIP, other, atol=1e-5), name
    # Principal components come as symmetric or antisymmetric ones.
    for basis in (model.identity_basis, model.expression_basis[:, :, len(BLENDSHAPES) :]):
        columns = basis.reshape(-1, basis.shape[2])
        mirrored = (basis[mirror] * FLIP[:, None]).reshape(columns.shape)
        cosine = (columns * mirrored).sum(0) / (columns**2).sum(0)
        assert np.abs(np.abs(cosine) - 1).max() < 1e-3


def test_the_face_has_the_size_and_place_that_pose_counts_on(model):
    right, left = topology.five_points(model.mean)[:2]
    pixels, _ = camera.project(np.stack([right, left]))
    assert np.linalg.norm(pixels[1] - pixels[0]) == pytest.approx(70.47, abs=0.3)  # the release's 256 template
    assert np.abs(model.mean).max() < 1.1 and np.abs(model.mean[:, :2].mean(0)).max() < 1e-3
    assert model.mean[topology.NOSE_TIP, 2] > model.mean[topology.OVAL, 2].max()
    assert left[0] > right[0] and model.mean[10, 1] > model.mean[topology.CHIN, 1]


def edges_of(triangles: np.ndarray) -> dict[frozenset, int]:
    count: dict[frozenset, int] = {}
    for corners in triangles.tolist():
        for k in range(3):
            edge = frozenset((corners[k], corners[(k + 1) % 3]))
            count[edge] = count.get(edge, 0) + 1
    return count


def ring(points: np.ndarray) -> set[frozenset]:
    return {frozenset(pair) for pair in zip(points.tolist(), np.roll(points, -1).tolist())}


def test_the_skin_is_a_surface_with_holes_at_eyes_and_mouth(model):
    skin = edges_of(model.face)
    assert set(skin.values()) == {1, 2}
    holes = ring(topology.LEFT_EYE) | ring(topology.RIGHT_EYE) | ring(topology.INNER_LIPS)
    rim = {edge for edge, count in skin.items() if count == 1}
    assert rim == holes | ring(topology.OVAL)
    closed = {edge for edge, count in edges_of(model.triangles).items() if count == 1}
    assert closed == ring(topology.OVAL)


def test_triangles_face_the_camera(model):
    a, b, c = (model.mean[model.face[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    assert (normals[:, 2] > -1e-9).all()


def test_shape_and_albedo_are_linear(model):
    rng = np.random.default_rng(0)
    identity, expression, texture = rng.normal(size=80), rng.normal(size=64), rng.normal(size=80)
    assert np.array_equal(model.shape(np.zeros(80), np.zeros(64)), model.mean)
    both = model.shape(identity, expression) - model.mean
    apart = model.shape(identity, np.zeros(64)) + model.shape(np.zeros(80), expression) - 2 * model.mean
    assert np.allclose(both, apart)
    assert np.allclose(model.albedo(2 * texture) - model.albedo_mean, 2 * (model.albedo(texture) - model.albedo_mean))
    assert model.albedo_mean.min() > 0 and model.albedo_mean.max() < 256


@pytest.mark.parametrize("name", ["jawOpen", "mouthSmileLeft", "browInnerUp", "eyeBlinkRight", "mouthPucker"])
def test_a_column_is_seen_as_what_it_is_called(model, name):
    k, expression = blendshape_index(name), np.zeros((2, 64))
    expression[1, k] = 1.0
    rest, moved = logits_to_scores(predict_logits(model, np.zeros(80), expression))
    assert moved[k] > rest[k] + 0.3


def test_wanted_scores_are_met_by_small_movements(model):
    expression = np.zeros((1, 64))
    wanted = logits_to_scores(predict_logits(model, np.zeros(80), expression))
    smile = [blendshape_index("mouthSmileLeft"), blendshape_index("mouthSmileRight")]
    wanted[:, smile] = 0.6
    met = match_scores(model, np.zeros(80), expression, wanted, np.zeros(len(BLENDSHAPES)))
    before, after = (logits_to_scores(predict_logits(model, np.zeros(80), e))[0, smile] for e in (expression, met))
    assert (after > before + 0.3).all() and (after < 0.75).all()
    assert np.abs(model.expression_basis @ met[0]).max() < 0.08


@pytest.mark.parametrize(
    "damage",
    [
        lambda a: a.pop("mean"),
        lambda a: a.pop("version"),
        lambda a: a.pop("score_bias"),
        lambda a: a.update(score_error=-a["score_error"]),
        lambda a: a.update(mean=a["mean"][:-1]),
        lambda a: a.update(identity_basis=np.full_like(a["identity_basis"], np.nan)),
        lambda a: a.update(face=a["face"] + 400),
        lambda a: a.update(face=-a["face"]),
        lambda a: a.update(mouth=a["mouth"].ravel()),
        lambda a: a.update(mean=np.array([{"a": 1}], object)),
        lambda a: a.update(mean=np.array(["x"] * 478)),
    ],
)
def test_damaged_models_are_refused_in_one_line(arrays, damage, tmp_path):
    damage(arrays)
    path = tmp_path / "model.npz"
    np.savez(path, **arrays)
    with pytest.raises(WeightsError) as caught:
        face478.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a zip at all" * 100])
def test_what_is_no_model_is_refused(content, tmp_path):
    path = tmp_path / "model.npz"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="not a face478 model"):
        face478.load(path)


def test_a_missing_model_is_refused(tmp_path):
    with pytest.raises(WeightsError):
        face478.load(tmp_path / "none.npz")


def test_a_model_cut_short_is_refused(tmp_path):
    whole = SHIPPED.read_bytes()
    for share in (0.3, 0.9):
        path = tmp_path / f"{share}.npz"
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(WeightsError):
            face478.load(path)
    path = tmp_path / "flipped.npz"
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :])
    with pytest.raises(WeightsError):
        face478.load(path)
