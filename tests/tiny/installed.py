"""The tiny model put into a weights folder, once for all tests that run it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tiny.release import make_release, make_vae


@contextmanager
def weights_at(folder: Path) -> Iterator[Path]:
    """The block takes its weights from that folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIMAFACE_WEIGHTS_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A weights folder in which everything that inference needs is installed, with the landmark model beside it."""
    from mimaface_cli.weights.install import import_folder
    from mimaface_cli.weights.locate import locate

    release, vae = (make(tmp_path_factory.mktemp("released")) for make in (make_release, make_vae))
    landmarker = locate("face_landmarker")
    folder = tmp_path_factory.mktemp("weights")
    os.symlink(landmarker, folder / landmarker.name)
    with weights_at(folder):
        import_folder(release, ["mimaface"])
        import_folder(vae, ["vae"])
    return folder


@pytest.fixture
def tiny_here(tiny) -> Iterator[Path]:
    """The tiny model installed for one test."""
    with weights_at(tiny) as folder:
        yield folder
