"""Fixtures of the evaluation tests."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimaface_cli.cache import Cache
from tests.conftest import read_video


@pytest.fixture(autouse=True)
def no_weights(monkeypatch, tmp_path_factory):
    """An empty weights folder, so that no installed network changes the figures."""
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", str(tmp_path_factory.mktemp("weights")))


@pytest.fixture(scope="session")
def driver_video(sample):
    """The sample driver's frames and times."""
    return read_video(sample.driver)


@pytest.fixture
def cache(sample):
    """The shared cache, which contains the sample driver's track."""
    return Cache(sample.cache)


def write_images(folder: Path, images: list[np.ndarray]) -> Path:
    """Write frames as a folder of numbered images."""
    folder.mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{index:03d}.png")
    return folder
