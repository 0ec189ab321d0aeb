"""Published tables appear only where protocol and extractor agree; recipes; methods of all figures."""

from dataclasses import replace
from pathlib import Path

import pytest

from mimaface_cli.evaluation.catalog import CATALOG
from mimaface_cli.evaluation.evaluate_options import EvaluateOptions
from mimaface_cli.evaluation.evaluation_result import Evaluation, MeanFigure, ResultRow
from mimaface_cli.evaluation.list_recipes import load_recipes
from mimaface_cli.evaluation.list_sampling import make_recipe_list
from mimaface_cli.evaluation.measure import ResultFigures
from mimaface_cli.evaluation.pair_lists import Pair
from mimaface_cli.evaluation.published_tables import compare_with_published, load_published_tables


def make_evaluation(*recipes: str) -> Evaluation:
    rows = [
        ResultRow(
            Pair(Path("a.jpg"), Path("b.mp4"), same="same" in name, recipe=name), Path("out.mp4"), ResultFigures()
        )
        for name in recipes
    ]
    means = {"expression_bfm09": MeanFigure(2.5, 1, None), "expression": MeanFigure(0.25, 1, None)}
    return Evaluation(rows, means, {})


@pytest.mark.parametrize("recipe", ["voxceleb1-same", "voxceleb1-cross"])
def test_compare_with_published_shows_the_table_of_the_recipe(recipe):
    (table,) = compare_with_published(make_evaluation(recipe))
    assert table.title.endswith(f"{recipe.partition('-')[2]} identity")
    rows, columns = dict(table.rows), [metric for _, metric in table.columns]
    assert rows["this run"][columns.index("expression_bfm09")] == "2.500"
    assert rows["this run"][columns.index("csim")] == "–" and "MIMAFace" in rows
    assert "0.250" not in rows["this run"]  # face478 is another extractor
    assert "fid" not in columns and "FID" in table.note  # the paper does not name the network


def test_compare_with_published_needs_one_recipe():
    assert compare_with_published(make_evaluation("")) == []
    assert compare_with_published(make_evaluation("voxceleb1-same", "voxceleb1-cross")) == []
    assert compare_with_published(make_evaluation("hdtf-same")) == []


def test_compare_with_published_leaves_out_metrics_of_another_extractor(monkeypatch):
    metric = CATALOG._metrics["expression_bfm09"]
    other = replace(metric.info, method=replace(metric.info.method, extractor="another network"))
    monkeypatch.setattr(metric, "info", other)
    assert compare_with_published(make_evaluation("voxceleb1-same")) == []


def test_published_tables_are_complete():
    tables = load_published_tables()
    methods = {method for table in tables for method in table.rows}
    later = {"LivePortrait", "Follow-Your-Emoji", "HelloMeme", "EchoMimic", "MEMO", "ACTalker (audio)", "V-Express"}
    assert later <= methods
    names = {info.name for info in CATALOG.infos}
    for table in tables:
        assert table.source and table.protocol and (table.recipe is None or table.recipe in load_recipes())
        assert all(set(row) <= set(table.columns) for row in table.rows.values())
        assert {column.metric for column in table.columns.values()} <= names | {None}


def test_recipes_name_source_download_and_rule():
    recipes = load_recipes()
    for dataset in ("voxceleb1", "voxceleb2", "vfhq", "hdtf", "talkinghead1kh", "lv100", "hard100", "large-pose"):
        assert any(name.startswith(dataset) for name in recipes)
    for recipe in recipes.values():
        texts = (recipe.title, recipe.download, recipe.layout, recipe.ids_from, recipe.rule, recipe.source)
        assert all(texts) and recipe.protocol in ("same", "cross")
    for dataset in ("voxceleb1", "voxceleb2", "vfhq", "hdtf", "talkinghead1kh"):
        assert {f"{dataset}-same", f"{dataset}-cross"} <= set(recipes)


@pytest.mark.parametrize(
    ("recipe", "names"),
    [
        ("voxceleb2-cross", ["id00017/a/1.mp4", "id00017/b/2.mp4", "id00061/c/3.mp4"]),
        ("hdtf-cross", ["RD_Radio11_0.mp4", "RD_Radio11_1.mp4", "WDA_Someone_000.mp4"]),
        (
            "talkinghead1kh-cross",
            ["--Y9imYnfBw_0000_S0_E122_L488.mp4", "--Y9imYnfBw_0001_S0_E98_L1.mp4", "1lSejjfNHpw_0075_S0_E9_L5.mp4"],
        ),
    ],
)
def test_cross_recipes_pair_different_videos(recipe, names, tmp_path):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    rows = make_recipe_list(tmp_path, load_recipes()[recipe], None, 0).rows
    assert {row["driver"] for row in rows} == set(names)
    other = {names[0]: {names[2]}, names[1]: {names[2]}, names[2]: set(names[:2])}
    assert all(row["source"] in other[row["driver"]] for row in rows)


def test_every_metric_names_extractor_crop_and_resolution():
    for info in CATALOG.infos:
        method = info.method.at_size(512)
        assert "not stated" not in str(method), info.name
        assert "{" not in method.resolution


def test_evaluation_states_method_and_protocol_of_every_figure():
    evaluation = replace(make_evaluation("voxceleb1-same"), options=EvaluateOptions(size=256))
    values = evaluation.to_json()
    mean = values["means"]["expression_bfm09"]
    assert mean["extractor"] == "D3DFR (bfm09)" and mean["protocol"] == "same identity, voxceleb1-same"
    assert mean["crop"] and mean["resolution"] == "256x256"
    assert values["methods"]["psnr"]["resolution"] == "longest side at most 256 px"
    assert evaluation.method(CATALOG.info("psnr")).at_size(0).resolution == "longest side at most 256 px"
    assert CATALOG.info("psnr").method.at_size(0).resolution == "original size"
