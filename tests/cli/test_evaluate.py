"""`mimaface evaluate`: one result, a list, rendering by an engine; tables, JSON, CSV and the HTML page."""

import csv
import json
import re
import shutil

import pytest

from tests.conftest import FRAMES, tree


@pytest.fixture(autouse=True)
def no_weights(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", str(tmp_path_factory.mktemp("weights")))


def test_evaluate_measures_one_result(run_mimaface, sample, tmp_path):
    page, lines = tmp_path / "out <1>.html", tmp_path / "out.csv"
    words = ("evaluate", sample.driver, "--source", sample.portrait, "--driver", sample.driver)
    completed = run_mimaface(*words, "--report", page, "--csv", lines, env={"COLUMNS": "110"})
    assert completed.returncode == 0, completed.stderr
    assert "head rotation" in completed.stdout
    assert "needs the lpips_alex weights" not in completed.stdout.split("LPIPS")[0]
    assert re.search(r"CSIM .* needs the mimaface weights", completed.stdout) and "100.0%" in completed.stdout

    text = page.read_text("utf-8")
    assert text.startswith("<!doctype html>") and text.count("<svg") >= 5 and "data:image/jpeg;base64," in text
    assert not re.search(
        r"(?i)https?://(?!www\.w3\.org/2000/svg)|<script [^>]*src|<link|@import|[:\s]url\(|src=\"(?!data:)", text
    )  # no external resource
    row = next(csv.DictReader(lines.open(encoding="utf-8")))
    assert (
        row["frames"] == str(FRAMES)
        and float(row["rotation"]) < 0.01
        and row["psnr"] == ""
        and row["protocol"] == "cross"
    )

    again = run_mimaface(*words, "--json", "--series", "-q")
    result = json.loads(again.stdout)
    assert result["results"][0]["cached"] and again.stderr == ""
    figures = result["results"][0]["figures"]
    assert (
        figures["fid" if "fid" in figures else "csim"]["value"] is None
        and "needs the mimaface weights" in figures["csim"]["reason"]
    )
    assert len(result["results"][0]["series"]["time"]) == FRAMES
    refused = run_mimaface(*words, "--report", page)
    assert refused.returncode == 4 and "exists already" in refused.stderr and refused.stderr.count("\n") == 1


def test_evaluate_renders_and_measures_list(run_command, sample, tmp_path):
    (tmp_path / "media" / "ann").mkdir(parents=True)
    (tmp_path / "media" / "bob").mkdir()
    shutil.copy(sample.driver, tmp_path / "media" / "ann" / "talk.mp4")
    shutil.copy(sample.portrait, tmp_path / "media" / "bob" / "photo.jpg")
    result = run_command(
        "evaluate", "make-list", "media", "-o", "cross.csv", "--protocol", "cross", "--pairs", "1", "--frames", "6"
    )
    assert result.code == 0 and "1 pair, protocol cross, seed 0" in result.err
    assert run_command("evaluate", "make-list", "media", "-o", "cross.csv").code == 4

    missing = run_command("evaluate", "results", "--list", "cross.csv")
    assert missing.code == 3 and "results: no such folder" in missing.err
    rendered = run_command("evaluate", "results", "--list", "cross.csv", "--engine", "mesh", "--motion", "relative")
    assert rendered.code == 0, rendered.err
    assert (
        "No published table has this protocol" in rendered.out and "protocol: cross identity, own pairs" in rendered.out
    )
    assert "frames per second" in rendered.out and "[1] MediaPipe + face478; tracked face" in rendered.out
    result_files = tree(tmp_path / "results")
    assert sorted(result_files) == [
        "0000_photo__talk.mp4", "0000_photo__talk.mp4.provenance.json", "performance.json", "run.json",
    ]  # fmt: skip
    again = run_command(
        "evaluate", "results", "--list", "cross.csv", "--engine", "mesh", "--motion", "relative", "--json"
    )
    assert again.code == 0 and tree(tmp_path / "results") == result_files  # reused, not rendered again
    assert json.loads(again.out)["results"][0]["cached"] and json.loads(again.out)["results"][0]["frames"] == 6
    other = run_command("evaluate", "results", "--list", "cross.csv", "--engine", "mesh")
    assert other.code == 4 and "contains another run" in other.err and tree(tmp_path / "results") == result_files
    words = ("--list", "cross.csv", "--engine", "mesh", "--motion", "relative", "--no-provenance")
    other = run_command("evaluate", "results", *words)
    assert other.code == 4 and "contains another run" in other.err

    (tmp_path / "results" / "0000_photo__talk.mp4").unlink()
    lost = run_command("evaluate", "results", "--list", "cross.csv")
    assert lost.code == 3 and "cross.csv line 2: results/0000_photo__talk.mp4: no such result" in lost.err


def test_evaluate_reports_failed_rows_and_measures_others(run_command, sample, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "bad.mp4").write_bytes(b"nothing")
    shutil.copy(sample.driver, tmp_path / "results" / "good.mp4")
    (tmp_path / "two.csv").write_text(
        f"source,driver,result\n{sample.portrait},{sample.driver},bad.mp4\n{sample.portrait},{sample.driver},good.mp4\n"
    )
    result = run_command(
        "evaluate", "results", "--list", "two.csv", "--json", "--csv", "two_out.csv", "--report", "two.html"
    )
    assert result.code == 3 and "1 of 2 results could not be measured" in result.err
    values = json.loads(result.out)
    assert (
        values["failed"] == 1
        and "bad.mp4" in values["results"][0]["error"]
        and values["means"]["expression"]["results"] == 1
    )
    rows = list(csv.DictReader((tmp_path / "two_out.csv").open(encoding="utf-8")))
    assert "bad.mp4" in rows[0]["error"] and rows[1]["error"] == "" and rows[0]["expression"] == ""


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["x.mp4"], 2, "Give --source and --driver for one result, or --list"),
        (["x.mp4", "--source", "a.jpg"], 2, "belong together"),
        (["x.mp4", "--source", "a.jpg", "--driver", "b.mp4", "--list", "c.csv"], 2, "or --list"),
        (
            ["x.mp4", "--source", "a.jpg", "--driver", "b.mp4", "--engine", "mesh"],
            2,
            "--engine: renders the results of a list",
        ),
        (["x.mp4", "--source", "a.jpg", "--driver", "b.mp4", "--size", "3"], 2, "--size: 3 is out of range"),
        (
            ["x.mp4", "--source", "a.jpg", "--driver", "b.mp4", "--clip-frames", "1"],
            2,
            "--clip-frames: 1 is out of range",
        ),
        (
            ["x.mp4", "--source", "a.jpg", "--driver", "b.mp4", "--network-step", "0"],
            2,
            "--network-step: 0 is out of range",
        ),
        (
            ["x.mp4", "--source", "a.jpg", "--driver", "b.mp4", "--driver-face", "me"],
            2,
            "--driver-face: unknown face selector 'me'",
        ),
        (["x.mp4", "--source", "a.jpg", "--driver", "b.mp4", "--series"], 2, "--series: needs --json"),
        (["x.mp4", "--source", "a.jpg", "--driver", "b.mp4"], 3, "x.mp4: no such file"),
        (["r", "--list", "none.csv"], 3, "none.csv: no such file"),
        (["make-list", "none", "-o", "l.csv"], 3, "none: no such folder"),
        (["make-list", "none"], 2, "--output"),
        ([], 2, "RESULT"),
    ],
)
def test_bad_input_prints_one_error_line(run_command, tmp_path, words, code, text):
    result = run_command("evaluate", *words)
    assert result.code == code and text in result.err and result.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_make_list_by_recipe_counts_and_names_missing_ids(run_command, sample, tmp_path):
    (tmp_path / "vox").mkdir()
    for name in ("id10270#a#1.mp4", "id10271#b#1.mp4", "id19999#c#1.mp4"):
        shutil.copy(sample.driver, tmp_path / "vox" / name)
    (tmp_path / "ids.txt").write_text("# test speakers\nid10270\nid10271\nid10272\nid10273\n")
    words = ("evaluate", "make-list", "vox", "-o", "same.csv", "--protocol", "voxceleb1-same", "--ids", "ids.txt")
    result = run_command(*words)
    assert result.code == 0, result.err
    assert "2 of 4 ids have no file in vox: id10272, id10273" in result.err
    rows = list(csv.DictReader((tmp_path / "same.csv").open(encoding="utf-8")))
    assert sorted(row["driver"] for row in rows) == ["vox/id10270#a#1.mp4", "vox/id10271#b#1.mp4"]
    assert {row["recipe"] for row in rows} == {"voxceleb1-same"} and rows[0]["source"] == rows[0]["driver"]

    (tmp_path / "ids.txt").write_text("id1\n")
    refused = run_command(*words, "--overwrite")
    assert refused.code == 3 and "--ids: vox: contains none of the 1 ids" in refused.err
    fixed = run_command("evaluate", "make-list", "vox", "-o", "b.csv", "--protocol", "hdtf-same", "--stride", "2")
    assert fixed.code == 2 and "--stride: is fixed by the recipe hdtf-same" in fixed.err
    plain = run_command("evaluate", "make-list", "vox", "-o", "b.csv", "--ids", "ids.txt")
    assert plain.code == 2 and "--ids: needs a recipe" in plain.err


def test_make_list_of_large_poses_keeps_videos_that_turn(run_command, sample, tmp_path):
    (tmp_path / "clips").mkdir()
    shutil.copy(sample.driver, tmp_path / "clips" / "small.mp4")  # turns by about 9 degrees
    words = ("evaluate", "make-list", "clips", "-o", "big.csv", "--protocol", "large-pose-same")
    result = run_command(*words)
    assert result.code == 3 and "contains no video that the list may use" in result.err


def test_protocols_describes_recipes(run_command):
    listed = run_command("evaluate", "protocols")
    assert listed.code == 0 and "talkinghead1kh-same" in listed.out and "hard100-cross" in listed.out
    one = run_command("evaluate", "protocols", "hdtf-same")
    assert one.code == 0 and "MRzzm/HDTF" in one.out and "rule" in one.out
    values = json.loads(run_command("evaluate", "protocols", "--json").out)
    assert values["recipes"]["voxceleb1-cross"]["protocol"] == "cross"
    assert run_command("evaluate", "protocols", "none").code == 2
