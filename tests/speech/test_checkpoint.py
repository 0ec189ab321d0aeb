"""The released weight files in both layouts, and files that are none."""

import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from mimaface_cli.errors import WeightsError
from mimaface_cli.speech.audio2exp import Audio2Exp
from mimaface_cli.speech.audio2pose import Audio2Pose, PoseConfig
from mimaface_cli.speech.sadtalker_checkpoint import LEGACY_FILES, load_network_file, load_networks

WIDTHS = (2, 2, 3, 3, 4)
CONFIG = PoseConfig(styles=3, frames=8, audio=2, latent=4, layers=(7, 48), filters=(2, 3, 4, 5), widths=WIDTHS)
TRAINING = {"netG.encoder.classbias": torch.ones(3, 4), "netD_motion.seq.3.bias": torch.ones(1)}


def small() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    return {"audio2exp": Audio2Exp(widths=WIDTHS), "audio2pose": Audio2Pose(CONFIG)}


def empty(name: str) -> torch.nn.Module:
    with torch.device("meta"):
        return Audio2Exp(widths=WIDTHS) if name == "audio2exp" else Audio2Pose(CONFIG)


def same(found: torch.nn.Module, expected: torch.nn.Module, atol: float = 0) -> None:
    assert not found.training and not any(value.requires_grad for value in found.parameters())
    own, other = found.state_dict(), expected.state_dict()
    assert own.keys() == other.keys() and all(value.device.type == "cpu" for value in own.values())
    for key in own:
        torch.testing.assert_close(own[key], other[key], rtol=0, atol=atol)


def single_file(path, networks) -> None:
    state = {"generator.audio2exp.bias": torch.zeros(2), "kp_extractor.predictor.conv.bias": torch.zeros(2)}
    for name, network in networks.items():
        state |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
    save_file(state | {f"audio2pose.{key}": value for key, value in TRAINING.items()}, path)


@pytest.mark.parametrize("name", LEGACY_FILES)
def test_both_layouts_give_the_same_network(tmp_path, name):
    networks = small()
    single_file(tmp_path / "all.safetensors", networks)
    state = networks[name].state_dict() | (TRAINING if name == "audio2pose" else {})
    moments = {0: {"step": 3, "exp_avg": torch.ones(2)}}
    torch.save({"epoch": 300, "model": state, "optimizer": {"state": moments}}, tmp_path / "old.pth")
    for file in ("all.safetensors", "old.pth"):
        same(load_network_file(empty(name), tmp_path / file, name), networks[name])


def test_a_folder_of_either_kind_in_the_released_sizes(tmp_path):
    torch.manual_seed(1)
    old = {"audio2exp": Audio2Exp().half(), "audio2pose": Audio2Pose().half()}
    with pytest.raises(WeightsError, match="no SadTalker weights.*safetensors.*auido2exp.*auido2pose"):
        load_networks(tmp_path)
    for name, network in old.items():
        torch.save({"model": network.state_dict()}, tmp_path / LEGACY_FILES[name])
    for found, network in zip(load_networks(tmp_path), old.values()):
        same(found, network.float())  # run in float32 whatever the file has

    single_file(tmp_path / "small.safetensors", small())  # goes before the older ones, and is of another size
    with pytest.raises(WeightsError, match=r"small\.safetensors.*another shape"):
        load_networks(tmp_path)


class _Code:
    def __reduce__(self):
        return os.mkdir, ("made by a weight file",)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_files_that_are_no_weights_give_one_line(tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    good = tmp_path / f"good.{suffix}"
    state = small()["audio2exp"].state_dict()
    if suffix == "pth":
        torch.save({"model": state}, good)
    else:
        save_file({f"audio2exp.{key}": value for key, value in state.items()}, good)
    whole = good.read_bytes()
    load_network_file(empty("audio2exp"), good, "audio2exp")

    missing = {key: value for key, value in state.items() if key != "mapping1.bias"}
    contents = {
        "empty": b"",
        "text": b"<html>not found</html>" * 10,
        "cut": whole[: len(whole) // 2],
        "pickle": pickle.dumps({"model": _Code()}, protocol=2),
    }
    for name, content in contents.items():
        (tmp_path / f"{name}.{suffix}").write_bytes(content)
    if suffix == "pth":
        torch.save({"model": _Code()}, tmp_path / "code.pth")
        torch.save([1, 2], tmp_path / "list.pth")
        torch.save({"model": {"mapping1.bias": 3}}, tmp_path / "numbers.pth")
        torch.save({"model": missing}, tmp_path / "missing.pth")
    else:
        save_file({"generator.x": torch.zeros(1)}, tmp_path / "other.safetensors")
    bad = [path for path in tmp_path.glob(f"*.{suffix}") if path != good] + [tmp_path / f"none.{suffix}"]
    assert len(bad) == (9 if suffix == "pth" else 6)
    for path in bad:
        with pytest.raises(WeightsError) as caught:
            load_network_file(empty("audio2exp"), path, "audio2exp")
        message = str(caught.value)
        assert path.name in message and "\n" not in message, path.name
    assert not (tmp_path / "made by a weight file").exists()
