"""`evaluate` and `evaluate_list`: caching, means, figures of the whole set, rows that fail."""

import json
from dataclasses import replace

import pytest

from mimaface_cli.cache import Cache
from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.evaluation import evaluate as evaluate_module
from mimaface_cli.evaluation.evaluate import evaluate, evaluate_list, evaluate_pairs
from mimaface_cli.evaluation.evaluate_options import EvaluateOptions
from mimaface_cli.evaluation.generation import prepare_folder
from mimaface_cli.evaluation.metrics import realism
from mimaface_cli.evaluation.networks import i3d, inception, pretrained
from mimaface_cli.evaluation.pair_lists import Pair
from tests.evaluation.conftest import write_images


def forbid_measuring(monkeypatch) -> None:
    """Let later measurements fail."""
    monkeypatch.setattr(evaluate_module, "measure", lambda *_: pytest.fail("measured again"))


def raises_if_measured():
    return pytest.raises(pytest.fail.Exception, match="measured again")


def test_second_evaluation_uses_cached_figures(sample, monkeypatch, tmp_path):
    cache = Cache(tmp_path)
    first = evaluate(sample.driver, sample.portrait, sample.driver, cache=cache)
    forbid_measuring(monkeypatch)
    second = evaluate(str(sample.driver), str(sample.portrait), str(sample.driver), cache=cache)
    assert second.rows[0].is_cached and not first.rows[0].is_cached
    assert second.to_json(series=True)["means"] == first.to_json(series=True)["means"]
    with raises_if_measured():
        evaluate(sample.driver, sample.portrait, sample.driver, EvaluateOptions(size=128), cache=cache)
    with raises_if_measured():
        evaluate(sample.driver, sample.portrait, sample.driver, EvaluateOptions(protocol="same"), cache=cache)
    entry = next((tmp_path / "figures").glob("*.json"))
    intact = entry.read_text()
    for damaged in (intact.replace("100.0", "NaN"), intact.replace('"psnr"', '"other"')):
        entry.write_text(damaged)
        with raises_if_measured():
            evaluate(sample.driver, sample.portrait, sample.driver, cache=cache)
    assert cache.size() > 0
    cache.clear()
    assert not list((tmp_path / "figures").glob("*.json"))


@pytest.fixture
def stub_networks(monkeypatch):
    """FID and FVD without networks: the features of frames and clips are their mean colors."""
    missing_weights = pretrained.missing_weights
    monkeypatch.setattr(
        pretrained, "missing_weights", lambda name: None if name in ("fid", "fvd") else missing_weights(name)
    )
    monkeypatch.setattr(pretrained, "weight_files", lambda name: [])
    monkeypatch.setattr(pretrained, "load_network", lambda name: None)
    monkeypatch.setattr(inception, "inception_features", lambda _, images: images.mean((1, 2)))
    monkeypatch.setattr(realism, "CLIP_FRAMES", 6)
    monkeypatch.setattr(i3d, "i3d_features", lambda _, frames: frames.mean((0, 1, 2)))


def test_evaluate_pairs_uses_cached_features_for_figures_of_the_whole_set(
    sample, driver_video, stub_networks, monkeypatch, tmp_path
):
    pairs, cache = [Pair(sample.portrait, sample.driver)] * 2, Cache(tmp_path)
    results = [sample.driver, write_images(tmp_path / "dark", [frame // 2 for frame in driver_video[0]])]
    first = evaluate_pairs(results, pairs, cache=cache)
    assert first.means["fid"].value > 100 and first.means["fvd"].count == 4
    assert not any(row.is_cached for row in first.rows)
    with monkeypatch.context() as patch:
        forbid_measuring(patch)
        second = evaluate_pairs(results, pairs, cache=cache)
    assert all(row.is_cached for row in second.rows) and second.means == first.means
    entry = next((tmp_path / "figures").glob("*.npz"))
    entry.write_bytes(entry.read_bytes()[:100])  # damaged features are computed again
    third = evaluate_pairs(results, pairs, cache=cache)
    assert sum(row.is_cached for row in third.rows) == 1 and third.means == first.means
    cache.clear()
    assert not list((tmp_path / "figures").iterdir())


def test_evaluate_pairs_measures_other_rows_if_one_fails(sample, cache, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    pair = Pair(sample.portrait, sample.driver)
    evaluation = evaluate_pairs([tmp_path / "bad.mp4", sample.driver], [pair, pair], cache=cache)
    assert len(evaluation.failed_rows) == 1 and "bad.mp4" in evaluation.failed_rows[0].error
    assert evaluation.means["expression"].count == 1 and evaluation.to_json()["failed"] == 1
    with pytest.raises(InputError, match=r"bad\.mp4"):
        evaluate_pairs([tmp_path / "bad.mp4"], [pair], cache=cache)
    with pytest.raises(InputError, match="None of the 2 results"):
        evaluate_pairs([tmp_path / "bad.mp4"] * 2, [pair, pair], cache=cache)


def test_evaluate_refuses_an_engine(sample):
    with pytest.raises(InputError, match="evaluate_list") as error:
        evaluate(sample.driver, sample.portrait, sample.driver, EvaluateOptions(engine="mesh"))
    assert error.value.field == "engine"


def test_evaluate_list_names_the_row_of_a_missing_result(sample, tmp_path):
    pairs = [Pair(sample.portrait, sample.driver, result="a.mp4", where="list.csv line 2")]
    with pytest.raises(InputError, match="results: no such folder"):
        evaluate_list(tmp_path / "results", pairs)
    with pytest.raises(InputError, match=r"list.csv line 2: .*a.mp4: no such result"):
        evaluate_list(tmp_path, pairs)


def test_evaluate_list_refuses_the_folder_of_another_run(sample, tmp_path):
    folder, options = tmp_path / "results", EvaluateOptions(engine="mesh")
    pairs = [Pair(sample.portrait, sample.driver, result="a.mp4", where="list.csv line 2")]
    prepare_folder(folder, pairs, options)
    (folder / "a.mp4").write_bytes(b"a result")
    prepare_folder(folder, [replace(pairs[0], where="moved.csv line 2")], options)
    assert json.loads((folder / "run.json").read_text())["engine"] == "mesh"
    other_run = replace(options, motion="relative")
    with pytest.raises(OutputError, match=r"contains another run.*`overwrite`"):
        evaluate_list(folder, pairs, other_run)
    assert (folder / "a.mp4").exists()
    prepare_folder(folder, pairs, other_run, overwrite=True)
    assert not (folder / "a.mp4").exists()
