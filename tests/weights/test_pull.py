"""Pulls look up, download, convert and record files, and install no partial file."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from mimaface_cli.errors import OutputError, WeightsError
from mimaface_cli.weights import hub as hub_module
from mimaface_cli.weights import manifest
from mimaface_cli.weights.locate import find_missing_files, locate_files
from mimaface_cli.weights.pull import pull
from mimaface_cli.weights.registry import ASSETS, Asset, AssetFile, HubFile, find_asset
from tests.conftest import ROOT

MODEL = bytes(range(256)) * 2000
HEADS = {f"lin{i}.model.1.weight": torch.full((1, 4, 1, 1), float(i)) for i in range(5)}
ALL_FILES = ["manifest.json", "toy/config.json", "toy/heads.safetensors", "toy/model.bin"]
MALICIOUS_PICKLE = b"\x80\x02cposix\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03."

# Registers the asset in a separate process and pulls it.
SCRIPT = """
from mimaface_cli.weights.registry import *
from mimaface_cli.weights.pull import pull
file = AssetFile("toy/model.bin", hub=(HubFile("org/model", "model.bin"),))
asset = Asset("toy", "a toy", "CC0", (file,), ("speech",))
ASSETS["toy"] = asset
print(pull([asset]))
"""


def pickle_tensors(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def local_hub(hub, monkeypatch, tmp_path):
    hub.repos["org/model"] = {"model.bin": MODEL, "heads.pth": pickle_tensors(HEADS), "config.json": b'{"a": 1}'}
    for name, value in hub.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(hub_module, "_PAUSE", 0.0)


@pytest.fixture
def toy(monkeypatch) -> Asset:
    files = (
        AssetFile("toy/model.bin", hub=(HubFile("org/model", "model.bin"),)),
        AssetFile("toy/heads.safetensors", hub=(HubFile("org/model", "heads.pth"),), content="lpips heads"),
        AssetFile("toy/config.json", hub=(HubFile("org/model", "config.json"),)),
    )
    monkeypatch.setitem(ASSETS, "toy", Asset("toy", "a toy", "CC0", files, ("speech",)))
    return ASSETS["toy"]


def list_files(folder: Path) -> list[str]:
    """List every file in the weights folder, without locks."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    )


def test_pull_installs_and_records_missing_files(toy, hub, weights_folder):
    steps = []
    paths = [file.path for file in toy.files]
    assert find_missing_files("toy") == paths
    assert pull([toy], lambda *step: steps.append(step)) == paths
    assert list_files(weights_folder) == ALL_FILES and find_missing_files("toy") == []
    assert (weights_folder / "toy/model.bin").read_bytes() == MODEL
    heads = load_file(weights_folder / "toy/heads.safetensors")
    assert heads.keys() == HEADS.keys() and all(torch.equal(heads[key], HEADS[key]) for key in heads)
    entries = manifest.read(weights_folder)
    for path, name in (("toy/model.bin", "model.bin"), ("toy/heads.safetensors", "heads.pth")):
        original = hashlib.sha256(hub.repos["org/model"][name]).hexdigest()
        assert entries[path].source_sha256 == original and entries[path].source.endswith(f"/{name}")
    assert entries["toy/config.json"].source_sha256 == hashlib.sha256(b'{"a": 1}').hexdigest()
    assert ("toy/model.bin", len(MODEL), len(MODEL)) in steps


def test_pull_sends_no_request_for_installed_files(toy, hub):
    pull([toy])
    hub.requests.clear()
    assert pull([toy]) == [] and hub.requests == []


def test_pull_replaces_only_the_damaged_file(toy, hub, weights_folder):
    pull([toy])
    (weights_folder / "toy/model.bin").write_bytes(MODEL[:-1])
    hub.requests.clear()
    assert find_missing_files("toy") == ["toy/model.bin"] and pull([toy]) == ["toy/model.bin"]
    assert [request.path for request in hub.large_file_requests()] == ["/cdn/org--model/model.bin"]
    assert (weights_folder / "toy/model.bin").read_bytes() == MODEL


