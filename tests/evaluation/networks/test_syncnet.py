"""SyncNet on random weights against its layers written out; MFCC and LSE against other implementations."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's usual name for it)

from mimaface_cli.evaluation.functional.lip_sync_error import SHIFT, lip_sync_error
from mimaface_cli.evaluation.functional.mfcc import mfcc
from mimaface_cli.evaluation.networks.pretrained import load_network
from mimaface_cli.evaluation.networks.syncnet import SyncNet, embed_audio_windows, embed_lip_window
from tests.evaluation.networks.random_weights import install_weights, randomize_batch_norms

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def network() -> SyncNet:
    torch.manual_seed(3)
    model = randomize_batch_norms(SyncNet())
    for head in (model.netfcaud, model.netfclip):
        head[1].running_mean.normal_(0, 0.1)
        head[1].running_var.uniform_(0.5, 1.5)
    return model.requires_grad_(False)


def stage(state: dict, prefix: str, index: int, x: torch.Tensor, **settings) -> torch.Tensor:
    """Apply a convolution, a batch norm and a ReLU by their tensors."""
    convolve = F.conv3d if x.ndim == 5 else F.conv2d
    x = convolve(x, state[f"{prefix}.{index}.weight"], state[f"{prefix}.{index}.bias"], **settings)
    name = f"{prefix}.{index + 1}"
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return F.relu(F.batch_norm(x, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-5))


def head(state: dict, prefix: str, x: torch.Tensor) -> torch.Tensor:
    x = F.linear(x.flatten(1), state[f"{prefix}.0.weight"], state[f"{prefix}.0.bias"])
    mean, variance = state[f"{prefix}.1.running_mean"], state[f"{prefix}.1.running_var"]
    x = F.relu(F.batch_norm(x, mean, variance, state[f"{prefix}.1.weight"], state[f"{prefix}.1.bias"]))
    return F.linear(x, state[f"{prefix}.3.weight"], state[f"{prefix}.3.bias"])


def test_audio_stream_agrees_with_its_layers_written_out(network):
    state = network.state_dict()
    windows = RNG.normal(0, 10, (2, 13, 20)).astype(np.float32)
    x = torch.from_numpy(windows)[:, None]
    x = F.max_pool2d(stage(state, "netcnnaud", 0, x, padding=1), 1)
    x = F.max_pool2d(stage(state, "netcnnaud", 4, x, padding=1), 3, (1, 2))
    x = stage(state, "netcnnaud", 8, x, padding=1)
    x = stage(state, "netcnnaud", 11, x, padding=1)
    x = F.max_pool2d(stage(state, "netcnnaud", 14, x, padding=1), 3, 2)
    x = stage(state, "netcnnaud", 18, x)
    expected = head(state, "netfcaud", x).numpy()
    assert expected.std() > 1e-3
    assert embed_audio_windows(network, windows) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_lip_stream_agrees_with_its_layers_written_out(network):
    state = network.state_dict()
    frames = RNG.integers(0, 256, (5, 224, 224, 3)).astype(np.uint8)
    x = torch.from_numpy(frames[..., [2, 1, 0]].copy()).permute(3, 0, 1, 2)[None].float()
    x = F.max_pool3d(stage(state, "netcnnlip", 0, x, stride=(1, 2, 2)), (1, 3, 3), (1, 2, 2))
    x = stage(state, "netcnnlip", 4, x, stride=(1, 2, 2), padding=(0, 1, 1))
    x = F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    for index in (8, 11, 14):
        x = stage(state, "netcnnlip", index, x, padding=(0, 1, 1))
    x = stage(state, "netcnnlip", 18, F.max_pool3d(x, (1, 3, 3), (1, 2, 2)))
    assert x.shape == (1, 512, 1, 1, 1)
    expected = head(state, "netfclip", x)[0].numpy()
    assert embed_lip_window(network, frames) == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_load_network_accepts_the_tensors_of_the_release(network, tmp_path, monkeypatch):
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", str(tmp_path))
    state = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    install_weights(tmp_path, "metrics/syncnet.safetensors", state)
    windows = np.zeros((1, 13, 20), np.float32)
    loaded = load_network("lse")
    assert (embed_audio_windows(loaded, windows) == embed_audio_windows(network, windows)).all()


def test_mfcc_agrees_with_python_speech_features():
    reference = pytest.importorskip("python_speech_features", reason="python_speech_features is not installed")
    for count in (300, 400, 16_000, 16_077):
        samples = RNG.normal(0, 3000, count).astype(np.int16)
        assert mfcc(samples) == pytest.approx(reference.mfcc(samples, 16_000), rel=1e-9, abs=1e-9)


def test_mfcc_of_silence_is_finite():
    values = mfcc(np.zeros(4000))
    assert np.isfinite(values).all() and values.shape == (24, 13) and mfcc(np.zeros(0)).shape == (0, 13)


def test_lip_sync_error_agrees_with_pytorch():
    lips, audio = RNG.normal(size=(2, 40, 16)).astype(np.float32)
    padded = F.pad(torch.from_numpy(audio), (0, 0, SHIFT, SHIFT))
    distances = [
        F.pairwise_distance(torch.from_numpy(lips[[k]]).repeat(31, 1), padded[k : k + 31]) for k in range(len(lips))
    ]
    means = torch.stack(distances, 1).mean(1)
    error = lip_sync_error(lips, audio, np.arange(40))
    assert error.distance == pytest.approx(means.min().item(), abs=1e-5)
    assert error.confidence == pytest.approx((means.median() - means.min()).item(), abs=1e-5)


@pytest.mark.parametrize("late", [-4, 0, 7])
def test_lip_sync_error_detects_a_known_shift(late):
    track = RNG.normal(size=(80, 16))
    frames = np.arange(20, 60)
    error = lip_sync_error(track[frames - late], track, frames)
    assert error.offset == -late and error.distance < 1e-4 and error.confidence > 1
