"""Fixtures of the rendered people tests."""

import pytest

from mimaface_cli.builders.rendered_people.appearance import Person, make_person
from mimaface_cli.face import face478
from mimaface_cli.face.face478 import Face478


@pytest.fixture(scope="session")
def model() -> Face478:
    return face478.load()


@pytest.fixture(scope="session")
def person(model: Face478) -> Person:
    return make_person(model, 3)
