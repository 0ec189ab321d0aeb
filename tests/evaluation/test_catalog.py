"""A metric that another program registers, from its frames to JSON, CSV and the HTML report."""

import csv

import pytest

from mimaface_cli.evaluation.catalog import CATALOG, register_metric
from mimaface_cli.evaluation.csv_export import write_csv
from mimaface_cli.evaluation.evaluate import evaluate_pairs
from mimaface_cli.evaluation.metric import MOTION, FrameMeanMetric, MetricInfo
from mimaface_cli.evaluation.metrics.reference import Psnr
from mimaface_cli.evaluation.pair_lists import Pair
from mimaface_cli.evaluation.report import write_report
from mimaface_cli.evaluation.video_pair import FramePair


class RedLevel(FrameMeanMetric):
    """Mean red of the frames."""

    info = MetricInfo("red", MOTION, "red level", "higher", 1, "mean of the red channel", "gray levels")

    def frame_value(self, frame: FramePair) -> float | None:
        return float(frame.image[..., 0].mean())


@pytest.fixture
def restore_catalog(monkeypatch):
    """Undo the registrations of a test."""
    monkeypatch.setattr(CATALOG, "_metrics", dict(CATALOG._metrics))


def test_registered_metric_appears_in_json_csv_and_report(sample, cache, driver_video, restore_catalog, tmp_path):
    pairs = [Pair(sample.portrait, sample.driver)] * 2
    before = evaluate_pairs([sample.driver] * 2, pairs, cache=cache)
    register_metric(RedLevel)
    evaluation = evaluate_pairs([sample.driver] * 2, pairs, cache=cache)
    assert "red" not in before.means and not evaluation.rows[0].is_cached  # cached figures lack the new metric
    expected = sum(frame[..., 0].mean() for frame in driver_video[0]) / len(driver_video[0])
    entry = evaluation.to_json(series=True)
    # The color conversions of PyAV and of the reader differ.
    assert entry["means"]["red"]["value"] == pytest.approx(expected, abs=2)
    assert len(entry["results"][0]["series"]["red"]) == len(driver_video[0])

    write_csv(tmp_path / "figures.csv", evaluation)
    with (tmp_path / "figures.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["red"]) == pytest.approx(entry["means"]["red"]["value"], rel=1e-4)

    write_report(tmp_path / "report.html", evaluation)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<td>red level ↑" in page and "mean of the red channel" in page and "red level ↑</th>" in page


def test_catalog_lists_a_metric_in_its_group(restore_catalog):
    register_metric(RedLevel)
    groups = [info.group for info in CATALOG.infos]
    assert len(dict.fromkeys(groups)) == sum(
        group != previous for group, previous in zip(groups, ["", *groups], strict=False)
    )
    assert CATALOG.info("red") is RedLevel.info


def test_register_metric_refuses_a_registered_name():
    with pytest.raises(ValueError, match="psnr is registered already"):
        register_metric(Psnr)
