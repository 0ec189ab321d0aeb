"""The full-size path in small: Stable Diffusion, CLIP and AnimateDiff from the weights folder through both stages, in the
Basel space, and back by `weights import`.
"""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mimaface_cli.engines.diffusion import checkpoint
from mimaface_cli.engines.diffusion.mia import PaperMIA
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.training.config_reader import build_config
from mimaface_cli.training.shard_index import ShardIndex
from mimaface_cli.training.shards import TrainingClip
from mimaface_cli.weights.install import import_folder
from tests.conftest import weights_at
from tests.training.shard_files import write_shards

SIZE = 64


@pytest.fixture
def config(tmp_path):
    """A run over made-up clips of two people, two steps a stage."""
    rng = np.random.default_rng(0)

    def clip(number: int) -> TrainingClip:
        pictures = rng.integers(0, 255, (2, 4, SIZE, SIZE, 3), np.uint8)
        neutral = MotionTrack.neutral(4, "bfm09")
        track = replace(neutral, expression=rng.normal(size=neutral.expression.shape))
        return TrainingClip(
            f"c{number}", f"p{number % 2}", "a.mp4", pictures[0], track, None, pictures[1][0], pictures[1]
        )

    (tmp_path / "data").mkdir()
    write_shards((clip(number) for number in range(4)), tmp_path / "data")
    ShardIndex({"space": "bfm09", "size": SIZE}, {"a.mp4": 4}, {}, 1).save(tmp_path / "data")
    optimizer = {"steps": 2, "batch": 2, "learning_rate": 1e-3, "ema": 0.5}
    return build_config(
        {
            "data": str(tmp_path / "data"),
            "output": str(tmp_path / "run"),
            "size": SIZE,
            "workers": 0,
            "image": {"optimizer": optimizer, "bank": 8},
            "video": {"optimizer": optimizer, "clip": 4},
        }
    )


def test_stage_1_begins_as_stable_diffusion(weights, config):
    from mimaface_cli.training.initialization import initialize_image_stage

    with weights_at(weights):
        network = initialize_image_stage(config)
    sd = load_file(weights / "sd15/unet.safetensors")
    own = network.unet.state_dict()
    assert own["conv_in.weight"].shape[1] == 13 and not own["conv_in.weight"][:, 4:].any()
    assert torch.equal(own["conv_in.weight"][:, :4], sd["conv_in.weight"])
    assert all(torch.equal(own[key], value) for key, value in sd.items() if key != "conv_in.weight")  # the bias too


def test_both_stages_and_back_by_weights_import(weights, config, tmp_path):
    from mimaface_cli.training.run_checkpoints import list_checkpoints, read_checkpoint
    from mimaface_cli.training.stages import train_image, train_video

    with weights_at(weights):
        train_image(config)
        folder = train_video(config)
    image, video = (read_checkpoint(list_checkpoints(tmp_path / "run" / stage)[-1]) for stage in ("image", "video"))
    for part in ("unet.", "mia.", "clip."):
        changed = image["average"].keys()
        assert any(key.startswith(part) for key in changed) and not any("post_layernorm" in key for key in changed)
    assert video["average"].keys() == {
        key for key in video["network"] if "motion_modules." in key and not key.endswith(".pe")
    } | {"unet.conv_in.weight"}
    start = load_file(weights / "animatediff/mm_v3.safetensors")
    moved = [key for key in start if not torch.equal(start[key], video["network"][f"unet.{key}"])]
    assert moved and not any(key.endswith(".pe") for key in moved)

    again = shutil.copytree(weights, tmp_path / "weights", symlinks=True)
    with weights_at(again):
        result = import_folder(folder, ["mimaface"])
        networks = checkpoint.load_networks()
        encoder = checkpoint.load_portrait_networks(checkpoint.load_coefficient_net()[0], identity=False).clip
    assert all("video" in path or "image" in path for path in result.installed) and len(result.installed) == 6
    assert set(result.missing) == {
        f"mimaface/{name}" for name in ("d3dfr.safetensors", "bfm09.mat", "arcface.safetensors")
    }
    assert isinstance(networks.mia, PaperMIA)
    wanted = {**video["network"], **video["average"]}
    for prefix, module in (("unet.", networks.unet), ("mia.", networks.mia), ("clip.", encoder)):
        for key, value in module.state_dict().items():
            assert torch.equal(value, wanted[prefix + key]), prefix + key


def test_footage_in_the_basel_space_has_its_own_renders(weights, sample, tmp_path):
    from mimaface_cli.training.clip_extraction import extract_clips
    from mimaface_cli.training.clip_options import ClipOptions
    from mimaface_cli.training.footage_spaces import BaselSpace

    with weights_at(weights):
        clips = list(extract_clips(sample.driver, BaselSpace(), "k", "p", ClipOptions(SIZE, 4, 1)))
    assert len(clips) == 1 and clips[0].track.meta.space == "bfm09"
    clip = clips[0]
    low, high = clip.landmarks[0].min(0), clip.landmarks[0].max(0)
    assert (np.abs((low + high) / 2 - SIZE / 2) < 12).all()
    lit = np.argwhere(clip.renders[0].max(2) > 20)
    assert len(lit) > 0.1 * SIZE**2 and (np.abs(lit.mean(0)[::-1] - (low + high) / 2) < 10).all()
    assert os.path.basename(clip.source) == "driver.mp4"
