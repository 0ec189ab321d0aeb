"""Loading of the metric networks: missing, complete, damaged and foreign weights."""

import numpy as np
import pytest
import torch

from mimaface_cli.errors import WeightsError
from mimaface_cli.evaluation.networks.inception import FidInception, inception_features
from mimaface_cli.evaluation.networks.pretrained import NETWORK_FILES, load_network, missing_weights
from mimaface_cli.weights.registry import find_asset
from tests.evaluation.networks.random_weights import install_weights, randomize_batch_norms


@pytest.fixture(autouse=True)
def weights(tmp_path, monkeypatch):
    """An empty weights folder."""
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", str(tmp_path / "weights"))
    return tmp_path / "weights"


def test_missing_weights_name_the_command_that_installs_them():
    for network, (asset, _) in NETWORK_FILES.items():
        assert missing_weights(network) == f"needs the {asset} weights; run mimaface weights pull {asset}"
        with pytest.raises(WeightsError, match=f"needs the {asset} weights"):
            load_network(network)


def test_network_files_are_files_of_their_registry_assets():
    for asset, paths in NETWORK_FILES.values():
        assert set(paths) <= {file.path for file in find_asset(asset).files}


def test_load_network_accepts_prefixes_classifiers_and_missing_counters(weights):
    state = randomize_batch_norms(FidInception()).state_dict()
    release = {"module." + key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    install_weights(weights, "metrics/inception.safetensors", release | {"module.fc.weight": torch.zeros(2, 2)})
    assert missing_weights("fid") is None
    model = load_network("fid")
    assert load_network("fid") is model
    assert inception_features(model, np.zeros((2, 40, 50, 3), np.uint8)).shape == (2, 2048)


def test_load_network_refuses_damaged_and_foreign_weights(weights):
    install_weights(weights, "metrics/i3d.safetensors", b"not tensors at all")
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        load_network("fvd")
    install_weights(weights, "metrics/i3d.safetensors", {"a": torch.zeros(1)})
    with pytest.raises(WeightsError, match="does not contain the weights of this model"):
        load_network("fvd")
    (weights / "metrics" / "i3d.safetensors").write_bytes(b"short")
    assert "metrics/i3d.safetensors has 5 bytes" in missing_weights("fvd")
