"""Fixtures of the provenance tests."""

from pathlib import Path

import pytest


@pytest.fixture
def inputs(tmp_path) -> dict[str, Path]:
    """A source file by its role."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "photo.jpg").write_bytes(b"a photo")
    return {"source": tmp_path / "in" / "photo.jpg"}
