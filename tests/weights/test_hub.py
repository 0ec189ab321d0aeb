"""What a file is on the hub, and one clear line where it is not to be had."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mimaface_cli.errors import WeightsError
from mimaface_cli.weights import hub as module
from mimaface_cli.weights.hub import find
from mimaface_cli.weights.registry import HubFile
from tests.hub import COMMIT

ROOT = Path(module.__file__).parents[2]
LARGE = b"large " * 100
MODEL, CONFIG = HubFile("org/model", "deep/model.bin"), HubFile("org/model", "config.json")


@pytest.fixture(autouse=True)
def here(hub, monkeypatch, tmp_path):
    hub.repos["org/model"] = {"deep/model.bin": LARGE, "config.json": b"{}"}
    for name, value in hub.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(module, "_PAUSE", 0.0)


def test_a_large_file_is_known_by_its_sha256_at_its_revision(hub):
    found = find([MODEL])
    assert found.digest == hashlib.sha256(LARGE).hexdigest() and found.size == len(LARGE)
    assert found.url == f"{hub.base}/org/model/resolve/{COMMIT}/deep/model.bin"
    assert found.source == f"org/model@{COMMIT}/deep/model.bin" and found.headers == {}
    assert not hub.bodies()


def test_a_small_file_is_known_by_its_git_hash(hub):
    found = find([CONFIG])
    assert found.digest == hashlib.sha1(b"blob 2\0{}").hexdigest() and found.size == 2


def test_the_first_that_is_there_is_taken(hub):
    candidates = [HubFile("org/gone", "model.bin"), HubFile("org/model", "absent.bin"), MODEL, CONFIG]
    assert find(candidates).file == MODEL


def test_all_that_was_tried_is_told(hub):
    with pytest.raises(WeightsError) as caught:
        find([HubFile("org/gone", "model.bin"), HubFile("org/model", "absent.bin")])
    text = str(caught.value)
    assert f"{hub.base}/org/gone: no such repository" in text and "set HF_TOKEN if it is private" in text
    assert f"{hub.base}/org/model: has no absent.bin" in text and "weights import" in text and "\n" not in text


def test_the_users_token_opens_what_is_gated_or_private(hub, monkeypatch):
    hub.gated.add("org/model")
    with pytest.raises(WeightsError, match="org/model: accept its license there, and set HF_TOKEN"):
        find([MODEL])
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(WeightsError, match="org/model: accept its license there, and set HF_TOKEN"):
        find([MODEL])
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert find([MODEL]).headers == {"Authorization": f"Bearer {hub.token}"}
    hub.gated, hub.private = set(), {"org/model"}
    assert find([MODEL]).digest
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(WeightsError, match="no such repository, or not one for you"):
        find([MODEL])


@pytest.mark.parametrize("code", [401, 403])
def test_a_refusal_asks_for_a_token(hub, code):
    hub.head_codes = [code]
    with pytest.raises(WeightsError, match="HF_TOKEN"):
        find([MODEL])


def test_a_busy_hub_is_asked_again_and_then_left(hub):
    hub.head_codes = [503, 429]
    assert find([MODEL]).digest
    hub.head_codes = [500] * 3
    with pytest.raises(WeightsError, match="org/model: the server answers 500; try again later"):
        find([MODEL])


def test_nobody_there_is_said(monkeypatch, closed_port):
    monkeypatch.setenv("HF_ENDPOINT", closed_port)
    with pytest.raises(WeightsError, match=f"{closed_port}/org/model: cannot be reached .*HF_ENDPOINT") as caught:
        find([MODEL])
    assert "\n" not in str(caught.value)


def test_a_server_that_tells_no_hash_is_no_hub(hub):
    hub.hashes = False
    with pytest.raises(WeightsError, match="does not tell the file's hash and revision; correct HF_ENDPOINT"):
        find([MODEL])


def test_another_file_than_the_registered_is_refused_before_it_is_fetched(hub):
    right = hashlib.sha256(LARGE).hexdigest()
    assert find([HubFile("org/model", "deep/model.bin", right)]).digest == right
    with pytest.raises(WeightsError, match=f"is not the released file: it has the SHA-256 {right} instead of 00"):
        find([HubFile("org/model", "deep/model.bin", "0" * 64)])


def test_offline_is_respected(hub):
    script = (
        "from mimaface_cli.weights.hub import *\n"
        "try: find([HubFile('org/model', 'config.json')])\n"
        "except WeightsError as error: print(error)"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert "HF_HUB_OFFLINE forbids the network" in ran.stdout and hub.asked == []
