"""Training from Stable Diffusion, CLIP and AnimateDiff in the Basel space, and import of the exported model."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mimaface_cli.engines.diffusion import checkpoint
from mimaface_cli.engines.diffusion.mia import PaperMIA
from mimaface_cli.training.config_reader import build_config
from mimaface_cli.training.run_checkpoints import list_checkpoints, read_checkpoint
from mimaface_cli.training.stages import train_image, train_video
from mimaface_cli.weights.install import import_folder
from tests.conftest import weights_at
from tests.training.noise_data import write_noise_data

SIZE = 64


@pytest.fixture(scope="module")
def trained(training_weights, tmp_path_factory) -> Path:
    """The output of a run of two steps per stage. Read-only."""
    folder = tmp_path_factory.mktemp("run")
    write_noise_data(folder / "data", "bfm09", SIZE, clips=4, people=2, frames=4)
    optimizer = {"steps": 2, "batch": 2, "learning_rate": 1e-3, "ema": 0.5}
    config = build_config(
        {
            "data": str(folder / "data"),
            "output": str(folder / "run"),
            "size": SIZE,
            "workers": 0,
            "image": {"optimizer": optimizer, "bank": 8},
            "video": {"optimizer": optimizer, "clip": 4},
        }
    )
    with weights_at(training_weights):
        train_image(config)
        assert train_video(config) == folder / "run/model"
    return folder / "run"


def last_checkpoint(run: Path, stage: str) -> dict:
    return read_checkpoint(list_checkpoints(run / stage)[-1])


def test_image_stage_trains_all_networks_but_the_unused_norm(trained):
    names = last_checkpoint(trained, "image")["average"].keys()
    for prefix in ("unet.", "mia.", "clip."):
        assert any(name.startswith(prefix) for name in names)
    assert not any("post_layernorm" in name for name in names)


def test_video_stage_trains_motion_modules_from_animatediff_and_input_weight(trained, training_weights):
    state = last_checkpoint(trained, "video")
    motion_names = {name for name in state["network"] if "motion_modules." in name and not name.endswith(".pe")}
    assert state["average"].keys() == motion_names | {"unet.conv_in.weight"}
    initial = load_file(training_weights / "animatediff/mm_v3.safetensors")
    changed = [name for name, value in initial.items() if not torch.equal(value, state["network"][f"unet.{name}"])]
    assert changed
    assert not any(name.endswith(".pe") for name in changed)


def test_exported_model_is_imported_with_the_moving_average(trained, training_weights, tmp_path):
    folder = shutil.copytree(training_weights, tmp_path / "weights", symlinks=True)
    with weights_at(folder):
        result = import_folder(trained / "model", ["mimaface"])
        networks = checkpoint.load_networks()
        encoder = checkpoint.load_portrait_networks(checkpoint.load_coefficient_net()[0], identity=False).clip
    assert len(result.installed) == 6
    assert all("video" in path or "image" in path for path in result.installed)
    absent = ("d3dfr.safetensors", "bfm09.mat", "arcface.safetensors")
    assert set(result.missing) == {f"mimaface/{name}" for name in absent}
    assert isinstance(networks.mia, PaperMIA)
    state = last_checkpoint(trained, "video")
    expected = {**state["network"], **state["average"]}
    for prefix, module in (("unet.", networks.unet), ("mia.", networks.mia), ("clip.", encoder)):
        for key, value in module.state_dict().items():
            assert torch.equal(value, expected[prefix + key]), prefix + key
