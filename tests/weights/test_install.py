"""Import of model files from every folder layout that users have."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from mimaface_cli.errors import InputError, WeightsError
from mimaface_cli.weights.install import import_folder
from mimaface_cli.weights.locate import find_missing_files, locate_files
from mimaface_cli.weights.registry import ASSETS, Asset, AssetFile, find_asset
from tests.conftest import tree

MIMAFACE = [file.path for file in find_asset("mimaface").files]
VAE = [file.path for file in find_asset("vae").files]
UNET = Path("checkpoints/image/pretrained_unet")

pytestmark = pytest.mark.usefixtures("cached_mat_files")


@pytest.fixture
def release_copy(release_folder, tmp_path) -> Path:
    """A release that a test may change."""
    return shutil.copytree(release_folder, tmp_path / "copy")


# --- layouts


def test_import_folder_installs_the_released_layout(release_folder):
    before = tree(release_folder)
    result = import_folder(release_folder)
    assert (result.installed, result.kept, result.missing) == (MIMAFACE, [], VAE)
    assert find_missing_files("mimaface") == [] and tree(release_folder) == before
    paths = locate_files("mimaface")
    face_model = release_folder / "models/D3DFR/BFM09_model_info.mat"
    assert paths["mimaface/bfm09.mat"].read_bytes() == face_model.read_bytes()
    assert not any(key.startswith("module.") for key in load_file(paths["mimaface/d3dfr.safetensors"]))
    clip_keys = load_file(paths["mimaface/video/clip.safetensors"]).keys()
    assert not any("position_ids" in key or "vision_model" in key for key in clip_keys)


def test_import_folder_installs_the_used_part_of_the_video_unet(release_folder):
    import_folder(release_folder)
    installed = load_file(locate_files("mimaface")["mimaface/video/unet.safetensors"])
    released = torch.load(release_folder / "checkpoints/video/3dunet.pth", weights_only=True)
    used_keys = {key for key in released if key.startswith("conv_in.") or "motion_modules." in key}
    assert installed.keys() == used_keys < released.keys()
    assert all(torch.equal(installed[key], released[key]) for key in installed)


def test_import_folder_renames_the_vaes_old_attention_keys(vae_folder):
    assert import_folder(vae_folder).installed == VAE
    installed = load_file(locate_files("vae")["vae/model.safetensors"])
    released = load_file(vae_folder / "diffusion_pytorch_model.safetensors")
    attention = "encoder.mid_block.attentions.0"
    assert torch.equal(installed[f"{attention}.to_q.weight"], released[f"{attention}.query.weight"])
    assert "decoder.mid_block.attentions.0.to_out.0.bias" in installed and len(installed) == len(released)


def test_import_folder_installs_release_and_vae_together_and_keeps_them_the_second_time(release_copy, vae_folder):
    shutil.copytree(vae_folder, release_copy / "sd-vae-ft-mse")
    result = import_folder(release_copy)
    assert result.installed == MIMAFACE + VAE and result.missing == []
    second = import_folder(release_copy)
    assert second.installed == [] and second.kept == MIMAFACE + VAE


def test_import_folder_installs_the_main_snapshot_of_the_hubs_cache(release_folder, vae_folder, tmp_path):
    cache = tmp_path / "hub"
    for repo, source in (
        ("models--MIMAFace--MIMAFace", release_folder),
        ("models--stabilityai--sd-vae-ft-mse", vae_folder),
    ):
        (cache / repo / "refs").mkdir(parents=True)
        (cache / repo / "refs" / "main").write_text("new")
        (cache / repo / "snapshots" / "a-stale-one").mkdir(parents=True)
        shutil.copytree(source, cache / repo / "snapshots" / "new")
    assert import_folder(cache).installed == MIMAFACE + VAE
    assert import_folder(cache / "models--MIMAFace--MIMAFace").kept == MIMAFACE
    assert import_folder(cache / "models--MIMAFace--MIMAFace" / "snapshots" / "new").kept == MIMAFACE


def test_import_folder_accepts_a_subfolder_of_the_release(release_folder):
    assert import_folder(release_folder / "models").installed == MIMAFACE[:3]
    assert import_folder(release_folder / "checkpoints").installed == MIMAFACE[3:]
    assert import_folder(release_folder / "checkpoints" / "video", ["mimaface"]).kept == MIMAFACE[5:]


def test_import_folder_identifies_loose_files_by_their_contents(release_folder, vae_folder, tmp_path):
    loose = tmp_path / "loose"
    loose.mkdir()
    for path in release_folder.rglob("*"):
        if path.is_file() and path.name != "config.json":
            shutil.copy(path, loose / path.name)
    shutil.copy(vae_folder / "diffusion_pytorch_model.safetensors", loose)
    shutil.copy(vae_folder / "config.json", loose)
    result = import_folder(loose)
    # One folder can hold only one config.json.
    assert result.missing == ["mimaface/image/unet.json", "mimaface/video/clip.json"]
    assert set(result.installed) == set(MIMAFACE + VAE) - set(result.missing)


def test_import_folder_does_not_mix_up_the_two_stages(tmp_path):
    from tests.tiny import make_release

    folder = make_release(tmp_path / "both", seed=1, image_stage=True)
    result = import_folder(folder)
    assert result.installed == MIMAFACE + [file.path for file in find_asset("mimaface_image").files]
    assert find_missing_files("mimaface_image") == []
    for stage, asset in (("image", "mimaface_image"), ("video", "mimaface")):
        installed = load_file(locate_files(asset)[f"mimaface/{stage}/mia.safetensors"])
        released = torch.load(folder / f"checkpoints/{stage}/mim.pth", weights_only=True)
        assert all(torch.equal(installed[key], released[key]) for key in released)
    image_only = import_folder(folder / "checkpoints" / "image", ["mimaface"])
    assert {"mimaface/video/mia.safetensors", "mimaface/video/clip.safetensors"} <= set(image_only.missing)


def test_import_folder_does_not_mistake_stable_diffusions_vae_for_the_releases(release_folder, vae_folder, tmp_path):
    folder = tmp_path / "sd15"
    shutil.copytree(vae_folder, folder / "vae")
    state = torch.load(release_folder / UNET / "unet.pth", weights_only=True)
    state["conv_in.weight"] = state["conv_in.weight"][:, :4].clone()
    (folder / "unet").mkdir()
    save_file(state, folder / "unet" / "diffusion_pytorch_model.safetensors")
    shutil.copy(release_folder / UNET / "config.json", folder / "unet")
    result = import_folder(folder)
    assert result.installed == [file.path for file in find_asset("sd15").files] and set(VAE) <= set(result.missing)


def test_import_folder_installs_the_vision_encoder_of_a_whole_clip(release_folder, tmp_path):
    source = release_folder / "checkpoints/video/vision_encoder"
    folder = tmp_path / "clip-vit-large-patch14"
    folder.mkdir()
    state = load_file(source / "model.safetensors")
    vision_tensor_count = len(state) - 1  # without position_ids
    save_file(
        state | {"text_model.encoder.layers.0.x.weight": torch.ones(3), "logit_scale": torch.ones(())},
        folder / "model.safetensors",
    )
    config = json.loads((source / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({"vision_config": config, "model_type": "clip"}))
    assert import_folder(folder.parent, ["clip"]).installed == ["clip/config.json", "clip/model.safetensors"]
    assert len(load_file(locate_files("clip")["clip/model.safetensors"])) == vision_tensor_count


def test_import_folder_installs_motion_modules_of_a_training_checkpoint(release_folder, tmp_path):
    video = torch.load(release_folder / "checkpoints/video/3dunet.pth", weights_only=True)
    motion = {f"module.{key}": value for key, value in video.items() if "motion_modules." in key}
    (tmp_path / "animatediff").mkdir()
    torch.save({"epoch": 3, "state_dict": motion}, tmp_path / "animatediff" / "v3_sd15_mm.ckpt")
    assert import_folder(tmp_path, ["animatediff"]).installed == ["animatediff/mm_v3.safetensors"]
    assert len(load_file(locate_files("animatediff")["animatediff/mm_v3.safetensors"])) == len(motion)


def test_import_folder_refuses_an_unconverted_file_with_another_hash(monkeypatch, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "SadTalker_V0.0.2_256.safetensors").write_bytes(b"x" * 100)
    file = AssetFile(
        "sadtalker/SadTalker_V0.0.2_256.safetensors",
        "0" * 64,
        100,
        "https://models.invalid/SadTalker_V0.0.2_256.safetensors",
    )
    monkeypatch.setitem(ASSETS, "sadtalker", Asset("sadtalker", "audio", "Apache-2.0", (file,), ("speech",)))
    with pytest.raises(WeightsError, match=r"has the SHA-256 .* instead of 0000"):
        import_folder(folder)


def test_import_folder_installs_from_another_weights_folder(release_folder, weights_folder, tmp_path, monkeypatch):
    import_folder(release_folder)
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", str(tmp_path / "other"))
    assert import_folder(weights_folder).installed == MIMAFACE and find_missing_files("mimaface") == []


def test_import_folder_installs_a_small_file_only_by_name(monkeypatch, weights_folder, tmp_path):
    content = b"small"
    url = "https://models.invalid/toy.bin"
    file = AssetFile("toy.bin", hashlib.sha256(content).hexdigest(), len(content), url)
    monkeypatch.setitem(ASSETS, "toy", Asset("toy", "a toy", "CC0", (file,)))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "toy.bin").write_bytes(content)
    assert "toy.bin" not in import_folder(tmp_path / "mine").installed
    assert import_folder(tmp_path / "mine", ["toy"]).installed == ["toy.bin"]
    assert (weights_folder / "toy.bin").read_bytes() == content


# --- details of the installed files


def test_installed_files_have_the_permissions_of_the_users_umask(release_folder, weights_folder):
    umask = os.umask(0o027)
    try:
        import_folder(release_folder)
    finally:
        os.umask(umask)
    assert {(weights_folder / path).stat().st_mode & 0o777 for path in MIMAFACE} == {0o640}


def test_import_folder_converts_old_pickles_and_shared_tensors(release_copy):
    path = release_copy / UNET / "unet.pth"
    state = torch.load(path, weights_only=True)
    state["conv_norm_out.bias"] = state["conv_norm_out.weight"]  # two names for one storage
    torch.save(state, path, _use_new_zipfile_serialization=False)
    import_folder(release_copy)
    installed = load_file(locate_files("mimaface")["mimaface/image/unet.safetensors"])
    assert torch.equal(installed["conv_norm_out.bias"], state["conv_norm_out.weight"])
    assert installed.keys() == state.keys()


# --- nothing to install


def test_import_folder_refuses_a_missing_folder(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        import_folder(tmp_path / "absent")


def test_import_folder_reports_all_files_of_an_empty_folder_as_missing(tmp_path):
    (tmp_path / "empty").mkdir()
    assert import_folder(tmp_path / "empty").missing == MIMAFACE + VAE


def test_import_folder_checks_the_space_before_writing(release_copy, weights_folder, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1000))
    with pytest.raises(WeightsError, match=r"are needed and 0\.0 GB are free"):
        import_folder(release_copy)
    assert not weights_folder.exists()
