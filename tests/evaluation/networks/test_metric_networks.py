"""The metric networks against other implementations with the same weights."""

import sys
import types
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mimaface_cli.evaluation.networks.i3d import MIN_FRAMES, I3d, i3d_features, pad_same
from mimaface_cli.evaluation.networks.inception import FidInception
from mimaface_cli.evaluation.networks.lpips import LpipsNetwork, convert_release, lpips_distance
from tests.evaluation.networks.random_weights import randomize_batch_norms


def test_inception_agrees_with_torch_fidelity(monkeypatch, tmp_path):
    spec = find_spec("torch_fidelity")
    if spec is None:
        pytest.skip("torch-fidelity is not installed")
    # The package itself imports torchvision, which this network does not need.
    package = types.ModuleType("torch_fidelity")
    package.__path__ = list(spec.submodule_search_locations)
    monkeypatch.setitem(sys.modules, "torch_fidelity", package)
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    model = randomize_batch_norms(FidInception())
    state = dict(model.state_dict()) | {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    torch.save(state, tmp_path / "reference.pth")
    reference = FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=tmp_path / "reference.pth")
    images = torch.randint(0, 256, (1, 3, 299, 299), dtype=torch.uint8)
    with torch.inference_mode():
        expected, features = reference(images)[0], model((images.float() - 128) / 128)
    assert expected.std() > 1e-3
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


def test_lpips_agrees_with_torchmetrics(monkeypatch):
    reference = pytest.importorskip("torchmetrics.functional.image.lpips", reason="torchmetrics is not installed")
    torch.manual_seed(1)
    network = LpipsNetwork()
    release = Path(reference.__file__).parent / "lpips_models" / "alex.pth"
    heads = torch.load(release, map_location="cpu", weights_only=True)
    backbone = {key: value for key, value in network.state_dict().items() if key.startswith("features")}
    network.load_state_dict(convert_release(backbone | heads))

    def alexnet(weights=None):
        return types.SimpleNamespace(features=nn.Sequential(*network.features, nn.MaxPool2d(3, 2)))

    torchvision = types.ModuleType("torchvision")
    torchvision.models = types.SimpleNamespace(alexnet=alexnet)
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)
    monkeypatch.setattr(reference, "_TORCHVISION_AVAILABLE", True)
    reference_network = reference._LPIPS(pretrained=True, net="alex", pnet_rand=True).eval()
    first, second = np.random.default_rng(0).integers(0, 256, (2, 96, 128, 3)).astype(np.uint8)
    a, b = (torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1 for image in (first, second))
    with torch.inference_mode():
        expected = reference_network(a, b).item()
    assert expected > 0.01 and lpips_distance(network, first, second) == pytest.approx(expected, rel=1e-5)
    assert lpips_distance(network, first, first) == 0
    assert lpips_distance(network, first[:20, :20], second[:20, :20]) > 0  # below AlexNet's smallest size


def test_i3d_has_the_parameters_of_the_release():
    with torch.device("meta"):
        model = I3d()
    assert sum(parameter.numel() for parameter in model.parameters()) == 12_697_264
    assert {
        "Conv3d_1a_7x7.conv3d.weight",
        "Mixed_4f.b2b.bn.running_var",
        "Mixed_5c.b3b.conv3d.weight",
        "logits.conv3d.bias",
    } <= set(model.state_dict())


def test_pad_same_has_the_output_sizes_of_tensorflow():
    for size in range(5, 12):
        for kernel, stride in ((7, 2), (3, 2), (3, 1), (2, 2)):
            x = torch.zeros(1, 1, 1, 1, size)
            windows = pad_same(x, (1, 1, kernel), (1, 1, stride)).unfold(4, kernel, stride)
            assert windows.shape[4] == -(-size // stride)


def test_i3d_features_differ_between_clips():
    model = randomize_batch_norms(I3d())
    still = np.full((MIN_FRAMES, 32, 32, 3), 90, np.uint8)
    fade = np.stack([np.full((32, 32, 3), 20 * k, np.uint8) for k in range(MIN_FRAMES)])
    first, second = i3d_features(model, still), i3d_features(model, fade)
    assert first.shape == (400,) and np.isfinite(first).all() and (first != second).any()
