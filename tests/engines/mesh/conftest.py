"""Fixtures of the mesh engine's tests."""

import pytest

from mimaface_cli.face import face478
from mimaface_cli.face.face478 import Face478


@pytest.fixture(scope="session")
def model() -> Face478:
    """The face model."""
    return face478.load()
