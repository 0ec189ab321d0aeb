"""Importing: from every layout people have, checked before anything is written, known again without being read."""

import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from mimaface_cli.errors import InputError, WeightsError
from mimaface_cli.weights import manifest
from mimaface_cli.weights.install import import_folder
from mimaface_cli.weights.locate import find_missing_files, locate_files
from mimaface_cli.weights.registry import ASSETS, Asset, AssetFile, find_asset
from tests.conftest import tree

MIMAFACE = [file.path for file in find_asset("mimaface").files]
VAE = [file.path for file in find_asset("vae").files]
UNET = Path("checkpoints/image/pretrained_unet")


@pytest.fixture
def copy(release_folder, tmp_path) -> Path:
    """A release of this test's own."""
    return shutil.copytree(release_folder, tmp_path / "copy")


# --- layouts


def test_the_released_layout(release_folder, own_world):
    before = tree(release_folder)
    result = import_folder(release_folder)
    assert (result.installed, result.kept, result.missing) == (MIMAFACE, [], VAE)
    assert find_missing_files("mimaface") == [] and tree(release_folder) == before
    found = locate_files("mimaface")
    assert (
        found["mimaface/bfm09.mat"].read_bytes() == (release_folder / "models/D3DFR/BFM09_model_info.mat").read_bytes()
    )
    assert not any(key.startswith("module.") for key in load_file(found["mimaface/d3dfr.safetensors"]))
    assert not any(
        "position_ids" in key or "vision_model" in key for key in load_file(found["mimaface/video/clip.safetensors"])
    )


def test_of_the_video_unet_only_what_is_read_is_kept(release_folder):
    import_folder(release_folder)
    kept = load_file(locate_files("mimaface")["mimaface/video/unet.safetensors"])
    whole = torch.load(release_folder / "checkpoints/video/3dunet.pth", weights_only=True)
    wanted = {key for key in whole if key.startswith("conv_in.") or "motion_modules." in key}
    assert kept.keys() == wanted < whole.keys() and all(torch.equal(kept[key], whole[key]) for key in kept)


def test_the_picture_coders_old_names_are_made_new(vae_folder):
    assert import_folder(vae_folder).installed == VAE
    kept = load_file(locate_files("vae")["vae/model.safetensors"])
    old = load_file(vae_folder / "diffusion_pytorch_model.safetensors")
    assert torch.equal(
        kept["encoder.mid_block.attentions.0.to_q.weight"], old["encoder.mid_block.attentions.0.query.weight"]
    )
    assert "decoder.mid_block.attentions.0.to_out.0.bias" in kept and len(kept) == len(old)


def test_both_together(copy, vae_folder):
    shutil.copytree(vae_folder, copy / "sd-vae-ft-mse")
    result = import_folder(copy)
    assert result.installed == MIMAFACE + VAE and result.missing == []
    again = import_folder(copy)
    assert again.installed == [] and again.kept == MIMAFACE + VAE


def test_the_hubs_cache_and_its_newest_snapshot(release_folder, vae_folder, tmp_path):
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


def test_a_folder_inside_the_release(release_folder):
    assert import_folder(release_folder / "models").installed == MIMAFACE[:3]
    assert import_folder(release_folder / "checkpoints").installed == MIMAFACE[3:]
    assert import_folder(release_folder / "checkpoints" / "video", ["mimaface"]).kept == MIMAFACE[5:]


def test_loose_files_are_told_apart_by_what_they_hold(release_folder, vae_folder, tmp_path):
    loose = tmp_path / "loose"
    loose.mkdir()
    for path in release_folder.rglob("*"):
        if path.is_file() and path.name != "config.json":
            shutil.copy(path, loose / path.name)
    shutil.copy(vae_folder / "diffusion_pytorch_model.safetensors", loose)
    shutil.copy(vae_folder / "config.json", loose)
    result = import_folder(loose)
    # There can be but one config.json.
    assert result.missing == ["mimaface/image/unet.json", "mimaface/video/clip.json"]
    assert set(result.installed) == set(MIMAFACE + VAE) - set(result.missing)


