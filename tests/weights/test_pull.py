"""Pulling: everything asked first, then fetched whole or resumed, converted, recorded; nothing half is ever taken."""

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
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from mimaface_cli.errors import WeightsError
from mimaface_cli.weights import hub as hub_module
from mimaface_cli.weights import manifest
from mimaface_cli.weights.locate import find_missing_files, locate_files
from mimaface_cli.weights.pull import pull
from mimaface_cli.weights.registry import ASSETS, Asset, AssetFile, HubFile, find_asset
from tests.conftest import ROOT

MODEL = bytes(range(256)) * 2000
HEADS = {f"lin{i}.model.1.weight": torch.full((1, 4, 1, 1), float(i)) for i in range(5)}

# Registers the asset in a process of its own and pulls it.
SCRIPT = """
from mimaface_cli.weights.registry import *
from mimaface_cli.weights.pull import pull
file = AssetFile("toy/model.bin", hub=(HubFile("org/model", "model.bin"),))
asset = Asset("toy", "a toy", "CC0", (file,), ("speech",))
ASSETS["toy"] = asset
print(pull([asset]))
"""


def pickled(value: object) -> bytes:
    held = io.BytesIO()
    torch.save(value, held)
    return held.getvalue()


@pytest.fixture(autouse=True)
def here(hub, monkeypatch, tmp_path):
    hub.repos["org/model"] = {"model.bin": MODEL, "heads.pth": pickled(HEADS), "config.json": b'{"a": 1}'}
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


