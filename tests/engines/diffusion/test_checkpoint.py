"""Networks loaded from installed files, and errors for files that do not fit together."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mimaface_cli.engines.diffusion import checkpoint
from mimaface_cli.engines.diffusion.mia import PaperMIA, ReleaseMIA
from mimaface_cli.engines.diffusion.pipeline import Appearance, compute_condition_tokens
from mimaface_cli.engines.diffusion.unet import RELEASE_CONFIG, VideoUNet
from mimaface_cli.errors import WeightsError
from mimaface_cli.face.d3dfr import COEFFICIENT_COUNT
from mimaface_cli.weights.install import import_folder
from tests.conftest import weights_at
from tests.tiny.release import WIDTH


@pytest.fixture
def folder(tiny_weights, tmp_path):
    """A copy of the weights folder to damage."""
    copy = shutil.copytree(tiny_weights, tmp_path / "weights", symlinks=True)
    with weights_at(copy):
        yield copy


def change(path, edit) -> None:
    state = load_file(path)
    edit(state)
    save_file(state, path)


def test_load_networks_returns_frozen_networks_in_eval_mode(installed_tiny_weights):
    networks = checkpoint.load_networks()
    assert isinstance(networks.mia, ReleaseMIA) and networks.needs_identity
    assert networks.unet.max_frames == 32 and networks.vae.config.latent_channels == 4
    for network in (networks.unet, networks.mia, networks.vae):
        assert not network.training and not any(p.requires_grad or p.is_meta for p in network.parameters())
    net, version = checkpoint.load_coefficient_net()
    readers = checkpoint.load_portrait_networks(net)
    assert readers.identity is not None and len(version) == 12
    assert len(checkpoint.load_face_model().landmarks) == 68


def test_fingerprint_changes_with_the_weights(folder, release_folder, tmp_path):
    before = checkpoint.fingerprint_weights(), checkpoint.fingerprint_weights("mimaface/d3dfr.safetensors")
    assert before == (checkpoint.fingerprint_weights(), checkpoint.fingerprint_weights("mimaface/d3dfr.safetensors"))
    other = shutil.copytree(release_folder, tmp_path / "other")
    path = other / "checkpoints/video/mim.pth"
    torch.save({key: value + 1 for key, value in torch.load(path, weights_only=True).items()}, path)
    import_folder(other, ["mimaface"])
    assert checkpoint.fingerprint_weights() != before[0]
    assert checkpoint.fingerprint_weights("mimaface/d3dfr.safetensors") == before[1]


def test_load_networks_accepts_the_papers_mia(folder, release_folder, tmp_path):
    other = shutil.copytree(release_folder, tmp_path / "paper")
    (other / "checkpoints/video/mim.pth").unlink()
    paper_mia = PaperMIA(WIDTH, WIDTH, heads=4)
    save_file(paper_mia.state_dict(), other / "checkpoints/video/mim.pth", metadata={"heads": "4"})
    import_folder(other, ["mimaface"])
    networks = checkpoint.load_networks()
    assert isinstance(networks.mia, PaperMIA) and not networks.needs_identity
    assert networks.mia.adapter.resblocks[0].attn.heads == 4
    coefficients = np.random.default_rng(0).normal(size=(3, COEFFICIENT_COUNT)).astype(np.float32)
    tokens = compute_condition_tokens(
        networks.mia, Appearance(torch.randn(1, 17, WIDTH)), torch.from_numpy(coefficients)[None]
    )
    assert tokens.shape == (1, 3, 17, WIDTH) and (tokens[0, 0] - tokens[0, 1]).abs().max() > 0


def test_build_unet_lists_keys_that_do_not_fit(folder):
    path = folder / "mimaface/image/unet.safetensors"
    change(path, lambda state: state.update({"up_blocks.9.new.weight": state.pop("conv_out.bias")}))
    text = r"1 missing \(conv_out.bias\); 1 unexpected \(up_blocks.9.new.weight\)"
    with pytest.raises(WeightsError, match=f"image/unet.safetensors with .*{text}"):
        # Not by load_networks: the manifest would notice the change first.
        state = {**load_file(path), **load_file(folder / "mimaface/video/unet.safetensors")}
        config = json.loads((folder / "mimaface/image/unet.json").read_text())
        checkpoint.build_unet(config, state, f"{path} with another")


def test_build_unet_refuses_an_invalid_config():
    with pytest.raises(WeightsError, match=r"x: its config\.json is not one of a UNet"):
        checkpoint.build_unet({"block_out_channels": [8]}, {}, "x")


def test_build_unet_builds_the_full_size_release():
    with torch.device("meta"):
        state = VideoUNet(RELEASE_CONFIG).state_dict()
    config = {"_class_name": "UNet2DConditionModel", "sample_size": 64, "center_input_sample": False, "in_channels": 13}
    unet = checkpoint.build_unet(config, state, "release")
    assert sum(p.numel() for p in unet.parameters()) + sum(b.numel() for b in unet.buffers()) == 1_277_810_884
    assert unet.max_frames == 32


def test_load_networks_refuses_tokens_of_another_width(folder):
    from mimaface_cli.weights import manifest

    path = folder / "mimaface/video/mia.safetensors"
    other_mia = ReleaseMIA(2 * WIDTH, WIDTH, 16 * 7 * 7)
    save_file(other_mia.state_dict(), path)
    info = path.stat()
    entry = manifest.ManifestEntry(info.st_size, info.st_mtime_ns, manifest.sha256_of(path), "test", "test")
    manifest.record(folder, "mimaface/video/mia.safetensors", entry)
    with pytest.raises(WeightsError, match=f"tokens have width {2 * WIDTH}, but the UNet .* takes {WIDTH}"):
        checkpoint.load_networks()
