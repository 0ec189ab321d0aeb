"""Real media for the tests that want them; they are not part of the project."""

import csv
from pathlib import Path

import pytest

_REAL = Path(__file__).parents[3] / "shared" / "media"


@pytest.fixture(scope="session")
def real_media() -> Path:
    """The folder of real clips and portraits."""
    if not (_REAL / "manifest.csv").is_file():
        pytest.skip(f"real media are not there ({_REAL})")
    return _REAL


@pytest.fixture(scope="session")
def manifest(real_media) -> dict[str, dict[str, str]]:
    """What each real file is, by its name in the folder."""
    with open(real_media / "manifest.csv", newline="", encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


@pytest.fixture
def clean(tmp_path):
    """A folder that a test must leave with named files only."""

    def check(*names: str) -> None:
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)

    return check
