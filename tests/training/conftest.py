"""Shared data and weights of the training tests."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mimaface_cli.builders.rendered_people.rendered_shards import render_shards
from mimaface_cli.engines.diffusion.unet import VideoUNet
from mimaface_cli.training.clip_options import ClipOptions
from mimaface_cli.training.preparation import prepare_shards
from mimaface_cli.weights.install import import_folder
from tests.conftest import read_video, weights_at, write_video
from tests.goldens.fill import fill
from tests.tiny.release import UNET, write_clip_encoder
from tests.training.noise_data import write_noise_data
from tests.training.release_runs import SIZE as RELEASE_SIZE
from tests.training.small_runs import CAST
from tests.training.validated_runs import PEOPLE_COUNT, SIZE


@pytest.fixture(scope="session")
def rendered_data(tmp_path_factory) -> Path:
    """Shards of four rendered people with two clips each. Read-only, except for cached latents."""
    folder = tmp_path_factory.mktemp("rendered")
    render_shards(CAST, folder)
    return folder


@pytest.fixture(scope="session")
def noise_data(tmp_path_factory) -> Path:
    """Shards of coarse noise as the clips of four people, two each, with five frames. Read-only."""
    folder = tmp_path_factory.mktemp("noise")
    return write_noise_data(folder, "face478", SIZE, 2 * PEOPLE_COUNT, PEOPLE_COUNT, frames=5)


@pytest.fixture(scope="session")
def training_weights(tiny_weights, vae_folder, tmp_path_factory) -> Path:
    """The tiny release's weights folder with tiny Stable Diffusion, CLIP and AnimateDiff. Read-only."""
    folder = shutil.copytree(tiny_weights, tmp_path_factory.mktemp("training") / "weights", symlinks=True)
    source = tmp_path_factory.mktemp("initial_weights")
    sd_unet, video_unet = (VideoUNet({**UNET, **changes}) for changes in (
        {"in_channels": 4, "use_motion_module": False}, {"use_motion_module": True},
    ))  # fmt: skip
    fill(sd_unet, "sd")
    fill(video_unet, "animatediff")
    (source / "sd/unet").mkdir(parents=True)
    save_file(sd_unet.state_dict(), source / "sd/unet/diffusion_pytorch_model.safetensors")
    (source / "sd/unet/config.json").write_text(json.dumps({**UNET, "in_channels": 4}))
    shutil.copytree(vae_folder, source / "sd/vae")
    write_clip_encoder(source / "clip", "clip start")
    (source / "animatediff").mkdir()
    motion = {key: value for key, value in video_unet.state_dict().items() if "motion_modules." in key}
    torch.save({"state_dict": motion}, source / "animatediff/v3_sd15_mm.ckpt")
    with weights_at(folder):
        for name, asset in (("sd", "sd15"), ("clip", "clip"), ("animatediff", "animatediff")):
            assert not import_folder(source / name, [asset]).missing
    return folder


@pytest.fixture(scope="session")
def face_footage(sample, tmp_path_factory) -> Path:
    """A folder of two people, the same face with different colors, with a video each. Read-only."""
    folder = tmp_path_factory.mktemp("footage")
    for name in ("a", "b"):
        (folder / name).mkdir()
    shutil.copy(sample.driver, folder / "a/driver.mp4")
    frames, times = read_video(sample.driver)
    write_video(folder / "b/mirrored.mp4", [255 - (255 - frame[:, ::-1]) // 2 for frame in frames], times)
    return folder


@pytest.fixture(scope="session")
def basel_data(training_weights, face_footage, tmp_path_factory) -> Path:
    """Shards of the footage in the Basel space, with identity features. Read-only."""
    folder = tmp_path_factory.mktemp("basel") / "shards"
    with weights_at(training_weights):
        index = prepare_shards(face_footage, folder, "bfm09", ClipOptions(RELEASE_SIZE, 4, 2))
    assert sum(index.videos.values()) == 4
    assert not index.skipped
    return folder
