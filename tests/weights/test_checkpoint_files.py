"""Wrong and damaged model files are refused with a one-line error, and no file is installed."""

import os
import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from mimaface_cli.errors import WeightsError
from mimaface_cli.weights.install import import_folder

UNET = Path("checkpoints/image/pretrained_unet")
CLIP = Path("checkpoints/video/vision_encoder")

pytestmark = pytest.mark.usefixtures("cached_mat_files")


def change_tensors(path: Path, changes: dict[str, torch.Tensor | None]) -> None:
    """Replace, add or remove (None) tensors in a pickle."""
    state = torch.load(path, weights_only=True) | changes
    torch.save({key: tensor for key, tensor in state.items() if tensor is not None}, path)


def write_malicious_pickle(path: Path) -> None:
    """Write a pickle in PyTorch's container that would run a command."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", b"\x80\x02cposix\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03.")
        file.writestr("x/version", "3\n")
        file.writestr("x/byteorder", "little")


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1000)


def write_identity_network(path: Path) -> None:
    shutil.copy(path.parents[1] / "ArcFace/CurricularFace_Backbone.pth", path)


@pytest.mark.parametrize(
    ("name", "damage", "problem"),
    [
        (
            "checkpoints/video/mim.pth",
            write_malicious_pickle,
            r"not a plain weights file \(it would run posix.system\)",
        ),
        ("checkpoints/video/mim.pth", truncate, "cannot be read as weights"),
        ("checkpoints/video/3dunet.pth", lambda path: path.write_bytes(b""), "cannot be read as weights"),
        (
            UNET / "unet.pth",
            lambda path: change_tensors(path, {"conv_in.weight": torch.zeros(8, 4, 3, 3)}),
            r"1 with the wrong shape \(conv_in.weight \[8, 4, 3, 3\]\)",
        ),
        (
            UNET / "unet.pth",
            lambda path: change_tensors(path, {"conv_out.weight": None}),
            r"1 missing \(conv_out.weight\)",
        ),
        (
            UNET / "unet.pth",
            lambda path: change_tensors(path, {"lora.weight": torch.zeros(2)}),
            r"1 unexpected \(lora.weight\)",
        ),
        (UNET / "unet.pth", lambda path: torch.save([1, 2], path), "contains no state dict"),
        (UNET / "unet.pth", lambda path: torch.save({"conv_in.weight": "text"}, path), "contains no state dict"),
        (
            UNET / "unet.pth",
            lambda path: change_tensors(path, {"conv_in.weight": torch.zeros(1).expand(1 << 40)}),
            "contains sparse, quantized or expanded tensors",
        ),
        (CLIP / "model.safetensors", truncate, "cannot be read as weights"),
        (CLIP / "config.json", lambda path: path.write_text("{"), "cannot be read as a model's config"),
        (CLIP / "config.json", lambda path: path.write_text("[]"), "it lacks hidden_size"),
        (CLIP / "config.json", lambda path: path.write_text(" " * (2 << 20)), "it lacks hidden_size"),
        ("models/D3DFR/BFM09_model_info.mat", truncate, "cannot be read as a face model"),
        (
            "models/D3DFR/BFM09_model_info.mat",
            lambda path: path.write_bytes(b"MATLAB 5.0"),
            "cannot be read as a face model",
        ),
        ("models/D3DFR/netG_epoch_25.pth", write_identity_network, "9 missing .*unexpected"),
    ],
)
def test_import_folder_refuses_a_bad_file_and_installs_nothing(
    release_folder, tmp_path, weights_folder, name, damage, problem
):
    folder = shutil.copytree(release_folder, tmp_path / "copy")
    damage(folder / name)
    with pytest.raises(WeightsError, match=problem) as failure:
        import_folder(folder)
    assert "\n" not in str(failure.value) and str(folder / name) in str(failure.value)
    assert not weights_folder.exists()
