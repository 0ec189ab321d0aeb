"""The measuring networks against others' implementations with the same weights, and what is said without weights."""

import sys
import types
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mimaface_cli.errors import WeightsError
from mimaface_cli.evaluation.networks import pretrained
from mimaface_cli.evaluation.networks.i3d import LEAST_FRAMES, I3d, clip_features, pad_same
from mimaface_cli.evaluation.networks.inception import FidInception, picture_features
from mimaface_cli.evaluation.networks.lpips import LpipsNetwork, convert_release, lpips_distance
from mimaface_cli.weights import manifest
from mimaface_cli.weights.registry import find_asset


@pytest.fixture(autouse=True)
def weights(tmp_path, monkeypatch):
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", str(tmp_path / "weights"))
    return tmp_path / "weights"


def install(folder: Path, path: str, state: dict[str, torch.Tensor] | bytes) -> None:
    """Weights as `weights pull` leaves them."""
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(state) if isinstance(state, bytes) else save_file(state, target)
    info, digest = target.stat(), manifest.sha256_of(target)
    manifest.record(folder, path, manifest.ManifestEntry(info.st_size, info.st_mtime_ns, digest, "made here", digest))


def lively(model: nn.Module) -> nn.Module:
    """Batch norms that do something."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.8, 1.5)
    return model.eval()


def test_without_weights_it_is_said_what_to_pull():
    for network, (asset, _) in pretrained.NETWORK_FILES.items():
        assert pretrained.missing_weights(network) == f"needs weights {asset}: mimaface weights pull {asset}"
        with pytest.raises(WeightsError, match=f"needs weights {asset}"):
            pretrained.load_network(network)


def test_the_inception_network_is_that_of_fid(monkeypatch, tmp_path):
    spec = find_spec("torch_fidelity")
    if spec is None:
        pytest.skip("torch-fidelity is not installed")
    # Its package imports torchvision, which this network does not need.
    bare = types.ModuleType("torch_fidelity")
    bare.__path__ = list(spec.submodule_search_locations)
    monkeypatch.setitem(sys.modules, "torch_fidelity", bare)
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    own = lively(FidInception())
    state = dict(own.state_dict()) | {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    torch.save(state, tmp_path / "theirs.pth")
    theirs = FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=tmp_path / "theirs.pth")
    pictures = torch.randint(0, 256, (1, 3, 299, 299), dtype=torch.uint8)
    with torch.inference_mode():
        wanted, got = theirs(pictures)[0], own((pictures.float() - 128) / 128)
    assert wanted.std() > 1e-3
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_lpips_is_that_of_torchmetrics(monkeypatch):
    theirs = pytest.importorskip("torchmetrics.functional.image.lpips", reason="torchmetrics is not installed")
    torch.manual_seed(1)
    own = LpipsNetwork()
    released = Path(theirs.__file__).parent / "lpips_models" / "alex.pth"
    heads = torch.load(released, map_location="cpu", weights_only=True)
    own.load_state_dict(
        convert_release({k: v for k, v in own.state_dict().items() if k.startswith("features")} | heads)
    )

    def alexnet(weights=None):
        return types.SimpleNamespace(features=nn.Sequential(*own.features, nn.MaxPool2d(3, 2)))

    fake = types.ModuleType("torchvision")
    fake.models = types.SimpleNamespace(alexnet=alexnet)
    monkeypatch.setitem(sys.modules, "torchvision", fake)
    monkeypatch.setattr(theirs, "_TORCHVISION_AVAILABLE", True)
    net = theirs._LPIPS(pretrained=True, net="alex", pnet_rand=True).eval()
    first, second = np.random.default_rng(0).integers(0, 256, (2, 96, 128, 3)).astype(np.uint8)
    a, b = (torch.from_numpy(p).permute(2, 0, 1)[None].float() / 127.5 - 1 for p in (first, second))
    with torch.inference_mode():
        wanted = net(a, b).item()
    assert wanted > 0.01 and lpips_distance(own, first, second) == pytest.approx(wanted, rel=1e-5)
    assert lpips_distance(own, first, first) == 0
    assert lpips_distance(own, first[:20, :20], second[:20, :20]) > 0  # smaller than AlexNet sees


def test_i3d_has_the_released_parameters_and_pads_as_tensorflow_does():
    with torch.device("meta"):
        model = I3d()
    assert sum(p.numel() for p in model.parameters()) == 12_697_264
    names = set(model.state_dict())
    assert {
        "Conv3d_1a_7x7.conv3d.weight",
        "Mixed_4f.b2b.bn.running_var",
        "Mixed_5c.b3b.conv3d.weight",
        "logits.conv3d.bias",
    } <= names
    for size in range(5, 12):
        for kernel, stride in ((7, 2), (3, 2), (3, 1), (2, 2)):
            x = torch.zeros(1, 1, 1, 1, size)
            out = pad_same(x, (1, 1, kernel), (1, 1, stride)).unfold(4, kernel, stride)
            assert out.shape[4] == -(-size // stride)


def test_a_clip_gives_features_that_tell_clips_apart():
    model = lively(I3d())
    still = np.full((LEAST_FRAMES, 32, 32, 3), 90, np.uint8)
    moving = np.stack([np.full((32, 32, 3), 20 * k, np.uint8) for k in range(LEAST_FRAMES)])
    first, second = clip_features(model, still), clip_features(model, moving)
    assert first.shape == (400,) and np.isfinite(first).all() and (first != second).any()


def test_what_is_needed_is_what_the_registry_brings():
    for asset, paths in pretrained.NETWORK_FILES.values():
        assert set(paths) <= {file.path for file in find_asset(asset).files}


def test_weights_are_read_from_their_folder_with_and_without_what_training_leaves(weights):
    state = lively(FidInception()).state_dict()
    trimmed = {"module." + k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    install(weights, "metrics/inception.safetensors", trimmed | {"module.fc.weight": torch.zeros(2, 2)})
    assert pretrained.missing_weights("fid") is None
    model = pretrained.load_network("fid")
    assert pretrained.load_network("fid") is model  # kept
    assert picture_features(model, np.zeros((2, 40, 50, 3), np.uint8)).shape == (2, 2048)


def test_other_bytes_in_their_place_are_told(weights):
    install(weights, "metrics/i3d.safetensors", b"not tensors at all")
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        pretrained.load_network("fvd")
    install(weights, "metrics/i3d.safetensors", {"a": torch.zeros(1)})
    with pytest.raises(WeightsError, match="does not hold the weights of this model"):
        pretrained.load_network("fvd")
    (weights / "metrics" / "i3d.safetensors").write_bytes(b"short")
    assert "metrics/i3d.safetensors has 5 bytes" in pretrained.missing_weights("fvd")
