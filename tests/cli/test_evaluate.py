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
    assert not re.search(r"(?i)https?://|<script|<link|@import|url\(|src=\"(?!data:)", text)  # no external resource
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
        "Paper, Table 1, cross identity" in rendered.out
        and "0.6778" in rendered.out
        and "this run, face478 (other units)" in rendered.out
    )
    result_files = tree(tmp_path / "results")
    assert sorted(result_files) == [
        "0000_photo__talk.mp4", "0000_photo__talk.mp4.provenance.json", "run.json",
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
