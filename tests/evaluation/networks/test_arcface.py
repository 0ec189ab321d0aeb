"""ArcFace on random weights against its layers written out."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's usual name for it)

from mimaface_cli.errors import WeightsError
from mimaface_cli.evaluation.networks.arcface import SIDE, TEMPLATE, ArcFace, embed_face
from mimaface_cli.evaluation.networks.pretrained import load_network
from tests.evaluation.networks.random_weights import install_weights, randomize_batch_norms


def make_network() -> ArcFace:
    torch.manual_seed(5)
    model = randomize_batch_norms(ArcFace((2, 1, 3, 1), (8, 16, 32, 64)))
    model.features.running_var.uniform_(0.5, 1.5)
    return model.requires_grad_(False)


def normalize(state: dict, name: str, x: torch.Tensor) -> torch.Tensor:
    keys = ("running_mean", "running_var", "weight", "bias")
    return F.batch_norm(x, *(state[f"{name}.{key}"] for key in keys), eps=1e-5)


def embed(state: dict, x: torch.Tensor) -> torch.Tensor:
    """Compute the embedding from the tensors alone, as the paper of ArcFace describes the improved residual unit."""
    x = F.prelu(normalize(state, "bn1", F.conv2d(x, state["conv1.weight"], padding=1)), state["prelu.weight"])
    for stage in range(1, 5):
        for unit in range(9):
            name = f"layer{stage}.{unit}"
            if f"{name}.conv1.weight" not in state:
                break
            stride = 2 if unit == 0 else 1
            y = F.conv2d(normalize(state, f"{name}.bn1", x), state[f"{name}.conv1.weight"], padding=1)
            y = F.prelu(normalize(state, f"{name}.bn2", y), state[f"{name}.prelu.weight"])
            y = normalize(state, f"{name}.bn3", F.conv2d(y, state[f"{name}.conv2.weight"], stride=stride, padding=1))
            if unit == 0:
                x = normalize(
                    state, f"{name}.downsample.1", F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=2)
                )
            x = x + y
    x = normalize(state, "bn2", x).flatten(1)
    return normalize(state, "features", F.linear(x, state["fc.weight"], state["fc.bias"]))


def test_arcface_agrees_with_its_layers_written_out():
    network = make_network()
    x = torch.randn(2, 3, SIDE, SIDE)
    expected = embed(network.state_dict(), x)
    assert expected.std() > 1e-3
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-5)


def test_arcface_has_the_parameters_of_r100():
    with torch.device("meta"):
        network = ArcFace()
    assert sum(parameter.numel() for parameter in network.parameters()) == 65_156_160
    assert {"layer3.29.bn3.weight", "layer4.0.downsample.0.weight", "features.running_mean"} <= set(
        network.state_dict()
    )


def test_embed_face_aligns_by_the_template_and_uses_installed_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", str(tmp_path))
    state = {key: value for key, value in make_network().state_dict().items() if "num_batches" not in key}
    install_weights(tmp_path, "metrics/arcface.safetensors", state)
    image = np.random.default_rng(1).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    x = torch.from_numpy(image[5 : 5 + SIDE, 3 : 3 + SIDE].copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    found = embed_face(
        load_network("arcface"), image, TEMPLATE + np.array([3, 5])
    )  # a face that only has to be shifted
    assert found == pytest.approx(embed(state, x)[0].numpy(), rel=1e-3, abs=1e-4)
    with pytest.raises(WeightsError, match="does not contain the weights"):
        ArcFace.from_state({"conv1.weight": torch.zeros(8, 3, 3, 3)}, "x")
