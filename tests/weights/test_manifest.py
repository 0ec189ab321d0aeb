"""Installed files are recognized by the manifest, and changed ones are detected."""

import hashlib
import json
import os

import pytest

from mimaface_cli.errors import WeightsError
from mimaface_cli.weights import manifest
from mimaface_cli.weights.install import import_folder
from mimaface_cli.weights.locate import find_missing_files, locate_files
from mimaface_cli.weights.registry import ASSETS, Asset, AssetFile, find_asset
from mimaface_cli.weights.status import DAMAGED, INSTALLED, MISSING, inspect_files, overall_state

MIMAFACE = [file.path for file in find_asset("mimaface").files]
MIA = "mimaface/video/mia.safetensors"
INVALID_ROW = {"size": "x", "mtime_ns": 1, "sha256": "", "source": "", "source_sha256": ""}

pytestmark = pytest.mark.usefixtures("cached_mat_files")


@pytest.fixture
def toy(monkeypatch) -> AssetFile:
    content = b"a released file"
    file = AssetFile(
        "toy/model.bin", hashlib.sha256(content).hexdigest(), len(content), "https://models.invalid/model.bin"
    )
    monkeypatch.setitem(ASSETS, "toy", Asset("toy", "a toy", "CC0", (file,), ("speech",)))
    return file


def test_changed_files_are_detected_by_size_or_hash(release_folder, weights_folder):
    import_folder(release_folder)
    path = weights_folder / MIA
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert find_missing_files("mimaface") == [MIA]
    with pytest.raises(
        WeightsError, match=r"mia\.safetensors: has .* bytes instead of .*\. Run mimaface weights pull mimaface"
    ):
        locate_files("mimaface")
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert find_missing_files("mimaface") == [MIA]
    assert import_folder(release_folder).installed == [MIA] and find_missing_files("mimaface") == []


def test_copied_folder_is_hashed_only_once(release_folder, weights_folder, monkeypatch):
    import_folder(release_folder)
    for path in weights_folder.rglob("*.*"):
        os.utime(path, (1, 1))
    assert find_missing_files("mimaface") == []
    hashed = []
    monkeypatch.setattr(manifest, "sha256_of", hashed.append)
    assert find_missing_files("mimaface") == [] and hashed == []


def test_damage_with_an_unchanged_modification_time_is_detected_by_a_thorough_check_and_recorded(
    release_folder, weights_folder
):
    import_folder(release_folder)
    asset, path = find_asset("mimaface"), weights_folder / MIA
    content, times = path.read_bytes(), path.stat()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert overall_state(inspect_files(asset)) == INSTALLED
    damaged = [state for state in inspect_files(asset, thorough=True) if state.state == DAMAGED]
    assert [state.path for state in damaged] == [MIA] and "has the SHA-256" in damaged[0].problem
    assert overall_state(inspect_files(asset)) == DAMAGED and find_missing_files("mimaface") == [MIA]


def test_files_without_an_entry_are_not_trusted(release_folder, weights_folder):
    import_folder(release_folder)
    (weights_folder / "manifest.json").write_text("{}")
    assert find_missing_files("mimaface") == MIMAFACE
    with pytest.raises(WeightsError, match=r"was not installed by mimaface\. Run mimaface weights pull mimaface"):
        locate_files("mimaface")
    assert import_folder(release_folder).installed == MIMAFACE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"version": 2, "files": {}}',
        '{"version": 1, "files": {"a": {"size": 1}}}',
        json.dumps({"version": 1, "files": {"a": INVALID_ROW}}),
        "[" * 100_000,
    ],
    ids=["empty", "list", "other version", "incomplete entry", "wrong type", "deep nesting"],
)
def test_unreadable_manifest_counts_as_empty(weights_folder, text):
    weights_folder.mkdir()
    (weights_folder / "manifest.json").write_text(text)
    assert manifest.read(weights_folder) == {} and find_missing_files("mimaface") == MIMAFACE


def test_released_file_copied_by_the_user_is_recognized_by_its_hash(toy, weights_folder):
    content = b"a released file"
    with pytest.raises(
        WeightsError, match=r"toy/model\.bin: not installed in .* \(a toy\)\. Run mimaface weights pull toy"
    ):
        locate_files("toy")
    (weights_folder / "toy").mkdir(parents=True)
    (weights_folder / toy.path).write_bytes(content)
    assert find_missing_files("toy") == [] and toy.path in manifest.read(weights_folder)
    (weights_folder / "manifest.json").unlink()
    (weights_folder / toy.path).write_bytes(content[::-1])
    assert find_missing_files("toy") == [toy.path]


def test_inspect_files_reports_missing_files_without_a_location(toy):
    (state,) = inspect_files(find_asset("toy"))
    assert (state.path, state.state, state.where, state.size) == (toy.path, MISSING, None, 0)