def test_pull_resumes_a_broken_transfer(toy, hub, weights_folder):
    hub.cuts = [100_000, 50]
    pull([toy])
    assert list_files(weights_folder) == ALL_FILES
    ranges = [request.byte_range for request in hub.large_file_requests() if request.path.endswith("model.bin")]
    assert ranges == [None, "bytes=100000-", "bytes=100050-"]


def test_pull_never_installs_wrong_bytes(toy, hub, weights_folder):
    hub.corrupted["model.bin"] = MODEL[:-1] + b"?"
    with pytest.raises(WeightsError, match="is not the released file: the downloaded file has the hash"):
        pull([toy])
    assert list_files(weights_folder) == [] and find_missing_files("toy")
    hub.corrupted = {"config.json": b'{"a": 2}'}
    with pytest.raises(WeightsError, match=r"config\.json: is not the released file: the downloaded file has the hash"):
        pull([toy])
    assert list_files(weights_folder) == ["manifest.json", "toy/heads.safetensors", "toy/model.bin"]


def test_pull_sends_the_token_only_to_the_hub(toy, hub, monkeypatch):
    hub.private.add("org/model")
    monkeypatch.setenv("HF_TOKEN", hub.token)
    pull([toy])
    assert {request.authorization for request in hub.large_file_requests()} == {None}
    assert all(request.authorization for request in hub.requests if "/resolve/" in request.path)


def test_pull_checks_the_space_for_everything_before_downloading(toy, hub, weights_folder, monkeypatch):
    heads_size = len(hub.repos["org/model"]["heads.pth"])
    needed = len(MODEL) + 2 * heads_size + len(b'{"a": 1}')  # a converted file exists twice for a while
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=needed - 1))
    with pytest.raises(WeightsError, match=r"0\.0 GB are needed and 0\.0 GB are free\. Free some space, or set"):
        pull([toy])
    assert list_files(weights_folder) == [] and not hub.large_file_requests()
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=needed))
    pull([toy])


def test_pull_looks_everything_up_before_downloading(toy, hub, weights_folder):
    del hub.repos["org/model"]["config.json"]
    with pytest.raises(WeightsError, match=r"org/model: has no config\.json"):
        pull([toy])
    assert not hub.large_file_requests() and list_files(weights_folder) == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (pickle_tensors({"lin0.model.1.weight": torch.zeros(1)}), "4 missing .*1 with the wrong shape"),
        (pickle_tensors({**HEADS, "net.weight": torch.zeros(1)}), r"1 unexpected \(net.weight\)"),
        (b"no pickle at all", "not a plain weights file|cannot be read as weights"),
        (b"", "cannot be read as weights"),
        (pickle_tensors(HEADS)[:-200], "not a plain weights file|cannot be read as weights"),
        (MALICIOUS_PICKLE, "not a plain weights file"),
    ],
    ids=["another network", "extra tensor", "text", "empty", "truncated", "malicious"],
)
def test_pull_does_not_install_another_network(toy, hub, weights_folder, content, problem):
    hub.repos["org/model"]["heads.pth"] = content
    with pytest.raises(WeightsError, match=problem) as failure:
        pull([toy])
    assert "\n" not in str(failure.value)
    assert find_missing_files("toy") == ["toy/heads.safetensors", "toy/config.json"]
    assert not (weights_folder / "toy/heads.safetensors").exists()


def test_pull_resumes_after_its_process_was_killed(hub, weights_folder):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    hub.bytes_per_second = 200_000
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], env=environment)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size > 100_000 for path in weights_folder.glob(".staging/*.part")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (weights_folder / "toy/model.bin").exists()
    hub.bytes_per_second = None
    rerun = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    assert rerun.stdout == "['toy/model.bin']\n"
    assert (weights_folder / "toy/model.bin").read_bytes() == MODEL
    assert list_files(weights_folder) == ["manifest.json", "toy/model.bin"]
    assert int(hub.large_file_requests()[-1].byte_range.removeprefix("bytes=").rstrip("-")) > 100_000