def left(folder) -> list[str]:
    """Every file in the weights folder, but locks."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    )


WHOLE = ["manifest.json", "toy/config.json", "toy/heads.safetensors", "toy/model.bin"]


def test_what_is_missing_comes_and_is_recorded(toy, hub, own_world):
    steps = []
    assert find_missing_files("toy") == [file.path for file in toy.files]
    assert pull([toy], lambda *step: steps.append(step)) == [file.path for file in toy.files]
    assert left(own_world) == WHOLE and find_missing_files("toy") == []
    assert (own_world / "toy/model.bin").read_bytes() == MODEL
    kept = load_file(own_world / "toy/heads.safetensors")
    assert kept.keys() == HEADS.keys() and all(torch.equal(kept[key], HEADS[key]) for key in kept)
    entries = manifest.read(own_world)
    for path, name in (("toy/model.bin", "model.bin"), ("toy/heads.safetensors", "heads.pth")):
        original = hashlib.sha256(hub.repos["org/model"][name]).hexdigest()
        assert entries[path].source_sha256 == original and entries[path].source.endswith(f"/{name}")
    assert entries["toy/config.json"].source_sha256 == hashlib.sha256(b'{"a": 1}').hexdigest()
    assert ("toy/model.bin", len(MODEL), len(MODEL)) in steps


def test_nothing_is_asked_for_what_is_here(toy, hub):
    pull([toy])
    hub.asked.clear()
    assert pull([toy]) == [] and hub.asked == []


def test_what_is_damaged_comes_anew_and_alone(toy, hub, own_world):
    pull([toy])
    (own_world / "toy/model.bin").write_bytes(MODEL[:-1])
    hub.asked.clear()
    assert find_missing_files("toy") == ["toy/model.bin"] and pull([toy]) == ["toy/model.bin"]
    assert [asked.path for asked in hub.bodies()] == ["/cdn/org--model/model.bin"]
    assert (own_world / "toy/model.bin").read_bytes() == MODEL


def test_a_broken_transfer_goes_on(toy, hub, own_world):
    hub.cuts, hub.codes = [100_000, 50], []
    pull([toy])
    assert left(own_world) == WHOLE
    spans = [asked.span for asked in hub.bodies() if asked.path.endswith("model.bin")]
    assert spans == [None, "bytes=100000-", "bytes=100050-"]


def test_wrong_bytes_are_never_installed(toy, hub, own_world):
    hub.wrong["model.bin"] = MODEL[:-1] + b"?"
    with pytest.raises(WeightsError, match="is not the released file: what came has the hash"):
        pull([toy])
    assert left(own_world) == [] and find_missing_files("toy")
    hub.wrong = {"config.json": b'{"a": 2}'}
    with pytest.raises(WeightsError, match="config.json: is not the released file: what came has the hash"):
        pull([toy])
    assert left(own_world) == ["manifest.json", "toy/heads.safetensors", "toy/model.bin"]


def test_the_token_is_shown_to_the_hub_alone(toy, hub, monkeypatch):
    hub.private.add("org/model")
    monkeypatch.setenv("HF_TOKEN", hub.token)
    pull([toy])
    assert {asked.authorization for asked in hub.bodies()} == {None}
    assert all(asked.authorization for asked in hub.asked if "/resolve/" in asked.path)


def test_the_space_for_everything_is_checked_before_the_first_byte(toy, hub, own_world, monkeypatch):
    heads = len(hub.repos["org/model"]["heads.pth"])
    needed = len(MODEL) + 2 * heads + len(b'{"a": 1}')  # what is converted exists twice for a while
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=needed - 1))
    with pytest.raises(WeightsError, match=r"0\.0 GB are needed and 0\.0 GB free; free some space, or choose another"):
        pull([toy])
    assert left(own_world) == [] and not hub.bodies()
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=needed))
    pull([toy])


def test_everything_is_looked_up_before_the_first_byte(toy, hub, own_world):
    del hub.repos["org/model"]["config.json"]
    with pytest.raises(WeightsError, match="org/model: has no config.json"):
        pull([toy])
    assert not hub.bodies() and left(own_world) == []


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (pickled({"lin0.model.1.weight": torch.zeros(1)}), "4 missing .*1 of another shape"),
        (pickled({**HEADS, "net.weight": torch.zeros(1)}), r"1 unexpected \(net.weight\)"),
        (b"no pickle at all", "not plain weights|cannot be read as weights"),
        (b"", "cannot be read as weights"),
        (pickled(HEADS)[:-200], "cannot be read as weights"),
        (b"\x80\x02cposix\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03.", "not plain weights"),
    ],
)
def test_another_network_or_none_is_not_installed(toy, hub, own_world, content, fault):
    hub.repos["org/model"]["heads.pth"] = content
    with pytest.raises(WeightsError, match=fault) as caught:
        pull([toy])
    assert "\n" not in str(caught.value)
    assert find_missing_files("toy") == ["toy/heads.safetensors", "toy/config.json"]
    assert not (own_world / "toy/heads.safetensors").exists()


def test_a_killed_pull_goes_on_where_it_was(hub, own_world):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    hub.pace = 200_000
    running = subprocess.Popen([sys.executable, "-c", SCRIPT], env=environment)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size > 100_000 for path in own_world.glob(".staging/*.part")):
        assert time.monotonic() < deadline and running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not (own_world / "toy").exists() or not list((own_world / "toy").glob("model.bin"))
    hub.pace = None
    ran = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout == "['toy/model.bin']\n"
    assert (own_world / "toy/model.bin").read_bytes() == MODEL and left(own_world) == ["manifest.json", "toy/model.bin"]
    assert int(hub.bodies()[-1].span.removeprefix("bytes=").rstrip("-")) > 100_000


def test_what_a_run_fetched_but_did_not_install_is_not_fetched_again(toy, hub, own_world, monkeypatch):
    def die(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mimaface_cli.weights.pull.install", die)
        with pytest.raises(KeyboardInterrupt):
            pull([toy])
    hub.asked.clear()
    pull([toy])
    assert left(own_world) == WHOLE
    assert not any(asked.path.endswith("/model.bin") for asked in hub.bodies())


def test_what_was_begun_of_another_model_is_kept_and_what_has_changed_since_is_not(toy, hub, own_world):
    staging = own_world / ".staging"
    staging.mkdir(parents=True)
    (staging / "other--model.bin.0123456789abcdef.part").write_bytes(b"begun")
    (staging / "toy--model.bin.0123456789abcdef.part").write_bytes(b"of an older revision")
    pull([toy])
    assert left(own_world) == [".staging/other--model.bin.0123456789abcdef.part", *WHOLE]


def test_a_crash_between_record_and_place_leaves_a_missing_file(toy, own_world, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("mimaface_cli.weights.install.os.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            pull([toy])
    assert find_missing_files("toy") == [file.path for file in toy.files]
    pull([toy])
    assert left(own_world) == WHOLE


def test_two_runs_fetch_each_file_once(toy, hub, own_world):
    hub.pace = 2_000_000
    with ThreadPoolExecutor(2) as pool:
        said = [[], []]
        runs = [pool.submit(pull, [toy], lambda *step, words=words: words.append(step[0])) for words in said]
        assert sorted(len(run.result(60)) for run in runs) in ([0, 3], [3, 3])
    assert len([asked for asked in hub.bodies() if asked.path.endswith("model.bin")]) == 1
    assert "waiting for another run that fetches" in said[0] + said[1]


def test_plain_addresses_come_from_the_mirror_and_are_converted(monkeypatch, hub, own_world):
    heads = pickled(HEADS)
    url = "https://models.invalid/v1/alex.pth"
    file = AssetFile("toy/heads.safetensors", hashlib.sha256(heads).hexdigest(), len(heads), url, content="lpips heads")
    monkeypatch.setitem(ASSETS, "toy", Asset("toy", "a toy", "CC0", (file,), ("metrics",)))
    hub.plain["/mirror/toy/alex.pth"] = heads
    assert pull([ASSETS["toy"]]) == ["toy/heads.safetensors"]
    entry = manifest.read(own_world)["toy/heads.safetensors"]
    assert entry.source == url and entry.source_sha256 == file.sha256


def test_a_small_asset_is_pulled_by_name_too(monkeypatch, hub, own_world):
    content = b"small"
    file = AssetFile("toy.bin", hashlib.sha256(content).hexdigest(), len(content), "https://models.invalid/toy.bin")
    monkeypatch.setitem(ASSETS, "toy", Asset("toy", "a toy", "CC0", (file,)))
    hub.plain["/mirror/toy.bin"] = content
    pull([ASSETS["toy"]])
    assert (own_world / "toy.bin").read_bytes() == content


def test_a_disk_that_refuses_is_one_line(toy, own_world):
    own_world.parent.mkdir(exist_ok=True)
    own_world.write_text("not a folder")
    with pytest.raises(Exception, match="cannot be written") as caught:
        pull([toy])
    assert caught.value.exit_code == 4 and "\n" not in str(caught.value)


def test_the_tiny_release_is_pulled_whole(hub, release_folder, vae_folder, own_world):
    from tests.tiny import publish

    publish(hub, release_folder, vae_folder)
    pull([find_asset("mimaface"), find_asset("vae")])
    assert find_missing_files("mimaface") == find_missing_files("vae") == []
    assert json.loads(locate_files("mimaface")["mimaface/video/clip.json"].read_text())["hidden_size"] == 32
    assert not any(path.suffix in (".pth", ".bin") for path in own_world.rglob("*"))
