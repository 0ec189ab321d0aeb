"""Comparison of systems: pairing by name, figures, page, blind test and votes."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.evaluation.blind_test import BlindOptions, count_votes, key_path, write_blind_test
from mimaface_cli.evaluation.compare import SystemComparison, _find_differences, compare_systems, pair_results
from mimaface_cli.evaluation.comparison_report import best_systems, write_comparison
from mimaface_cli.evaluation.evaluation_result import Evaluation, MeanFigure, ResultRow
from mimaface_cli.evaluation.measure import ResultFigures
from mimaface_cli.evaluation.metrics.motion_transfer import ExpressionDistance
from mimaface_cli.evaluation.pair_lists import Pair
from tests.browser import needs_browser, run_in_page


def make_comparison(clips: int = 12) -> SystemComparison:
    """Return two systems of which the second is worse in expression by 0.1 to 0.2."""
    evaluations = {}
    for name, offset in (("ours", 0.0), ("<theirs>", 0.1)):
        rows = []
        for index in range(clips):
            pair = Pair(Path("a.jpg"), Path(f"{index}.mp4"), result=f"{index}.mp4")
            value = 0.5 + 0.01 * index + offset * (1 + index / clips)
            rows.append(ResultRow(pair, Path(name, f"{index}.mp4"), ResultFigures({"expression": value})))
        mean = sum(row.figures.values["expression"] for row in rows) / clips
        evaluations[name] = Evaluation(rows, {"expression": MeanFigure(mean, clips, 0.01)}, {})
    return SystemComparison(evaluations, _find_differences(evaluations), ["a note"])


@pytest.fixture
def folders(tmp_path):
    """Two folders of results with different files, and the rows of their list."""
    names = {"a": ("1.mp4", "2.mp4", "3.mp4", "extra.mp4", "run.json"), "b": ("1.mkv", "3.mp4", "4.mp4")}
    for folder, files in names.items():
        (tmp_path / folder).mkdir()
        for name in files:
            (tmp_path / folder / name).write_bytes(b"x")
    rows = [Pair(Path("s.jpg"), Path("d.mp4"), result=f"{index}.mp4") for index in (1, 2, 3, 4)]
    return {"A": tmp_path / "a", "B": tmp_path / "b"}, rows


def test_pair_results_pairs_by_name_and_names_the_rest(folders):
    systems, rows = folders
    common, results, notes = pair_results(systems, rows)
    assert [row.result for row in common] == ["1.mp4", "3.mp4"]
    assert [path.name for path in results["A"]] == ["1.mp4", "3.mp4"]
    assert [path.name for path in results["B"]] == ["1.mkv", "3.mp4"]
    text = " ".join(notes)
    assert "A: 1 file (4.mp4) of the list missing" in text and "B: 1 file (2.mp4) of the list missing" in text
    assert "A: 1 file (extra.mp4)" in text and "run.json" not in text


def test_pair_results_needs_a_common_clip_and_folders(folders, tmp_path):
    systems, rows = folders
    with pytest.raises(InputError, match="no clip of the list in common"):
        pair_results(systems, rows[1:2])
    with pytest.raises(InputError, match="none: no such folder"):
        pair_results({"A": tmp_path / "none"}, rows)
    with pytest.raises(InputError, match="2 to 8 systems"):
        compare_systems({"A": systems["A"]}, rows)


def test_differences_are_paired_and_corrected():
    comparison = make_comparison()
    (difference,) = comparison.differences
    assert difference.metric == "expression" and difference.difference.mean == pytest.approx(-0.1458, abs=1e-3)
    assert difference.difference.p < 0.001 and difference.corrected_p == difference.difference.p
    assert best_systems(comparison, ExpressionDistance.info) == {"ours"}
    assert make_comparison(4).differences[0].difference.p is None


@needs_browser
def test_comparison_page_shows_table_and_scatter_in_a_browser(tmp_path):
    page = tmp_path / "compare.html"
    write_comparison(page, make_comparison())
    with pytest.raises(OutputError, match="exists already"):
        write_comparison(page, make_comparison())
    script = (
        "report({wide:document.documentElement.scrollWidth,dots:document.querySelectorAll('circle').length,"
        "best:document.querySelector('td.best').textContent,title:document.title})"
    )
    values = run_in_page(page, script, tmp_path, width=390)
    assert values == {"wide": 390, "dots": 12, "best": "0.555", "title": "ours / <theirs>"}


def test_compare_measures_systems_of_one_list(run_command, sample, tmp_path):
    for name in ("good", "dark"):
        (tmp_path / name).mkdir()
    shutil.copy(sample.driver, tmp_path / "good" / "one.mp4")
    shutil.copy(sample.driver, tmp_path / "good" / "two.mp4")
    shutil.copy(sample.driver, tmp_path / "dark" / "one.mp4")
    (tmp_path / "list.csv").write_text(
        f"source,driver,result\n{sample.portrait},{sample.driver},one.mp4\n{sample.portrait},{sample.driver},two.mp4\n"
    )
    words = ("evaluate", "compare", "good=good", "dark=dark", "--list", "list.csv")
    result = run_command(*words, "--report", "c.html", "--csv", "c.csv", "--blind", "blind")
    assert result.code == 0, result.err
    assert "dark: 1 file (two.mp4) of the list missing" in result.err and "too few for significance" in result.err
    assert "pose following" in result.out and "protocol: cross identity, own pairs" in result.out
    rows = list(csv.DictReader((tmp_path / "c.csv").open(encoding="utf-8")))
    assert [row["system"] for row in rows] == ["good", "dark"] and rows[0]["expression"] == rows[1]["expression"]
    assert (tmp_path / "blind" / "index.html").is_file() and (tmp_path / "blind_key.json").is_file()
    values = json.loads(run_command(*words, "--json", "-q").out)
    assert values["systems"]["dark"]["results"][0]["cached"]
    assert all(entry["mean"] == 0 for entry in values["differences"])
    for bad, text in ((["a"], "is not a name and a folder"), (["a=x", "a=y"], "given twice")):
        refused = run_command("evaluate", "compare", *bad, "--list", "list.csv")
        assert refused.code == 2 and text in refused.err


@pytest.fixture
def blind(sample, tmp_path) -> Path:
    """A blind test of two systems and two clips."""
    results = {"ours": [sample.driver] * 2, "theirs": [sample.driver] * 2}
    pairs = [Pair(sample.portrait, sample.driver, result=f"{index}.mp4") for index in (1, 2)]
    write_blind_test(tmp_path / "blind", results, pairs, BlindOptions(question="Which <one>?"))
    return tmp_path / "blind"


def test_blind_test_hides_the_names_and_repeats(blind, sample, tmp_path):
    page, key = (blind / "index.html").read_text("utf-8"), json.loads(key_path(blind).read_text("utf-8"))
    assert "ours" not in page and "theirs" not in page and "1.mp4" not in page
    assert len(key["trials"]) == 2 and {entry["clip"] for entry in key["trials"].values()} == {"1.mp4", "2.mp4"}
    assert len(list((blind / "clips").iterdir())) == 6  # two systems and the driver of two clips
    assert all(sorted((entry["left"], entry["right"])) == ["ours", "theirs"] for entry in key["trials"].values())
    with pytest.raises(OutputError, match="exists already"):
        write_blind_test(blind, {}, [])
    results = {"ours": [sample.driver] * 2, "theirs": [sample.driver] * 2}
    pairs = [Pair(sample.portrait, sample.driver, result=f"{index}.mp4") for index in (1, 2)]
    write_blind_test(tmp_path / "again", results, pairs, BlindOptions(question="Which <one>?"))
    assert (tmp_path / "again" / "index.html").read_text("utf-8") == page


@needs_browser
def test_blind_page_takes_votes_by_keyboard_in_a_browser(blind, tmp_path):
    script = (
        "const press=key=>document.dispatchEvent(new KeyboardEvent('keydown',{key}));"
        "const first=byId('status').textContent;press('ArrowLeft');press('ArrowDown');"
        "report({first,last:byId('status').textContent,votes:JSON.parse(exported()).votes,"
        "question:byId('question').textContent,wide:document.documentElement.scrollWidth})"
    )
    values = run_in_page(blind / "index.html", script, tmp_path, width=390)
    assert values["first"].startswith("Pair 1 of 2") and values["last"].startswith("All pairs have a vote")
    assert [vote["choice"] for vote in values["votes"]] == ["left", "tie"] and values["wide"] == 390
    assert values["question"] == "Which <one>?"
    (tmp_path / "votes.json").write_text(json.dumps({"votes": values["votes"]}))
    (count,) = count_votes(key_path(blind), [tmp_path / "votes.json"])
    assert count.ties == 1 and count.wins + count.losses == 1


def test_count_votes_separates_systems(blind, tmp_path, run_command):
    key = json.loads(key_path(blind).read_text("utf-8"))
    votes = [
        {"id": name, "choice": "left" if trial["left"] == "ours" else "right"} for name, trial in key["trials"].items()
    ]
    (tmp_path / "votes.json").write_text(json.dumps({"votes": votes}))
    (count,) = count_votes(key_path(blind), [tmp_path / "votes.json"] * 3)
    assert (count.first, count.wins, count.losses, count.share) == ("ours", 6, 0, 1.0)
    assert count.p == pytest.approx(2 / 64) and count.low == pytest.approx(0.61, abs=0.01)
    shown = run_command("evaluate", "votes", "blind_key.json", "votes.json")
    assert shown.code == 0 and "ours / theirs" in shown.out and "100 %" in shown.out
    for text in ('{"votes": [{"id": "other", "choice": "left"}]}', '{"votes": [3]}', "{}", "no"):
        (tmp_path / "votes.json").write_text(text)
        with pytest.raises(InputError, match=r"votes\.json"):
            count_votes(key_path(blind), [tmp_path / "votes.json"])
