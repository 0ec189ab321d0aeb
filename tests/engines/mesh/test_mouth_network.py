"""The mouth network: its arithmetic against PyTorch's, and its files."""

import io
import zipfile

import numpy as np
import pytest
import torch
from torch.nn import functional

from mimaface_cli.engines.mesh.mouth_crop import CONDITION_DIM, CROP_HEIGHT, CROP_WIDTH, MOUTH
from mimaface_cli.engines.mesh.part_network import load_network, open_network
from mimaface_cli.errors import InputError, WeightsError
from tests.engines.mesh.mouth_models import make_arrays, write_model


def reference(arrays, planes, condition):
    """The network in PyTorch: planes (8, 128, 192), condition (K,)."""
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items() if name != "version"}

    def convolve(name, values, stride=1):
        return functional.conv2d(values, tensors[f"{name}.weight"], tensors[f"{name}.bias"], stride, 1)

    def layer(name, values, stride=1):
        return functional.leaky_relu(convolve(name, values, stride), 0.1)

    def join(values, link):
        return torch.cat([functional.interpolate(values, scale_factor=2, mode="nearest"), link], 1)

    x0 = layer("e0", functional.pixel_unshuffle(torch.from_numpy(planes)[None], 2))
    x1 = layer("e1b", layer("e1a", x0, 2))
    x2 = layer("e2b", layer("e2a", x1, 2))
    offset = functional.linear(torch.from_numpy(condition), tensors["condition.weight"], tensors["condition.bias"])
    x3 = functional.leaky_relu(convolve("e3a", x2, 2) + offset[None, :, None, None], 0.1)
    x3 = x3 + layer("m0", x3)
    x3 = x3 + layer("m1", x3)
    u2 = layer("d2", join(x3, x2))
    u1 = layer("d1", join(u2, x1))
    u0 = layer("d0", join(u1, x0))
    return functional.pixel_shuffle(convolve("o", u0), 2)[0].numpy()


@pytest.fixture(scope="module")
def planes():
    return np.random.default_rng(1).uniform(-1, 1, (8, CROP_HEIGHT, CROP_WIDTH)).astype(np.float32)


@pytest.fixture(scope="module")
def condition():
    return np.random.default_rng(2).uniform(-1, 1, CONDITION_DIM).astype(np.float32)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return load_network(MOUTH, write_model(tmp_path_factory.mktemp("model") / "mouth.npz"))


def test_network_computes_what_torch_computes(network, planes, condition):
    result = network(planes[:4], network.embed_photo(planes[4:]), condition)
    expected = reference(make_arrays(), planes, condition)
    assert result.shape == expected.shape == (3, CROP_HEIGHT, CROP_WIDTH) and result.dtype == np.float32
    assert np.abs(expected).max() > 0.5
    assert np.abs(result - expected).max() < 1e-4


def test_network_computes_what_torch_computes_with_other_channels(tmp_path, planes, condition):
    arrays = make_arrays(channels=(8, 12, 20, 24))
    np.savez(tmp_path / "small.npz", **arrays)
    small = load_network(MOUTH, tmp_path / "small.npz")
    result = small(planes[:4], small.embed_photo(planes[4:]), condition)
    assert np.abs(result - reference(arrays, planes, condition)).max() < 1e-4


def test_coefficients_beyond_the_training_count_as_its_limits(network, planes, condition):
    photo = network.embed_photo(planes[4:])
    beyond, limit = condition.copy(), condition.copy()
    beyond[:4], limit[:4] = (9, -9, 40, -2), (1, -1, 1, -1)
    at_limit = network(planes[:4], photo, limit)
    assert np.array_equal(network(planes[:4], photo, beyond), at_limit)
    assert np.abs(at_limit - network(planes[:4], photo, condition)).max() > 1e-3


def test_model_file_names_the_model(network, tmp_path):
    path = write_model(tmp_path / "anna.npz")
    assert load_network(MOUTH, path).describe() == {"name": "anna.npz", "version": network.version}
    assert load_network(MOUTH, path).sha256 == network.sha256  # equal weights


def test_changed_model_file_is_read_again(tmp_path):
    path = write_model(tmp_path / "mouth.npz")
    first = load_network(MOUTH, path)
    assert load_network(MOUTH, path) is first
    write_model(path, seed=1)
    assert load_network(MOUTH, path).version != first.version


def test_painted_mouth_needs_no_network():
    assert open_network(MOUTH, "painted") is None


DEFECTS = {
    "missing layer": {"m1.weight": None},
    "missing version": {"version": None},
    "missing limits": {"condition_low": None},
    "wrong shape": {"m1.weight": np.zeros((96, 95, 3, 3), np.float32)},
    "other inputs": {"e0.weight": np.zeros((16, 28, 3, 3), np.float32)},
    "other condition": {"condition.weight": np.zeros((96, 10), np.float32)},
    "scalar": {"e0.weight": np.float32(1)},
    "NaN": {"d0.bias": np.full(16, np.nan, np.float32)},
    "overflow": {"d0.bias": np.full(16, 1e300)},
    "integers": {"d0.bias": np.zeros(16, np.int32)},
    "text": {"d0.bias": np.array(["a"] * 16)},
    "pickle": {"d0.bias": np.array([None] * 16)},
    "reversed limits": {"condition_low": np.full(CONDITION_DIM, 2, np.float32)},
    "long version": {"version": np.array("9" * 50)},
    "version of two lines": {"version": np.array("1\n2")},
    "version of other content": {"version": np.array("0123456789ab")},
    "too many channels": {"e3a.weight": np.zeros((600, 64, 3, 3), np.float32)},
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("defect", DEFECTS)
def test_defective_model_file_is_a_one_line_error(tmp_path, defect):
    path = write_model(tmp_path / "mouth.npz", **DEFECTS[defect])
    with pytest.raises(WeightsError, match=r"mouth\.npz: not a mouth network \(") as caught:
        load_network(MOUTH, path)
    assert "\n" not in str(caught.value)


def test_file_of_another_kind_is_a_one_line_error(tmp_path):
    path = tmp_path / "mouth.npz"
    for content in (b"not a zip file", b"PK\x03\x04", write_model(tmp_path / "a.npz").read_bytes()[:-200]):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"mouth\.npz: not a mouth network \("):
            load_network(MOUTH, path)
    with pytest.raises(InputError, match=r"no such file"):
        load_network(MOUTH, tmp_path / "missing.npz")


def test_file_that_unpacks_to_much_is_refused_before_it_is_unpacked(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("e0.weight.npy", b"\0" * 100_000_000)
    path = tmp_path / "bomb.npz"
    path.write_bytes(buffer.getvalue())
    assert path.stat().st_size < 1_000_000
    with pytest.raises(WeightsError, match="unpacks to more than"):
        load_network(MOUTH, path)
