"""Lookup of files on the hub, and one-line errors for files that are not available."""

import hashlib
import os
import subprocess
import sys

import pytest

from mimaface_cli.errors import WeightsError
from mimaface_cli.weights import hub as hub_module
from mimaface_cli.weights.hub import find_hub_file
from mimaface_cli.weights.registry import HubFile
from tests.conftest import ROOT
from tests.hub import COMMIT

LARGE = b"large " * 100
MODEL, CONFIG = HubFile("org/model", "deep/model.bin"), HubFile("org/model", "config.json")


@pytest.fixture(autouse=True)
def local_hub(hub, monkeypatch, tmp_path):
    hub.repos["org/model"] = {"deep/model.bin": LARGE, "config.json": b"{}"}
    for name, value in hub.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(hub_module, "_PAUSE", 0.0)


def test_find_hub_file_reports_sha256_and_revision_of_a_large_file(hub):
    entry = find_hub_file([MODEL])
    assert entry.digest == hashlib.sha256(LARGE).hexdigest() and entry.size == len(LARGE)
    assert entry.url == f"{hub.base}/org/model/resolve/{COMMIT}/deep/model.bin"
    assert entry.source == f"org/model@{COMMIT}/deep/model.bin" and entry.headers == {}
    assert not hub.large_file_requests()


def test_find_hub_file_reports_the_git_hash_of_a_small_file():
    entry = find_hub_file([CONFIG])
    assert entry.digest == hashlib.sha1(b"blob 2\0{}").hexdigest() and entry.size == 2


def test_find_hub_file_returns_the_first_available_candidate():
    candidates = [HubFile("org/gone", "model.bin"), HubFile("org/model", "absent.bin"), MODEL, CONFIG]
    assert find_hub_file(candidates).file == MODEL


def test_find_hub_file_lists_every_failed_candidate_on_one_line(hub):
    with pytest.raises(WeightsError) as failure:
        find_hub_file([HubFile("org/gone", "model.bin"), HubFile("org/model", "absent.bin")])
    text = str(failure.value)
    assert f"{hub.base}/org/gone: no such repository" in text and "Set HF_TOKEN if it is private" in text
    assert f"{hub.base}/org/model: has no absent.bin" in text and "weights import" in text and "\n" not in text


def test_find_hub_file_opens_gated_and_private_repositories_with_the_users_token(hub, monkeypatch):
    gated_message = r"org/model: access is gated\. Accept its license there and set HF_TOKEN"
    hub.gated.add("org/model")
    with pytest.raises(WeightsError, match=gated_message):
        find_hub_file([MODEL])
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(WeightsError, match=gated_message):
        find_hub_file([MODEL])
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert find_hub_file([MODEL]).headers == {"Authorization": f"Bearer {hub.token}"}
    hub.gated, hub.private = set(), {"org/model"}
    assert find_hub_file([MODEL]).digest
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(WeightsError, match="no such repository, or no access"):
        find_hub_file([MODEL])


@pytest.mark.parametrize("code", [401, 403])
def test_find_hub_file_suggests_a_token_if_access_is_denied(hub, code):
    hub.head_error_codes = [code]
    with pytest.raises(WeightsError, match="HF_TOKEN"):
        find_hub_file([MODEL])


def test_find_hub_file_tries_a_busy_hub_up_to_three_times(hub):
    hub.head_error_codes = [503, 429]
    assert find_hub_file([MODEL]).digest
    hub.head_error_codes = [500] * 3
    with pytest.raises(WeightsError, match=r"org/model: the server returned 500\. Try again later"):
        find_hub_file([MODEL])


def test_find_hub_file_reports_an_unreachable_hub_on_one_line(monkeypatch, closed_port):
    monkeypatch.setenv("HF_ENDPOINT", closed_port)
    with pytest.raises(WeightsError, match=rf"{closed_port}/org/model: cannot be reached .*HF_ENDPOINT") as failure:
        find_hub_file([MODEL])
    assert "\n" not in str(failure.value)


def test_find_hub_file_refuses_a_server_that_reports_no_hash(hub):
    hub.reports_hashes = False
    with pytest.raises(WeightsError, match=r"does not report the file's hash and revision\. Correct HF_ENDPOINT"):
        find_hub_file([MODEL])


def test_find_hub_file_refuses_a_hash_that_is_not_the_registered_one():
    sha256 = hashlib.sha256(LARGE).hexdigest()
    assert find_hub_file([HubFile("org/model", "deep/model.bin", sha256)]).digest == sha256
    with pytest.raises(WeightsError, match=f"is not the released file: it has the SHA-256 {sha256} instead of 00"):
        find_hub_file([HubFile("org/model", "deep/model.bin", "0" * 64)])


def test_find_hub_file_respects_offline_mode(hub):
    """In a separate process, because huggingface_hub reads the variable when it is imported."""
    script = (
        "from mimaface_cli.weights.hub import *\n"
        "try: find_hub_file([HubFile('org/model', 'config.json')])\n"
        "except WeightsError as error: print(error)"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert "HF_HUB_OFFLINE forbids the network" in process.stdout and hub.requests == []