def test_the_two_stages_are_not_mixed_up(tmp_path):
    from tests.tiny import make_release

    folder = make_release(tmp_path / "both", seed=1, image_stage=True)
    result = import_folder(folder)
    assert result.installed == MIMAFACE + [file.path for file in find_asset("mimaface_image").files]
    assert find_missing_files("mimaface_image") == []
    for stage in ("image", "video"):
        kept = load_file(
            locate_files("mimaface_image" if stage == "image" else "mimaface")[f"mimaface/{stage}/mia.safetensors"]
        )
        whole = torch.load(folder / f"checkpoints/{stage}/mim.pth", weights_only=True)
        assert all(torch.equal(kept[key], whole[key]) for key in whole)
    only = import_folder(folder / "checkpoints" / "image", ["mimaface"])
    assert "mimaface/video/mia.safetensors" in only.missing and "mimaface/video/clip.safetensors" in only.missing


def test_a_stable_diffusion_folder_is_not_taken_for_the_picture_coder(release_folder, vae_folder, tmp_path):
    folder = tmp_path / "sd15"
    shutil.copytree(vae_folder, folder / "vae")
    state = torch.load(release_folder / UNET / "unet.pth", weights_only=True)
    state["conv_in.weight"] = state["conv_in.weight"][:, :4].clone()
    (folder / "unet").mkdir()
    save_file(state, folder / "unet" / "diffusion_pytorch_model.safetensors")
    shutil.copy(release_folder / UNET / "config.json", folder / "unet")
    result = import_folder(folder)
    assert result.installed == [file.path for file in find_asset("sd15").files] and set(VAE) <= set(result.missing)


def test_of_a_whole_clip_the_vision_half_is_kept(release_folder, tmp_path):
    source = release_folder / "checkpoints/video/vision_encoder"
    folder = tmp_path / "clip-vit-large-patch14"
    folder.mkdir()
    state = load_file(source / "model.safetensors")
    vision = len(state) - 1  # without the position counter
    save_file(
        state | {"text_model.encoder.layers.0.x.weight": torch.ones(3), "logit_scale": torch.ones(())},
        folder / "model.safetensors",
    )
    config = json.loads((source / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({"vision_config": config, "model_type": "clip"}))
    assert import_folder(folder.parent, ["clip"]).installed == ["clip/config.json", "clip/model.safetensors"]
    assert len(load_file(locate_files("clip")["clip/model.safetensors"])) == vision


def test_motion_modules_of_a_training_checkpoint(release_folder, tmp_path):
    video = torch.load(release_folder / "checkpoints/video/3dunet.pth", weights_only=True)
    motion = {f"module.{key}": value for key, value in video.items() if "motion_modules." in key}
    (tmp_path / "animatediff").mkdir()
    torch.save({"epoch": 3, "state_dict": motion}, tmp_path / "animatediff" / "v3_sd15_mm.ckpt")
    assert import_folder(tmp_path, ["animatediff"]).installed == ["animatediff/mm_v3.safetensors"]
    assert len(load_file(locate_files("animatediff")["animatediff/mm_v3.safetensors"])) == len(motion)


def test_a_file_that_is_kept_as_it_is_must_have_its_hash(monkeypatch, tmp_path):
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
    with pytest.raises(WeightsError, match="has the SHA-256 .* instead of 0000"):
        import_folder(folder)
    monkeypatch.undo()


def test_a_weights_folder_of_ours(release_folder, own_world, tmp_path, monkeypatch):
    import_folder(release_folder)
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", str(tmp_path / "other"))
    assert import_folder(own_world).installed == MIMAFACE and find_missing_files("mimaface") == []


def test_a_small_file_is_imported_where_it_is_named(monkeypatch, own_world, tmp_path):
    content = b"small"
    url = "https://models.invalid/toy.bin"
    file = AssetFile("toy.bin", hashlib.sha256(content).hexdigest(), len(content), url)
    monkeypatch.setitem(ASSETS, "toy", Asset("toy", "a toy", "CC0", (file,)))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "toy.bin").write_bytes(content)
    assert "toy.bin" not in import_folder(tmp_path / "mine").installed
    assert import_folder(tmp_path / "mine", ["toy"]).installed == ["toy.bin"]
    assert (own_world / "toy.bin").read_bytes() == content


