"""The lip network's file: exact round trip, one-line errors for damaged files."""

from pathlib import Path

import numpy as np
import pytest

from mimaface_cli.errors import WeightsError
from mimaface_cli.speech.lip_model_file import load_lip_model, save_lip_model


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("lips") / "saved.npz"
    save_lip_model(path, load_lip_model())
    return path


@pytest.fixture(scope="module")
def arrays(saved_model) -> dict[str, np.ndarray]:
    with np.load(saved_model) as file:
        return dict(file)


def test_save_and_load_lip_model_round_trip_is_exact(saved_model):
    model, again = load_lip_model(), load_lip_model(saved_model)
    features = np.random.default_rng(0).standard_normal((80, model.front_end.width)).astype(np.float32)
    assert np.array_equal(again.predict(features), model.predict(features)) and again.version == model.version
    samples = features.ravel()[:4000]
    assert np.array_equal(
        again.front_end.encoder.compute_hidden_states(samples), model.front_end.encoder.compute_hidden_states(samples)
    )


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\3\4 torn"], ids=["empty", "text", "truncated"])
def test_load_lip_model_refuses_other_files_with_one_line(tmp_path, content):
    path = tmp_path / "lips.npz"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"lips\.npz: not a lip model") as failure:
        load_lip_model(path)
    assert "\n" not in str(failure.value)


def test_load_lip_model_refuses_a_model_without_an_encoder(tmp_path, arrays):
    path = tmp_path / "old.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if not name.startswith("encoder")})
    with pytest.raises(WeightsError, match=r"old\.npz: not a lip model"):
        load_lip_model(path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("rest", lambda array: array[:3]),
        ("rest", lambda array: array * np.nan),
        ("gap_curve", lambda array: array[:, ::-1]),
        ("gap_curve", lambda array: array[0]),
        ("net0/out.weight", lambda array: array[:, :5]),
        ("nets", lambda array: np.array(0)),
        ("encoder_basis", lambda array: array[:7]),
    ],
    ids=["short rest", "NaN", "falling curve", "half a curve", "narrow layer", "no networks", "short basis"],
)
def test_load_lip_model_refuses_wrong_shapes_and_values(tmp_path, arrays, name, change):
    path = tmp_path / "lips.npz"
    np.savez(path, **(arrays | {name: change(arrays[name])}))
    with pytest.raises(WeightsError, match=r"lips\.npz: not a lip model"):
        load_lip_model(path)
