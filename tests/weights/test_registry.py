"""The registry's entries are complete and safe to use."""

import re
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import pytest

from mimaface_cli.errors import WeightsError
from mimaface_cli.weights.checkpoint_files import UNCONVERTED_CHECKS
from mimaface_cli.weights.checkpoint_layouts import NETWORK_LAYOUTS
from mimaface_cli.weights.registry import ASSETS, Asset, AssetFile, HubFile, find_asset


@pytest.mark.parametrize("name", sorted(ASSETS))
def test_asset_is_complete_and_has_safe_paths(name):
    asset = find_asset(name)
    assert asset.name == name and asset.purpose and asset.license and asset.files
    for file in asset.files:
        path = PurePosixPath(file.path)
        assert not path.is_absolute() and ".." not in path.parts and "\\" not in file.path and str(path) == file.path
        assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert file.size is None or file.size > 0
        assert file.is_shipped or file.url or file.carriers or file.hub
        for source in file.hub:
            assert source.repo.count("/") == 1 and not PurePosixPath(source.path).is_absolute()
            assert source.sha256 is None or re.fullmatch("[0-9a-f]{64}", source.sha256)
        assert file.content is None or file.content in NETWORK_LAYOUTS or file.content in UNCONVERTED_CHECKS
        assert file.url is None or (urlsplit(file.url).scheme == "https" and urlsplit(file.url).hostname)


def test_installed_paths_are_unique():
    paths = [file.path.lower() for asset in ASSETS.values() for file in asset.files]
    assert len(paths) == len(set(paths))


def test_asset_file_from_outside_the_project_needs_a_hash():
    with pytest.raises(ValueError, match="needs a hash"):
        AssetFile("model.bin", None, url="https://models.invalid/model.bin")


def test_find_asset_lists_the_known_names_for_an_unknown_one():
    with pytest.raises(WeightsError, match=r"absent: no such model\. Choose one of animatediff, arcface, clip"):
        find_asset("absent")


def test_expected_size_is_the_sum_of_the_files_or_the_approximate_size():
    known = AssetFile("a.bin", hub=(HubFile("o/a", "a.bin", size=3), HubFile("o/b", "a.bin")))
    unknown = AssetFile("b.bin", hub=(HubFile("o/a", "b.bin"),))
    config = AssetFile("c.json", hub=(HubFile("o/a", "c.json"),))
    assert Asset("toy", "toy", "CC0", (known, known, config), approximate_size=9).expected_size == 6
    assert Asset("toy", "toy", "CC0", (known, unknown), approximate_size=9).expected_size == 9
    assert Asset("toy", "toy", "CC0", (unknown,)).expected_size is None