def test_what_is_installed_may_be_read_by_whom_the_user_lets(release_folder, own_world):
    old = os.umask(0o027)
    try:
        import_folder(release_folder)
    finally:
        os.umask(old)
    assert {(own_world / path).stat().st_mode & 0o777 for path in MIMAFACE} == {0o640}


def test_no_folder_or_an_empty_one(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        import_folder(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    assert import_folder(tmp_path / "empty").missing == MIMAFACE + VAE


# --- what is refused, and leaves nothing behind


def put(path: Path, **changes) -> None:
    state = torch.load(path, weights_only=True)
    for key, value in changes.items():
        key = key.replace("__", ".")
        if value is None:
            del state[key]
        else:
            state[key] = value
    torch.save(state, path)


def evil(path: Path) -> None:
    """A pickle in torch's own container that would run a command."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", b"\x80\x02cposix\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03.")
        file.writestr("x/version", "3\n")
        file.writestr("x/byteorder", "little")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1000)


@pytest.mark.parametrize(
    ("name", "spoil", "fault"),
    [
        ("checkpoints/video/mim.pth", evil, r"not plain weights \(it would run posix.system\)"),
        ("checkpoints/video/mim.pth", cut, "cannot be read as weights"),
        ("checkpoints/video/3dunet.pth", lambda p: p.write_bytes(b""), "cannot be read as weights"),
        (
            UNET / "unet.pth",
            lambda p: put(p, conv_in__weight=torch.zeros(8, 4, 3, 3)),
            r"1 of another shape \(conv_in.weight \[8, 4, 3, 3\]\)",
        ),
        (UNET / "unet.pth", lambda p: put(p, conv_out__weight=None), r"1 missing \(conv_out.weight\)"),
        (UNET / "unet.pth", lambda p: put(p, lora__weight=torch.zeros(2)), r"1 unexpected \(lora.weight\)"),
        (UNET / "unet.pth", lambda p: torch.save([1, 2], p), "holds no table of weights"),
        (UNET / "unet.pth", lambda p: torch.save({"conv_in.weight": "text"}, p), "holds no table of weights"),
        (
            UNET / "unet.pth",
            lambda p: put(p, conv_in__weight=torch.zeros(1).expand(1 << 40)),
            "of a kind that cannot be kept",
        ),
        ("checkpoints/video/vision_encoder/model.safetensors", cut, "cannot be read as weights"),
        (
            "checkpoints/video/vision_encoder/config.json",
            lambda p: p.write_text("{"),
            "cannot be read as a model's config",
        ),
        ("checkpoints/video/vision_encoder/config.json", lambda p: p.write_text("[]"), "it lacks hidden_size"),
        (
            "checkpoints/video/vision_encoder/config.json",
            lambda p: p.write_text(" " * (2 << 20)),
            "it lacks hidden_size",
        ),
        ("models/D3DFR/BFM09_model_info.mat", cut, "cannot be read as a face model"),
        ("models/D3DFR/BFM09_model_info.mat", lambda p: p.write_bytes(b"MATLAB 5.0"), "cannot be read as a face model"),
        (
            "models/D3DFR/netG_epoch_25.pth",
            lambda p: shutil.copy(p.parents[1] / "ArcFace/CurricularFace_Backbone.pth", p),
            "9 missing .*unexpected",
        ),
    ],
)
def test_a_bad_file_is_one_line_and_nothing_is_installed(copy, own_world, name, spoil, fault):
    spoil(copy / name)
    with pytest.raises(WeightsError, match=fault) as caught:
        import_folder(copy)
    assert "\n" not in str(caught.value) and str(copy / name) in str(caught.value)
    assert not own_world.exists()


def test_too_little_space_is_seen_before_anything_is_written(copy, own_world, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1000))
    with pytest.raises(WeightsError, match="are needed and 0.0 GB free"):
        import_folder(copy)
    assert not own_world.exists()


def test_old_style_pickles_and_shared_tensors_are_taken(copy):
    path = copy / UNET / "unet.pth"
    state = torch.load(path, weights_only=True)
    state["conv_norm_out.bias"] = state["conv_norm_out.weight"]  # one storage under two names
    torch.save(state, path, _use_new_zipfile_serialization=False)
    import_folder(copy)
    kept = load_file(locate_files("mimaface")["mimaface/image/unet.safetensors"])
    assert torch.equal(kept["conv_norm_out.bias"], state["conv_norm_out.weight"]) and kept.keys() == state.keys()


# --- what is known of the installed


def test_what_was_changed_is_noticed_by_size_or_by_hash(copy, own_world):
    import_folder(copy)
    path = own_world / "mimaface/video/mia.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert find_missing_files("mimaface") == ["mimaface/video/mia.safetensors"]
    with pytest.raises(
        WeightsError, match="mia.safetensors: has .* bytes instead of .*; run: mimaface weights pull mimaface"
    ):
        locate_files("mimaface")
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert find_missing_files("mimaface") == ["mimaface/video/mia.safetensors"]
    assert import_folder(copy).installed == ["mimaface/video/mia.safetensors"] and find_missing_files("mimaface") == []


def test_a_copied_folder_is_read_once_and_then_known(copy, own_world, monkeypatch):
    import_folder(copy)
    for path in own_world.rglob("*.*"):
        os.utime(path, (1, 1))
    assert find_missing_files("mimaface") == []
    read = []
    monkeypatch.setattr(manifest, "sha256_of", read.append)
    assert find_missing_files("mimaface") == [] and read == []


def test_what_nobody_installed_is_not_trusted(copy, own_world):
    import_folder(copy)
    (own_world / "manifest.json").write_text("{}")
    assert find_missing_files("mimaface") == MIMAFACE
    with pytest.raises(WeightsError, match="was not put there by mimaface; run: mimaface weights pull mimaface"):
        locate_files("mimaface")
    assert import_folder(copy).installed == MIMAFACE


_ROW = {"size": "x", "mtime_ns": 1, "sha256": "", "source": "", "source_sha256": ""}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"version": 2, "files": {}}',
        '{"version": 1, "files": {"a": {"size": 1}}}',
        json.dumps({"version": 1, "files": {"a": _ROW}}),
        "[" * 100_000,
    ],
)
def test_a_manifest_that_cannot_be_read_is_none(own_world, text):
    own_world.mkdir()
    (own_world / "manifest.json").write_text(text)
    assert manifest.read(own_world) == {} and find_missing_files("mimaface") == MIMAFACE


def test_a_released_file_put_there_by_hand_is_taken_by_its_hash(monkeypatch, own_world):
    content = b"a released file"
    file = AssetFile(
        "toy/model.bin", hashlib.sha256(content).hexdigest(), len(content), "https://models.invalid/model.bin"
    )
    monkeypatch.setitem(ASSETS, "toy", Asset("toy", "a toy", "CC0", (file,), ("speech",)))
    with pytest.raises(WeightsError, match="toy/model.bin: a toy: not installed in .*; run: mimaface weights pull toy"):
        locate_files("toy")
    (own_world / "toy").mkdir(parents=True)
    (own_world / "toy/model.bin").write_bytes(content)
    assert find_missing_files("toy") == [] and "toy/model.bin" in manifest.read(own_world)
    (own_world / "manifest.json").unlink()
    (own_world / "toy/model.bin").write_bytes(content[::-1])
    assert find_missing_files("toy") == ["toy/model.bin"]
