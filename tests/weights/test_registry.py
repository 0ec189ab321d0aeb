"""The registry's entries are complete and safe to use."""

import re
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import pytest

from mimaface_cli.errors import WeightsError
from mimaface_cli.weights import checkpoint_files as contents
from mimaface_cli.weights.registry import ASSETS, AssetFile, find_asset


@pytest.mark.parametrize("name", sorted(ASSETS))
def test_an_entry_is_complete(name):
    asset = find_asset(name)
    assert asset.name == name and asset.purpose and asset.license and asset.files
    for file in asset.files:
        path = PurePosixPath(file.path)
        assert not path.is_absolute() and ".." not in path.parts and "\\" not in file.path and str(path) == file.path
        assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert file.size is None or file.size > 0
        assert file.shipped or file.url or file.carriers or file.hub
        for source in file.hub:
            assert source.repo.count("/") == 1 and not PurePosixPath(source.path).is_absolute()
            assert source.sha256 is None or re.fullmatch("[0-9a-f]{64}", source.sha256)
        assert file.content is None or file.content in contents.NETWORKS or file.content in contents._PLAIN
        assert file.url is None or (urlsplit(file.url).scheme == "https" and urlsplit(file.url).hostname)


def test_no_two_files_share_a_path():
    paths = [file.path.lower() for asset in ASSETS.values() for file in asset.files]
    assert len(paths) == len(set(paths))


def test_what_others_made_needs_a_hash():
    with pytest.raises(ValueError, match="known by its hash"):
        AssetFile("model.bin", None, url="https://models.invalid/model.bin")


def test_unknown_names_are_refused():
    with pytest.raises(WeightsError, match="no such model; known are"):
        find_asset("absent")
