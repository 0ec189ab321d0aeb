"""Videos as drivers: the cached track is reused, and a file that changes during extraction is not cached."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from mimaface_cli.cache import Cache
from mimaface_cli.drivers import media_driver
from mimaface_cli.drivers.media_driver import load_driver
from mimaface_cli.errors import WeightsError
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


def test_requested_device_is_used_for_the_coefficient_network(sample, installed_tiny_weights):
    with pytest.raises(WeightsError, match=r"device: there is no device 'cuda:7'"):
        load_driver(sample.driver, ExtractOptions(), space="bfm09", device="cuda:7")


@pytest.mark.parametrize(
    ("count", "span", "expected"),
    [
        (100, {}, 100),
        (100, {"start": 2.0, "duration": None}, 50),
        (100, {"start": 2.0, "duration": 1.0}, 25),
        (100, {"start": 3.0, "duration": 9.0}, 25),
        (None, {"start": 2.0, "duration": 1.0}, None),
    ],
)
def test_progress_of_a_span_counts_its_own_frames(count, span, expected):
    info = SimpleNamespace(frame_count=count, frame_rate=Fraction(25))
    assert media_driver._count_frames(info, span) == expected
