"""What full-size training starts from, tiny."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mimaface_cli.engines.diffusion.unet import VideoUNet
from mimaface_cli.weights.install import import_folder
from tests.conftest import weights_at
from tests.goldens.fill import fill
from tests.tiny.release import UNET, _write_clip


@pytest.fixture(scope="session")
def weights(tiny_weights, vae_folder, tmp_path_factory) -> Path:
    """The tiny release's weights folder, with tiny stand-ins for what training starts from. Only to be read."""
    folder = shutil.copytree(tiny_weights, tmp_path_factory.mktemp("training") / "weights", symlinks=True)
    given = tmp_path_factory.mktemp("given")
    config = {**UNET, "in_channels": 4, "use_motion_module": False}
    sd, video = VideoUNet(config), VideoUNet({**UNET, "use_motion_module": True})
    fill(sd, "sd")
    fill(video, "animatediff")
    (given / "sd/unet").mkdir(parents=True)
    save_file(sd.state_dict(), given / "sd/unet/diffusion_pytorch_model.safetensors")
    (given / "sd/unet/config.json").write_text(json.dumps({**UNET, "in_channels": 4}))
    shutil.copytree(vae_folder, given / "sd/vae")
    _write_clip(given / "clip", "clip start")
    (given / "mm").mkdir()
    motion = {key: value for key, value in video.state_dict().items() if "motion_modules." in key}
    torch.save({"state_dict": motion}, given / "mm/v3_sd15_mm.ckpt")
    with weights_at(folder):
        for name, asset in (("sd", "sd15"), ("clip", "clip"), ("mm", "animatediff")):
            assert not import_folder(given / name, [asset]).missing
    return folder
