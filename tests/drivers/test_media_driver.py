"""Videos as drivers: the cached track is reused, and a file that changes during extraction is not cached."""

import numpy as np
import pytest

from mimaface_cli.cache import Cache
from mimaface_cli.drivers import media_driver
from mimaface_cli.drivers.media_driver import load_driver
from mimaface_cli.face.extract_options import ExtractOptions
from tests.conftest import FRAMES


def test_second_load_uses_the_cache_without_decoding(sample, tmp_path, monkeypatch):
    cache = Cache(tmp_path)
    reports = []
    first = load_driver(sample.driver, ExtractOptions(), cache, lambda done, total: reports.append((done, total)))
    assert not first.was_cached and first.is_cached and first.has_audio and first.kind == "video"
    assert first.missing_frames == []
    assert reports == [(k + 1, FRAMES) for k in range(FRAMES)]

    monkeypatch.setattr(media_driver, "read_frames", None)
    second = load_driver(sample.driver, ExtractOptions(), cache)
    assert second.was_cached and np.array_equal(second.track.pose, first.track.pose)
    with pytest.raises(TypeError):  # other options need another extraction
        load_driver(sample.driver, ExtractOptions(smooth=2), cache)


def test_driver_that_changes_during_extraction_is_not_cached(sample, tmp_path):
    driver = tmp_path / "a.mp4"
    driver.write_bytes(sample.driver.read_bytes())
    cache = Cache(tmp_path / "cache")
    assert not load_driver(driver, ExtractOptions(), cache, lambda done, total: driver.touch()).is_cached
    assert cache.entries() == []