def test_pull_installs_an_earlier_download_without_repeating_it(toy, hub, weights_folder, monkeypatch):
    def interrupt(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mimaface_cli.weights.pull.install", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pull([toy])
    hub.requests.clear()
    pull([toy])
    assert list_files(weights_folder) == ALL_FILES
    assert not any(request.path.endswith("/model.bin") for request in hub.large_file_requests())


def test_pull_keeps_partial_files_of_other_models_and_removes_outdated_ones(toy, weights_folder):
    staging = weights_folder / ".staging"
    staging.mkdir(parents=True)
    (staging / "other--model.bin.0123456789abcdef.part").write_bytes(b"partial")
    (staging / "toy--model.bin.0123456789abcdef.part").write_bytes(b"of an older revision")
    pull([toy])
    assert list_files(weights_folder) == [".staging/other--model.bin.0123456789abcdef.part", *ALL_FILES]


def test_pull_completes_after_a_crash_between_record_and_rename(toy, weights_folder, monkeypatch):
    def interrupt(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mimaface_cli.weights.install.os.replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pull([toy])
    assert find_missing_files("toy") == [file.path for file in toy.files]
    pull([toy])
    assert list_files(weights_folder) == ALL_FILES


def test_pull_downloads_once_for_two_concurrent_calls(toy, hub):
    hub.bytes_per_second = 2_000_000
    stages: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(pull, [toy], lambda stage, done, total: stages.append(stage)) for _ in range(2)]
        assert sorted(len(run.result(60)) for run in runs) in ([0, 3], [3, 3])
    assert len([request for request in hub.large_file_requests() if request.path.endswith("model.bin")]) == 1
    assert "waiting for another download" in stages


def test_pull_converts_a_file_from_the_mirror_of_its_address(monkeypatch, hub, weights_folder):
    heads = pickle_tensors(HEADS)
    url = "https://models.invalid/v1/alex.pth"
    file = AssetFile("toy/heads.safetensors", hashlib.sha256(heads).hexdigest(), len(heads), url, content="lpips heads")
    monkeypatch.setitem(ASSETS, "toy", Asset("toy", "a toy", "CC0", (file,), ("metrics",)))
    hub.plain_files["/mirror/toy/alex.pth"] = heads
    assert pull([ASSETS["toy"]]) == ["toy/heads.safetensors"]
    entry = manifest.read(weights_folder)["toy/heads.safetensors"]
    assert entry.source == url and entry.source_sha256 == file.sha256


def test_pull_downloads_a_small_asset_too(monkeypatch, hub, weights_folder):
    content = b"small"
    file = AssetFile("toy.bin", hashlib.sha256(content).hexdigest(), len(content), "https://models.invalid/toy.bin")
    monkeypatch.setitem(ASSETS, "toy", Asset("toy", "a toy", "CC0", (file,)))
    hub.plain_files["/mirror/toy.bin"] = content
    pull([ASSETS["toy"]])
    assert (weights_folder / "toy.bin").read_bytes() == content


def test_pull_reports_a_weights_folder_that_cannot_be_written_on_one_line(toy, weights_folder):
    weights_folder.parent.mkdir(exist_ok=True)
    weights_folder.write_text("not a folder")
    with pytest.raises(OutputError, match="cannot be written") as failure:
        pull([toy])
    assert "\n" not in str(failure.value)


def test_pull_installs_the_whole_tiny_release(hub, release_folder, vae_folder, weights_folder, cached_mat_files):
    from tests.tiny import publish

    publish(hub, release_folder, vae_folder)
    pull([find_asset("mimaface"), find_asset("vae")])
    assert find_missing_files("mimaface") == find_missing_files("vae") == []
    assert json.loads(locate_files("mimaface")["mimaface/video/clip.json"].read_text())["hidden_size"] == 32
    assert not any(path.suffix in (".pth", ".bin") for path in weights_folder.rglob("*"))
