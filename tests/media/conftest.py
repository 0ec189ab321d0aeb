"""Fixtures of the media tests."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

_REAL_MEDIA = Path(__file__).parents[3] / "shared" / "media"


@pytest.fixture(scope="session")
def real_media() -> Path:
    """The folder of real clips and portraits, which are not part of the project."""
    if not (_REAL_MEDIA / "manifest.csv").is_file():
        pytest.skip(f"the folder of real media is missing ({_REAL_MEDIA})")
    return _REAL_MEDIA


@pytest.fixture(scope="session")
def manifest(real_media) -> dict[str, dict[str, str]]:
    """The properties of each real file, by its name in the folder."""
    with open(real_media / "manifest.csv", newline="", encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


@pytest.fixture
def assert_folder_holds(tmp_path) -> Callable[..., None]:
    """A function that checks that `tmp_path` holds exactly the named files."""

    def check(*names: str) -> None:
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)

    return check
