"""The released weight files in both layouts, and files that are not weights."""

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
TRAINING_TENSORS = {"netG.encoder.classbias": torch.ones(3, 4), "netD_motion.seq.3.bias": torch.ones(1)}


def build_small_networks() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    return {"audio2exp": Audio2Exp(widths=WIDTHS), "audio2pose": Audio2Pose(CONFIG)}


def build_meta_network(name: str) -> torch.nn.Module:
    with torch.device("meta"):
        return Audio2Exp(widths=WIDTHS) if name == "audio2exp" else Audio2Pose(CONFIG)


def assert_same_network(network: torch.nn.Module, expected: torch.nn.Module) -> None:
    assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())
    state, expected_state = network.state_dict(), expected.state_dict()
    assert state.keys() == expected_state.keys() and all(value.device.type == "cpu" for value in state.values())
    for key in state:
        torch.testing.assert_close(state[key], expected_state[key], rtol=0, atol=0)


def write_single_file(path, networks) -> None:
    state = {"generator.audio2exp.bias": torch.zeros(2), "kp_extractor.predictor.conv.bias": torch.zeros(2)}
    for name, network in networks.items():
        state |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
    save_file(state | {f"audio2pose.{key}": value for key, value in TRAINING_TENSORS.items()}, path)


@pytest.mark.parametrize("name", LEGACY_FILES)
def test_load_network_file_reads_the_same_network_from_both_layouts(tmp_path, name):
    networks = build_small_networks()
    write_single_file(tmp_path / "all.safetensors", networks)
    state = networks[name].state_dict() | (TRAINING_TENSORS if name == "audio2pose" else {})
    optimizer_state = {0: {"step": 3, "exp_avg": torch.ones(2)}}
    torch.save({"epoch": 300, "model": state, "optimizer": {"state": optimizer_state}}, tmp_path / "old.pth")
    for file in ("all.safetensors", "old.pth"):
        assert_same_network(load_network_file(build_meta_network(name), tmp_path / file, name), networks[name])


def test_load_networks_reads_a_folder_of_either_layout_in_float32(tmp_path):
    torch.manual_seed(1)
    networks = {"audio2exp": Audio2Exp().half(), "audio2pose": Audio2Pose().half()}
    with pytest.raises(WeightsError, match=r"no SadTalker weights.*safetensors.*auido2exp.*auido2pose"):
        load_networks(tmp_path)
    for name, network in networks.items():
        torch.save({"model": network.state_dict()}, tmp_path / LEGACY_FILES[name])
    for loaded, network in zip(load_networks(tmp_path), networks.values(), strict=True):
        assert_same_network(loaded, network.float())

    # The single file is preferred to the older ones. This one holds networks of another size.
    write_single_file(tmp_path / "small.safetensors", build_small_networks())
    with pytest.raises(WeightsError, match=r"small\.safetensors.*with the wrong shape"):
        load_networks(tmp_path)


class _Code:
    def __reduce__(self):
        return os.mkdir, ("created_by_unpickling",)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_load_network_file_refuses_other_files_with_one_line(tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    valid = tmp_path / f"valid.{suffix}"
    state = build_small_networks()["audio2exp"].state_dict()
    if suffix == "pth":
        torch.save({"model": state}, valid)
    else:
        save_file({f"audio2exp.{key}": value for key, value in state.items()}, valid)
    content = valid.read_bytes()
    load_network_file(build_meta_network("audio2exp"), valid, "audio2exp")

    contents = {
        "empty": b"",
        "text": b"<html>not found</html>" * 10,
        "truncated": content[: len(content) // 2],
        "pickle": pickle.dumps({"model": _Code()}, protocol=2),
    }
    for name, damaged in contents.items():
        (tmp_path / f"{name}.{suffix}").write_bytes(damaged)
    if suffix == "pth":
        incomplete = {key: value for key, value in state.items() if key != "mapping1.bias"}
        torch.save({"model": _Code()}, tmp_path / "code.pth")
        torch.save([1, 2], tmp_path / "list.pth")
        torch.save({"model": {"mapping1.bias": 3}}, tmp_path / "numbers.pth")
        torch.save({"model": incomplete}, tmp_path / "incomplete.pth")
    else:
        save_file({"generator.x": torch.zeros(1)}, tmp_path / "other.safetensors")
    paths = [path for path in tmp_path.glob(f"*.{suffix}") if path != valid] + [tmp_path / f"absent.{suffix}"]
    assert len(paths) == (9 if suffix == "pth" else 6)
    for path in paths:
        with pytest.raises(WeightsError) as failure:
            load_network_file(build_meta_network("audio2exp"), path, "audio2exp")
        message = str(failure.value)
        assert path.name in message and "\n" not in message, path.name
    assert not (tmp_path / "created_by_unpickling").exists()
